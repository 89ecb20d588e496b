"""The exceptions of this package. Each says what is wrong, where, and what to do.

    WorkflowStateError
    ├── PlanValidationError        the plan is wrong; `.errors` lists every problem
    ├── ReferenceParseError        a `${…}` is not written as a reference
    ├── ReferenceResolutionError   a reference points at something that is not there
    ├── ConditionError             a condition is wrong, or does not fit its values
    ├── ActionDefinitionError      an unknown or wrong action definition
    ├── HttpActionError            an HTTP action failed; `.detail` says how
    ├── ExecutionNotFoundError     no execution has that id
    ├── ExecutionConflictError     what was asked for does not fit the execution that has this id
    │   └── OutcomeUnknownError    a decision is needed before it is resumed; `.undecided` says about what
    ├── StorageError               an output can't be stored, or can't be read back
    ├── DecryptionError            what is stored can't be decrypted: it was changed, or moved
    │   └── MissingKeyError        this process does not have the key that it is encrypted by
    ├── DrawingError               a picture can't be drawn, or the package that draws it is not installed
    ├── ConfirmationError          the action waits for no answer, or has one already
    ├── BrokerUnavailableError     Redis can't be reached, or takes no commands now; try again
    └── SettingsError              an environment variable is wrong, or the server that it names

Each can be pickled, and passes through Celery's JSON exception serializer. That one makes the exception anew from
`args`, so `args` is JSON data and exactly what the constructor takes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from click import ClickException

from workflow_state.schema import ErrorDetail


class PlanProblem(TypedDict):
    """One thing that is wrong with a plan, so that a person or a language model can repair it.

    `code` is a word to branch on, such as `unknown_dependency`. `path` is a JSON Pointer (RFC 6901) to the place in the
    plan as it was given. `action` is the id of the action in which that place is. `line` is its line, from 1, where the
    plan was text. `message` says what is wrong, and `suggestion` what to do. `fix` is a JSON Patch (RFC 6902), which is
    there where the repair is certain.
    """

    code: str
    path: str
    action: NotRequired[str]
    line: NotRequired[int]
    message: str
    suggestion: NotRequired[str]
    fix: NotRequired[list[dict[str, Any]]]


class WorkflowStateError(Exception):
    """The base of all exceptions of this package: catch it to catch them all."""


class PlanValidationError(WorkflowStateError):
    """The plan can't be run. `.errors` lists every problem in it, in the order of the plan (see PlanProblem).

    `str()` of it is a text for people, with one line for each problem.
    """

    def __init__(self, errors: Sequence[PlanProblem]) -> None:
        self.errors: list[PlanProblem] = list(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        count = len(self.errors)
        lines = [f"the plan has {count} problem{'s' if count != 1 else ''}"]
        for error in self.errors:
            suggestion = f" ({error['suggestion']})" if "suggestion" in error else ""
            lines.append(f"{error['code']} at {_name_place(error)}: {error['message']}{suggestion}")
        return "\n  ".join(lines)


def _name_place(problem: PlanProblem) -> str:
    """Return where the problem is: `/actions/3/inputs/to (action 'mail', line 27)`."""
    action = [f"action '{problem['action']}'"] if "action" in problem else []
    line = [f"line {problem['line']}"] if "line" in problem else []
    more = ", ".join(action + line)
    return (problem["path"] or "the whole plan") + (f" ({more})" if more else "")


class ReferenceParseError(WorkflowStateError):
    """A text has a `${…}` that is not written as a reference. The message says how to write it.

    `.instead` is the reference that was probably meant, well written, or "" where nobody knows. Only the plan can tell
    whether there is what it points at. `.problem` is the message without it.
    """

    instead: str = ""
    problem: str = ""


class ReferenceResolutionError(WorkflowStateError):
    """A reference points at something that is not there. The message names the path, and the keys that are there."""


class ConditionError(WorkflowStateError):
    """A condition is not a CEL expression, or can't be evaluated with its values."""


class ActionDefinitionError(WorkflowStateError):
    """An action definition is unknown or wrong. For files the message has a line `FILE:LINE: …` for each problem."""


class HttpActionError(WorkflowStateError):
    """An HTTP action failed.

    `.detail` is an ErrorDetail: the category, and whether the request may be sent again. `.http_trace` is the trace of
    its requests as JSON data without secrets; it is empty where nothing was sent.
    """

    def __init__(self, detail: ErrorDetail | dict[str, Any], http_trace: Sequence[dict[str, Any]] = ()) -> None:
        self.detail = ErrorDetail.model_validate(detail)
        self.http_trace: list[dict[str, Any]] = list(http_trace)
        super().__init__(self.detail.to_json_data(), self.http_trace)

    def __str__(self) -> str:
        return f"{self.detail.category}: {self.detail.message}"


class ExecutionNotFoundError(WorkflowStateError):
    """No execution has this id, or it was too long ago: WORKFLOW_STATE_RETENTION_S after its last change it is gone."""


class ExecutionConflictError(WorkflowStateError):
    """What was asked for does not fit the execution: its id belongs to another plan, or it can't be resumed."""


class OutcomeUnknownError(ExecutionConflictError):
    """An execution can't be resumed before a person decides: requests of it may or may not have had their effect.

    `.undecided` maps the name of each such request to the reason why its outcome is unknown. A name is an action's id
    (`pay`), or one element of an action over a list (`pay[3]`). Pass the decisions to `resume_execution`, as
    `assume_done` or `send_again`.
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
    """An output can't be stored. Or a stored output can't be read: it has expired, was changed, or is out of reach."""


class DecryptionError(WorkflowStateError):
    """What is stored can't be decrypted: the value was changed, or moved to another place, or the key is missing."""


class MissingKeyError(DecryptionError):
    """What is stored is encrypted by a key that this process does not have. The message names the key.

    WORKFLOW_STATE_KEYS has to have it in each process that submits, runs or shows executions.
    """


class DrawingError(WorkflowStateError):
    """A picture of a plan or an execution can't be drawn, or the package that draws it is not installed."""


class ConfirmationError(WorkflowStateError):
    """The action does not wait for an answer, or it was answered already."""


class BrokerUnavailableError(WorkflowStateError, ConnectionError):
    """Redis, the broker and result backend, can't be reached, or refuses what it is asked.

    A ConnectionError as well, because it is one: code that tries again on those does so here too. Submitting again
    under the same id starts nothing twice.
    """


class SettingsError(WorkflowStateError, ClickException):
    """A setting is wrong, or the server that it names can't be used. The message names the environment variable.

    It is a ClickException as well, so that `celery worker` and `workflow-state` show it as one line without traceback.
    """

    exit_code = 2
