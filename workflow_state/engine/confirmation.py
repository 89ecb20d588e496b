"""Asking a person before an action is sent."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from workflow_state.actions.execute import preview_http_action
from workflow_state.engine.outcomes import Waiting
from workflow_state.engine.work import Attempt, context_of, stored_message
from workflow_state.schema import ActionDefinition, ActionFailure, ErrorCategory, ErrorDetail, UserConfirmation
from workflow_state.settings import get_settings
from workflow_state.store.waiting import park, read_asks


def ask_for_confirmation(
    attempt: Attempt, definition: ActionDefinition, inputs: Mapping[str, Any]
) -> ActionFailure | Waiting | None:
    """Ask a person, where the action needs one; return None where it may be sent.

    Returns the failure of a request that was rejected or that nobody answered in time, and Waiting where the answer is
    still to come. An answer is bound to what was shown: where another request would be sent by now, the person is asked
    again. May be called again: a question that is open is not asked twice.
    """
    work, claim = attempt.work, attempt.claim
    confirmation = work.action.user_confirmation
    if confirmation is None or not confirmation.required:
        return None
    request, digest = preview_http_action(definition, inputs, context_of(work, claim, definition))
    asks = read_asks(work.store, work.step)
    last = asks[-1] if asks else None
    if last and "confirmed" in last:
        if not last["confirmed"]:
            return _refused(confirmation, last)
        if last["digest"] == digest:
            return None
    asked_at = datetime.now(UTC)
    question = {
        "requestedAt": asked_at.isoformat(),
        "request": request.to_json_data(),
        "digest": digest,
    }
    timeout_s = None if confirmation.timeout is None else confirmation.timeout / 1000
    if timeout_s is not None:
        question["expiresAt"] = (asked_at + timedelta(seconds=timeout_s)).isoformat()
    # Delivered again before anyone answered: the same question, not a second one.
    is_open = last is not None and "confirmed" not in last and last["digest"] == digest
    park(
        work.client,
        claim,
        asks=asks if is_open else [*asks, question],
        timeout_s=timeout_s,
        message=stored_message(work, claim.attempt),
        retention_s=get_settings().retention_s,
    )
    return Waiting()


def _refused(confirmation: UserConfirmation, question: Mapping[str, Any]) -> ActionFailure:
    if question.get("timedOut"):
        message = f"nobody answered the confirmation {confirmation.title!r} in time"
    else:
        message = f"the confirmation {confirmation.title!r} was rejected by {question.get('userId') or 'a person'}"
    return ActionFailure(error=ErrorDetail(category=ErrorCategory.USER_CANCELLED, message=message))
