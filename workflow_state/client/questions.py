"""What a person has to read before an answer: the body of the request that an action asks about."""

from workflow_state.actions.storage.outputs import read_stored
from workflow_state.client.executions import get_execution_state
from workflow_state.errors import ConfirmationError
from workflow_state.schema import ShownRequest


def read_request_body(execution_id: str, action_id: str) -> bytes:
    """Return the text of a body that is too long for the state, in UTF-8, as the action's last question shows it.

    That is where the question's `request` has a `bodyLocation`. The bytes are checked against the checksum that stands
    there. Raises ExecutionNotFoundError, ConfirmationError where no question of the action has such a body, and
    StorageError where it can't be read.
    """
    state = get_execution_state(execution_id)
    asked = [item for item in state.confirmations if item.action_id == action_id]
    body = read_long_body(asked[-1].request) if asked and asked[-1].request else None
    if body is None:
        raise ConfirmationError(f"{action_id} has no question with a stored body; what it would send is in the state")
    return body


def read_long_body(request: ShownRequest) -> bytes | None:
    """Return the stored text of a request's body, None where the request itself has it. Raises StorageError."""
    return read_stored(request.body_location) if request.body_location else None
