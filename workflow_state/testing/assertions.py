"""Assertions on the state in which an execution ended; each failure shows what became of every action.

Pure functions of the state, as a model or as the JSON data of `handle.get()`: they need neither the fixtures nor a
Redis, and return the state (or what they looked for), for further looking.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from workflow_state.schema import (
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionStatus,
    ActionSuccess,
    ErrorCategory,
    ErrorDetail,
    ExecutionState,
    ExecutionStatus,
    HttpTraceEntry,
)
from workflow_state.views import text as display

State = ExecutionState | Mapping[str, Any]

_MOST_SHOWN_CHARACTERS = 500


def assert_completed(state: State) -> ExecutionState:
    """Check that the execution completed, and return its state."""
    __tracebackhide__ = True
    return _require_status(state, ExecutionStatus.COMPLETED)


def assert_cancelled(state: State) -> ExecutionState:
    """Check that the execution was cancelled, and return its state."""
    __tracebackhide__ = True
    return _require_status(state, ExecutionStatus.CANCELLED)


def assert_failed(
    state: State, action_id: str | None = None, *, category: ErrorCategory | str | None = None, code: str | None = None
) -> ErrorDetail:
    """Check that the execution failed, and how; return the error.

    With `action_id` it is that action's error, otherwise the execution's, which also tells of expected outcomes that
    did not come true.
    """
    __tracebackhide__ = True
    known = _require_status(state, ExecutionStatus.FAILED)
    error = known.error if action_id is None else error_of(known, action_id)
    if error is None:
        _fail(known, "the execution failed without an error")
    if category is not None and error.category != category:
        _fail(known, f"the error's category is {error.category}, not {category}")
    if code is not None and error.code != code:
        _fail(known, f"the error's code is {error.code}, not {code}")
    return error


def assert_skipped(state: State, action_id: str) -> str:
    """Check that the action was skipped, and return the reason."""
    __tracebackhide__ = True
    known, action = _find(state, action_id)
    if not isinstance(action.result, ActionSkip):
        _fail(known, f"{action_id} is {action.status}, not skipped")
    return action.result.reason


def output_of(state: State, action_id: str) -> Any:
    """Return the output of an action that completed; with `forEach`, the list of outputs."""
    __tracebackhide__ = True
    known, action = _find(state, action_id)
    if not isinstance(action.result, ActionSuccess):
        _fail(known, f"{action_id} has no output: it is {action.status}")
    return action.result.output


def error_of(state: State, action_id: str) -> ErrorDetail:
    """Return the error of an action that failed."""
    __tracebackhide__ = True
    known, action = _find(state, action_id)
    if not isinstance(action.result, ActionFailure):
        _fail(known, f"{action_id} has no error: it is {action.status}")
    return action.result.error


def describe_state(state: State) -> str:
    """Return what a failed assertion shows: how it ended, each action, and of what failed the last request."""
    known = _read(state)
    lines = [display.summary(known), *display.action_lines(known.action_states), *display.explanation(known)]
    for name, action in known.action_states.items():
        if action.status is ActionStatus.FAILED and action.http_trace:
            lines += [f"last request of {name}:", *_entry_lines(action.http_trace[-1])]
    lines += [f"expected outcome: {item.name}: {item.message}" for item in known.validations if not item.passed]
    return "\n".join(map(display.plain, lines))


def _entry_lines(entry: HttpTraceEntry) -> list[str]:
    lines = [f"  {display.traced(entry)}"]
    if entry.request.body is not None:
        lines.append(f"  sent: {_shown(entry.request.body)}")
    if entry.response and entry.response.body is not None:
        lines.append(f"  answered: {_shown(entry.response.body)}")
    return lines


def _shown(value: Any) -> str:
    return display.shorten(json.dumps(value, ensure_ascii=False), _MOST_SHOWN_CHARACTERS)


def _read(state: State) -> ExecutionState:
    return state if isinstance(state, ExecutionState) else ExecutionState.model_validate(state)


def _find(state: State, action_id: str) -> tuple[ExecutionState, ActionExecutionState]:
    __tracebackhide__ = True
    known = _read(state)
    action = known.action_states.get(action_id)
    if action is None:
        _fail(known, f"the execution has no action {action_id!r}; it has {', '.join(known.action_states)}")
    return known, action


def _require_status(state: State, wanted: ExecutionStatus) -> ExecutionState:
    __tracebackhide__ = True
    known = _read(state)
    if known.status is not wanted:
        _fail(known, f"the execution is {known.status}, not {wanted}")
    return known


def _fail(state: ExecutionState, message: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(f"{message}\n\n{describe_state(state)}")
