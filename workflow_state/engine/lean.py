"""Keeping small what a step adds to a state that has little room left: its output goes into the storage."""

import json

from workflow_state.actions.storage.outputs import store_output
from workflow_state.engine.work import Attempt
from workflow_state.errors import SettingsError, StorageError
from workflow_state.schema import ActionSuccess

# What stands for a stored output is about as large.
_SMALL_BYTES = 1_024


def stored_success(attempt: Attempt, success: ActionSuccess) -> ActionSuccess:
    """Return the success with its output in the storage, as a large one is kept.

    It stays in the state where it is small, and where it can't be stored: the request was sent, and its answer is not
    lost for that.
    """
    data = json.dumps(success.output).encode()
    if len(data) <= _SMALL_BYTES:
        return success
    work = attempt.work
    try:
        location = store_output(data, "application/json", work.execution_id, work.step, attempt.claim.attempt)
    except (StorageError, SettingsError, OSError) as error:
        attempt.log.warn("an output stays in a state that is half full: it can't be stored", error=str(error))  # noqa: G010 - ours
        return success
    output = {"stored": True, "location": location.path, "size": location.size, "contentType": location.content_type}
    stored = ActionSuccess(output=output)
    stored.output_location = location
    return stored
