"""What a browser is told of the questions to people: of one that is open all that would be sent."""

from collections.abc import Sequence
from typing import Any

from workflow_state.client.questions import read_long_body
from workflow_state.errors import StorageError
from workflow_state.rules.confirmations import is_open
from workflow_state.schema import ConfirmationState, ShownRequest
from workflow_state.views.requests import MOST_SHOWN_BYTES, body_text

# Of an element that is not looked at: whether it waits, and who answered.
_IN_SHORT = {"action_id", "requested_at", "responded_at", "confirmed", "user_id", "timed_out"}


def questions_about(action_id: str, confirmations: Sequence[ConfirmationState]) -> list[dict[str, Any]]:
    """Return the questions of an action, and in short those of the elements of its list."""
    own = [item for item in confirmations if item.action_id == action_id]
    elements = [item for item in confirmations if item.action_id.startswith(f"{action_id}[")]
    told = [item.to_json_data() for item in own]
    if own and is_open(own[-1]) and (request := own[-1].request):
        told[-1]["shownBody"] = _shown_body(request)
    return told + [item.model_dump(mode="json", by_alias=True, include=_IN_SHORT) for item in elements]


def _shown_body(request: ShownRequest) -> dict[str, Any] | None:
    """Return the body's text, or of a very long one its size and SHA-256, or why it can't be read.

    As text, because a browser would round the integers of a JSON body.
    """
    place = request.body_location
    if place and place.size > MOST_SHOWN_BYTES:
        return {"size": place.size, "sha256": place.checksum}
    try:
        text = body_text(request, read_long_body(request))
    except StorageError as error:
        return {"problem": str(error)}
    return None if text is None else {"text": text, "isText": request.body_is_text}
