"""Asking a person before an action is sent."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.exceptions import Ignore

from workflow_state.actions.execute import preview_http_action
from workflow_state.engine.work import Work, context_of, stored_message
from workflow_state.schema import ActionDefinition, ActionFailure, ErrorCategory, ErrorDetail
from workflow_state.settings import get_settings
from workflow_state.store.claims import Claim
from workflow_state.store.waiting import park, read_asks


def ask(work: Work, claim: Claim, definition: ActionDefinition, inputs: Mapping[str, Any]) -> ActionFailure | None:
    """Park the action until a person has answered; None where it may be sent, a failure where it may not.

    The answer is bound to what was shown: where another request would be sent by now, the person is asked again.
    Raises Ignore where the action waits.
    """
    confirmation = work.action.user_confirmation
    if confirmation is None or not confirmation.required:
        return None
    request, digest = preview_http_action(definition, inputs, context_of(work, claim, definition))
    asks = read_asks(work.client, work.execution_id, work.step)
    last = asks[-1] if asks else None
    if last and "confirmed" in last:
        if not last["confirmed"]:
            return _refused(last)
        if last["digest"] == digest:
            return None
    asked_at = datetime.now(UTC)
    ask = {
        "requestedAt": asked_at.isoformat(),
        "title": confirmation.title,
        "message": confirmation.message,
        "request": request.to_json_data(),
        "digest": digest,
    }
    timeout_s = None if confirmation.timeout is None else confirmation.timeout / 1000
    if timeout_s is not None:
        ask["expiresAt"] = (asked_at + timedelta(seconds=timeout_s)).isoformat()
    # Delivered again before anyone answered: the same question, not a second one.
    is_open = last is not None and "confirmed" not in last and last["digest"] == digest
    park(
        work.client,
        claim,
        asks=asks if is_open else [*asks, ask],
        timeout_s=timeout_s,
        message=stored_message(work, claim.attempt),
        retention_s=get_settings().retention_s,
    )
    raise Ignore


def _refused(ask: Mapping[str, Any]) -> ActionFailure:
    if ask.get("timedOut"):
        message = f"nobody answered the confirmation {ask['title']!r} in time"
    else:
        message = f"the confirmation {ask['title']!r} was rejected by {ask.get('userId') or 'a person'}"
    return ActionFailure(error=ErrorDetail(category=ErrorCategory.USER_CANCELLED, message=message))
