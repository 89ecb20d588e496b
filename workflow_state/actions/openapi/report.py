"""What came of importing a document: the definitions, and what was left out, for people to read."""

from collections.abc import Container
from dataclasses import dataclass, field

from workflow_state.actions.openapi.document import Json
from workflow_state.errors import ActionDefinitionError

_MAX_REASONS_SHOWN = 20


@dataclass(slots=True)
class ImportReport:
    """The definitions that were made of a document, and what was left out.

    `refused` has a line for each operation that was not imported, with the reason. `notes` has a line for each part of
    an imported operation that was left out. `variables` are the environment variables that credentials are read from.
    """

    title: str
    definitions: list[Json] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)


class NotExpressibleError(Exception):
    """An operation can't be a definition; the message says why."""


def require_some(report: ImportReport) -> None:
    """Raise ActionDefinitionError with the reasons where nothing was imported."""
    if report.definitions:
        return
    why = report.refused or ["it has no operations"]
    raise ActionDefinitionError("\n  ".join(["nothing was imported", *why[:_MAX_REASONS_SHOWN]]))


def describe_import(report: ImportReport, environment: Container[str] = ()) -> list[str]:
    """Return what a person has to know about the import, as lines.

    `environment` has the names of the variables that are set here. A document may be given a title by which one of its
    own variables is another service's: whoever imports it has to see that.
    """
    lines = [f"imported {len(report.definitions)} operations"]
    if report.refused:
        lines += [f"not imported ({len(report.refused)}):", *(f"  {reason}" for reason in report.refused)]
    if report.notes:
        lines += [f"imported in part ({len(report.notes)}):", *(f"  {note}" for note in report.notes)]
    if report.variables:
        lines += [
            "set in the environment of the workers, and allow by WORKFLOW_STATE_SECRETS where that is set:",
            *(f"  {name}" for name in report.variables),
        ]
    if known := [name for name in report.variables if name in environment]:
        lines += ["set here already, and sent to this document's server from now on:", *(f"  {name}" for name in known)]
    return lines
