"""The exceptions, each of which says what is wrong, where, and what to do.

    WorkflowStateError
    ├── PlanValidationError        the plan is wrong; `.errors` lists every problem
    ├── ReferenceParseError        a `${…}` is not written as a reference
    ├── ReferenceResolutionError   a reference points at something that is not there
    ├── ConditionError             a condition is wrong, or does not fit its values
    ├── ActionDefinitionError      an unknown or wrong action definition
    ├── HttpActionError            an HTTP action failed; `.detail` says how
    ├── ExecutionNotFoundError     no execution has that id
    ├── ExecutionConflictError     what is asked does not fit the execution that has this id
    │   └── OutcomeUnknownError    it can't be resumed before someone decides; `.undecided` says on what
    ├── StorageError               an output can't be stored, or can't be read back
    ├── DrawingError               a picture can't be drawn, or what draws it is not installed
    ├── ConfirmationError          nothing waits there, or it was answered already
    └── SettingsError              an environment variable or the server behind it is wrong

Every one can be pickled and passes through Celery's JSON exception serializer, which calls the class again with
`args`: so `args` is JSON data, and exactly what the constructor takes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from click import ClickException

from workflow_state.schema import ErrorDetail


class PlanProblem(TypedDict):
    """One thing that is wrong with a plan: `path` is a JSON Pointer (RFC 6901), `fix` a JSON Patch (RFC 6902)."""

    code: str
    path: str
    message: str
    suggestion: NotRequired[str]
    fix: NotRequired[list[dict[str, Any]]]


class WorkflowStateError(Exception):
    """Base of all errors that this package raises on purpose."""


class PlanValidationError(WorkflowStateError):
    """The plan can't be run. `.errors` lists every problem that was found, in the order of the document."""

    def __init__(self, errors: Sequence[PlanProblem]) -> None:
        self.errors: list[PlanProblem] = list(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        count = len(self.errors)
        lines = [f"the plan has {count} problem{'s' if count != 1 else ''}"]
        for error in self.errors:
            suggestion = f" ({error['suggestion']})" if "suggestion" in error else ""
            lines.append(f"{error['code']} at {error['path'] or 'the whole plan'}: {error['message']}{suggestion}")
        return "\n  ".join(lines)


class ReferenceParseError(WorkflowStateError):
    """A `${…}` is there, but it is not written as a reference."""


class ReferenceResolutionError(WorkflowStateError):
    """A reference is well written, but points at something that is not there."""


class ConditionError(WorkflowStateError):
    """A condition is no CEL expression, or can't be evaluated with the values that it has."""


class ActionDefinitionError(WorkflowStateError):
    """An action definition is unknown, or wrong in its file."""


class HttpActionError(WorkflowStateError):
    """An attempt of an HTTP action failed.

    `.detail` is the ErrorDetail; `.http_trace` holds the attempt's trace (JSON data, redacted), empty where nothing
    was sent.
    """

    def __init__(self, detail: ErrorDetail | dict[str, Any], http_trace: Sequence[dict[str, Any]] = ()) -> None:
        self.detail = ErrorDetail.model_validate(detail)
        self.http_trace: list[dict[str, Any]] = list(http_trace)
        super().__init__(self.detail.to_json_data(), self.http_trace)

    def __str__(self) -> str:
        return f"{self.detail.category}: {self.detail.message}"


class ExecutionNotFoundError(WorkflowStateError):
    """No execution has this id, or its retention has passed."""


class ExecutionConflictError(WorkflowStateError):
    """What is asked does not fit the execution: its id belongs to another plan, or it can't be resumed."""


class OutcomeUnknownError(ExecutionConflictError):
    """Requests of this execution may or may not have had their effect, and nobody has decided what to do about them.

    `.undecided` maps each of them, an action (`pay`) or one element of a list (`pay[3]`), to why nobody knows.
    """

    def __init__(self, execution_id: str, undecided: Mapping[str, str]) -> None:
        self.execution_id = execution_id
        self.undecided: dict[str, str] = dict(undecided)
        super().__init__(self.execution_id, self.undecided)

    def __str__(self) -> str:
        first = next(iter(self.undecided), "")
        lines = [f"execution {self.execution_id} can't be resumed without a decision on each of:"]
        lines += [f"{name}: {why}" for name, why in self.undecided.items()]
        lines.append(
            "find out at the server whether it was done, then say which: "
            f"assume_done={{{first!r}: OUTPUT}} completes it with that output and sends nothing, "
            f"send_again=[{first!r}] sends it again"
        )
        return "\n  ".join(lines)


class StorageError(WorkflowStateError):
    """An output can't be stored, or a stored one is not there (any more), or is not what was stored."""


class DrawingError(WorkflowStateError):
    """A picture of a plan or an execution can't be drawn, or what draws it is not installed."""


class ConfirmationError(WorkflowStateError):
    """Nothing waits for an answer there, or it was answered already."""


class SettingsError(WorkflowStateError, ClickException):
    """A setting is wrong, or the server that it names can't be used.

    A ClickException as well: `celery worker` and our own command show it as one line, without a traceback.
    """

    exit_code = 2
