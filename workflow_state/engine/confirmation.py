"""Asking a person before an action is sent."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from workflow_state.actions.execute import preview_http_action
from workflow_state.actions.http.preview import TEXT_CONTENT_TYPE, Preview
from workflow_state.actions.http.request import JSON_CONTENT_TYPE
from workflow_state.actions.storage.outputs import store_output
from workflow_state.engine.outcomes import Waiting
from workflow_state.engine.work import Attempt, context_of, stored_message
from workflow_state.schema import (
    ActionDefinition,
    ActionFailure,
    ErrorCategory,
    ErrorDetail,
    ShownRequest,
    UserConfirmation,
)
from workflow_state.settings import get_settings
from workflow_state.store.waiting import park, read_asked_bytes, read_asks

# What is no longer is always in Redis. Of what is longer an execution has so much there, the rest is stored.
_SHORT_BYTES = 2_048
_MOST_ASKED_BYTES = 16 * 2**20


def ask_for_confirmation(
    attempt: Attempt, definition: ActionDefinition, inputs: Mapping[str, Any]
) -> ActionFailure | Waiting | None:
    """Ask a person, where the action needs one; return None where it may be sent.

    Returns the failure of a request that was rejected or that nobody answered in time, and Waiting where the answer is
    still to come. An answer is bound to what was shown: where another request would be sent by now, the person is asked
    again. May be called again: a question that is open is not asked twice. Raises StorageError where a long body can't
    be stored for the person to read.
    """
    work, claim = attempt.work, attempt.claim
    confirmation = work.action.user_confirmation
    if confirmation is None or not confirmation.required:
        return None
    preview = preview_http_action(definition, inputs, context_of(work, claim, definition))
    asks = read_asks(work.store, work.step)
    last = asks[-1] if asks else None
    if last and "confirmed" in last:
        if not last["confirmed"]:
            return _refused(confirmation, last)
        if last["digest"] == preview.digest:
            return None
    # Delivered again before anyone answered: the same question, not a second one.
    is_open = last is not None and "confirmed" not in last and last["digest"] == preview.digest
    timeout_s = None if confirmation.timeout is None else confirmation.timeout / 1000
    park(
        work.client,
        claim,
        asks=asks if is_open else [*asks, _make_question(attempt, preview, timeout_s)],
        timeout_s=timeout_s,
        message=stored_message(work, claim.attempt),
        retention_s=get_settings().retention_s,
    )
    return Waiting()


def _make_question(attempt: Attempt, preview: Preview, timeout_s: float | None) -> dict[str, Any]:
    """Return the question about this request as it is stored: without title and message, which the plan has."""
    asked_at = datetime.now(UTC)
    request = _with_body_where_it_fits(attempt, preview).to_json_data()
    question = {"requestedAt": asked_at.isoformat(), "request": request, "digest": preview.digest}
    if timeout_s is not None:
        question["expiresAt"] = (asked_at + timedelta(seconds=timeout_s)).isoformat()
    return question


def _with_body_where_it_fits(attempt: Attempt, preview: Preview) -> ShownRequest:
    """Return the request with its body, or with where that is stored: a plan can ask about thousands of long ones."""
    work, size = attempt.work, len(preview.body or b"")
    if preview.body is None or size <= _SHORT_BYTES:
        return preview.request
    most = min(get_settings().inline_output_bytes, _MOST_ASKED_BYTES - read_asked_bytes(work.store))
    if size <= most:
        return preview.request
    shown = preview.request.to_json_data()
    del shown["body"]
    content_type = TEXT_CONTENT_TYPE if preview.request.body_is_text else JSON_CONTENT_TYPE
    place = store_output(preview.body, content_type, work.execution_id, work.step, attempt.claim.attempt)
    return ShownRequest.model_validate({**shown, "bodyLocation": place.to_json_data()})


def _refused(confirmation: UserConfirmation, question: Mapping[str, Any]) -> ActionFailure:
    if question.get("timedOut"):
        message = f"nobody answered the confirmation {confirmation.title!r} in time"
    else:
        message = f"the confirmation {confirmation.title!r} was rejected by {question.get('userId') or 'a person'}"
    return ActionFailure(error=ErrorDetail(category=ErrorCategory.USER_CANCELLED, message=message))
