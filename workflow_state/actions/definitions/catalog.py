"""The action definitions that this process knows: those in the configured files, and those registered in code.

The files are read once, when a definition is first needed. To read them again, restart the worker.
"""

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from workflow_state.actions.definitions.fields import describe_validation_error
from workflow_state.actions.definitions.files import read_definition_files
from workflow_state.actions.definitions.rules import DefinitionProblem, find_definition_problems
from workflow_state.errors import ActionDefinitionError
from workflow_state.schema import ActionDefinition
from workflow_state.settings import get_settings

_registered: dict[str, ActionDefinition] = {}
_given: Mapping[str, ActionDefinition] | None = None


def load_action_definition(definition_id: str) -> ActionDefinition:
    """Return the action definition with this id.

    Definitions that were registered come first, then those in the files that WORKFLOW_STATE_ACTIONS names. Raises
    ActionDefinitionError where there is none of this id, with near names and where definitions were looked for. It is
    raised for a wrong file as well.
    """
    if definition := _registered.get(definition_id):
        return definition
    catalog = load_catalog()
    if definition := catalog.get(definition_id):
        return definition
    near = difflib.get_close_matches(definition_id, catalog, n=3)
    guess = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    raise ActionDefinitionError(f"there is no action definition '{definition_id}'{guess} ({_describe_sources()})")


def register_action_definition(definition: ActionDefinition | Mapping[str, Any]) -> ActionDefinition:
    """Add an action definition from code, in this process only, and return it as a model.

        register_action_definition({"id": "users.get", "endpoint": {"url": "https://api.example.com/users/{userId}"}})

    Call it where workers and submitting processes start, in each of them. A definition with the same id is replaced,
    also one from a file. Takes a model or its JSON data. Raises ActionDefinitionError with everything that is wrong.
    """
    checked = check_action_definition(definition)
    _registered[checked.id] = checked
    return checked


def check_action_definition(definition: ActionDefinition | Mapping[str, Any]) -> ActionDefinition:
    """Return the definition as a model. Raises ActionDefinitionError with everything that is wrong with it."""
    try:
        checked = ActionDefinition.model_validate(definition)
    except ValidationError as error:
        raise _refuse(describe_validation_error(error)) from None
    if problems := find_definition_problems(checked, get_settings().secrets):
        raise _refuse(problems)
    return checked


def _refuse(problems: list[DefinitionProblem]) -> ActionDefinitionError:
    lines = [f"{'.'.join(map(str, problem.path)) or 'the definition'} {problem.message}" for problem in problems]
    return ActionDefinitionError("\n  ".join(["the action definition is wrong", *lines]))


def list_action_definitions() -> list[ActionDefinition]:
    """Return all definitions, sorted by id."""
    return [definition for _, definition in sorted(load_catalog().items())]


def load_catalog() -> Mapping[str, ActionDefinition]:
    """Return all definitions by id; those registered in code come before those in files."""
    return {**_definitions_in_files(), **_registered}


def forget_catalog() -> None:
    """Forget what was read and registered, so that the files are read again when they are next needed."""
    _registered.clear()
    forget_definition_files()


def forget_definition_files() -> None:
    """Forget what was read from files or given in their place; keep what was registered in code."""
    global _given  # noqa: PLW0603 - a process has one catalog
    _given = None
    _read_configured_files.cache_clear()


def replace_definition_files(definitions: Mapping[str, ActionDefinition]) -> None:
    """Use these definitions, which have been checked, in place of the files until `forget_definition_files` is called.

    For tests: reading hundreds of definitions from a file takes most of a second.
    """
    global _given  # noqa: PLW0603 - likewise
    _given = definitions


def _definitions_in_files() -> Mapping[str, ActionDefinition]:
    return _read_configured_files() if _given is None else _given


@cache
def _read_configured_files() -> Mapping[str, ActionDefinition]:
    return read_definition_files(get_settings().actions)


def _describe_sources() -> str:
    paths = get_settings().actions
    if not paths:
        return "no folder with definitions is configured; set WORKFLOW_STATE_ACTIONS"
    return f"{len(_definitions_in_files())} definitions were found in {', '.join(map(str, paths))}"
