"""The outputs of actions: reading them, from the state or from where they are stored, and removing the expired ones."""

from typing import Any

from pydantic import JsonValue

from workflow_state.actions.http.content_type import is_json
from workflow_state.actions.http.response import decode_text
from workflow_state.actions.storage.outputs import read_stored
from workflow_state.celery import app
from workflow_state.client.executions import get_execution_state
from workflow_state.engine import expiry
from workflow_state.errors import StorageError
from workflow_state.rules.for_each import split_state
from workflow_state.rules.outline import is_outline
from workflow_state.schema import ActionExecutionState, ActionSuccess, ExecutionState, StorageLocation
from workflow_state.store.connection import broker_errors
from workflow_state.store.execution import open_store
from workflow_state.store.results import read_results


def read_output(execution_id: str, action_id: str) -> bytes:
    """Return the bytes that an action's answer had, where they are stored; `each[3]` is one element of a list.

    They are checked against the checksum in the state. Known secrets are taken out; in binary data they are overwritten
    with `*`. Raises ExecutionNotFoundError, and StorageError where the action has no output, or one that is in the
    state itself; where the stored one is not there any more; and where it is not what was stored. Raises
    MissingKeyError where this process does not have the key that it is encrypted by.
    """
    output, location = find_output(execution_id, action_id)
    if location is None:
        what = "is a list, whose elements have outputs of their own" if isinstance(output, list) else "is in its state"
        raise StorageError(f"the output of {action_id} is not stored: it {what}")
    return read_stored(location)


def find_output(execution_id: str, action_id: str) -> tuple[JsonValue, StorageLocation | None]:
    """Return an action's output as it is in the state, and where it is stored if it is.

    Raises ExecutionNotFoundError, and StorageError where there is no output.
    """
    state = find_action_state(get_execution_state(execution_id), action_id)
    if not isinstance(state.result, ActionSuccess):
        raise StorageError(f"{action_id} has no output: it is {state.status}")
    return state.result.output, state.result.output_location


def expire_outputs() -> int:
    """Remove the stored outputs that have expired, and return of how many executions that was. Safe to repeat.

    The workers do so once an hour; call it where they are told not to. Raises StorageError, and SettingsError where
    WORKFLOW_STATE_STORAGE_URL is not set.
    """
    return expiry.expire_outputs(app)


def text_of(data: bytes, content_type: str) -> str | None:
    """Return stored bytes as text to look at, or None where they are binary."""
    return data.decode(errors="replace") if is_json(content_type) else decode_text(data, content_type)


@broker_errors()
def find_action_state(execution: ExecutionState, action_id: str) -> ActionExecutionState:
    """Return the state of an action, or of one element of a list (`each[3]`), of an execution.

    Raises StorageError where the execution has no such action.
    """
    states = execution.action_states
    if is_outline(execution) and (whole := _read_result(execution.id, action_id)):
        return whole
    if action_id in states:
        return states[action_id]
    name, _, rest = action_id.partition("[")
    element: ActionExecutionState | None = None
    if name in states and rest[:-1].isdecimal() and rest.endswith("]"):
        # Its own state is there while others of the list still run; the list's keeps it for longer.
        if whole := _read_result(execution.id, action_id):
            return whole
        element = split_state(states[name]).get(int(rest[:-1]))
    if element is None:
        there = ", ".join(list(states)[:20])
        raise StorageError(f"execution {execution.id} has no output of {action_id!r}; its actions are {there}")
    return element


def _read_result(execution_id: str, step: str) -> ActionExecutionState | None:
    """Return the state of a step from its own result, or None where that is not there."""
    backend: Any = app.backend
    data = read_results(open_store(backend, execution_id), [step]).get(step)
    return ActionExecutionState.model_validate(data) if data else None
