"""Sending an attempt's request once, and deciding from its answer whether the step ends or is tried again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workflow_state import hooks
from workflow_state.actions.execute import execute_http_action
from workflow_state.actions.http.failures import MAX_RETRY_AFTER_MS
from workflow_state.actions.network.client import get_client
from workflow_state.engine.deciding import CANCELLED
from workflow_state.engine.lean import stored_success
from workflow_state.engine.outcomes import RetryLater
from workflow_state.engine.work import Attempt, context_of, end_sent, stored_message
from workflow_state.errors import HttpActionError, WorkflowStateError
from workflow_state.rules.policy import retry_delay_ms
from workflow_state.schema import (
    ActionDefinition,
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionSuccess,
    ErrorCategory,
    ErrorDetail,
)
from workflow_state.settings import get_settings
from workflow_state.store.claims import HeldBack, await_retry
from workflow_state.store.connection import CONNECTION_ERRORS, NotSafeError, forget_connections
from workflow_state.store.permits import Permit, pause_definition, return_permit, take_permit

# With Retry-After they ask for a pause that is not this action's alone.
_PAUSING = frozenset({429, 503})
_UNSAFE_MARK_PAUSE_S = 1.0
_REDIS_IS_AWAY_PAUSE_S = 0.2


def send(
    attempt: Attempt, definition: ActionDefinition, inputs: Mapping[str, Any], *, paused_s: float
) -> ActionExecutionState | RetryLater:
    """Send the request once, if there is a permit; return how the step ends, or when it is tried again.

    `paused_s` is how long the definition's pause still lasts; 0 where there is none. Raises ClaimLostError where
    another worker has taken the attempt over.
    """
    work, claim = attempt.work, attempt.claim
    context = context_of(work, claim, definition)
    # Before the permit: making the first one takes so long that permits would be used in heaps.
    get_client()
    permit = take_permit(work.client, definition, claim, paused_s=paused_s)
    if permit.held_back:
        return _hold_back(attempt, definition, permit)
    try:
        time.sleep(permit.delay_s)
        hooks.attempt(definition.id, claim.attempt)
        answer = execute_http_action(definition, inputs, context)
    except NotSafeError as error:
        return _put_off(attempt, error)
    except HttpActionError as error:
        return _end_or_retry(attempt, definition, error)
    finally:
        return_permit(work.client, definition, claim)
    success = ActionSuccess(output=answer.output)
    if answer.output_location:
        success.output_location = answer.output_location
    elif attempt.is_lean:
        success = stored_success(attempt, success)
    return end_sent(attempt, success, [entry.to_json_data() for entry in answer.http_trace])


def _hold_back(attempt: Attempt, definition: ActionDefinition, permit: Permit) -> RetryLater:
    """Have the same attempt come again when there may be a permit. That uses up no retry."""
    message = replace(attempt.work.message, attempt=attempt.claim.attempt)
    _note_retry(attempt, message.attempt, permit.delay_s, attempt.trace, permit.held_back)
    reason = WorkflowStateError(f"held back by a {permit.held_back} of {definition.id!r}")
    return RetryLater(message, permit.delay_s, reason)


def _put_off(attempt: Attempt, error: NotSafeError) -> RetryLater:
    """Have the same attempt come again, whose mark *sent* is not safe: nothing has left. That uses up no retry.

    While Redis is away it waits here, for as long as that lasts. Whoever found the mark later without this note would
    have to take the outcome for unknown.
    """
    attempt.log.warn("not sent yet: its mark is not safe, to be tried again", error=str(error))  # noqa: G010 - ours
    message = replace(attempt.work.message, attempt=attempt.claim.attempt)
    while True:
        try:
            _note_retry(attempt, message.attempt, _UNSAFE_MARK_PAUSE_S, attempt.trace, "durability")
        except CONNECTION_ERRORS:
            forget_connections(attempt.work.client)
            time.sleep(_REDIS_IS_AWAY_PAUSE_S)
        else:
            return RetryLater(message, _UNSAFE_MARK_PAUSE_S, WorkflowStateError("held back: its mark is not safe"))


def _end_or_retry(
    attempt: Attempt, definition: ActionDefinition, error: HttpActionError
) -> ActionExecutionState | RetryLater:
    """Return what follows from a request that failed."""
    detail = error.detail
    if detail.category is ErrorCategory.USER_CANCELLED:
        return end_sent(attempt, ActionSkip(reason=CANCELLED), error.http_trace)
    _obey_pause(attempt, definition, detail)
    delay_ms = retry_delay_ms(definition.retry_policy, attempt.claim.attempt, detail)
    if delay_ms is None:
        return end_sent(attempt, ActionFailure(error=detail), error.http_trace)
    message = replace(attempt.work.message, attempt=attempt.claim.attempt + 1)
    delay_s = delay_ms / 1000
    if not _note_retry(attempt, message.attempt, delay_s, attempt.traced(error.http_trace)):
        attempt.log.warn("attempt failed, and the execution has used up its retries", category=detail.category)  # noqa: G010 - ours
        detail.suggestion = "the execution has used up its retries; resume it when the server is well again"
        return end_sent(attempt, ActionFailure(error=detail), error.http_trace)
    attempt.log.warn("attempt failed, to be tried again", delay_ms=delay_ms, category=detail.category)  # noqa: G010 - ours
    # The message of the exception only: Celery shows the whole of it. Where all is encrypted, not even that.
    shown = detail.category if get_settings().keys else str(error)
    return RetryLater(message, delay_s, WorkflowStateError(shown), detail.category)


def _obey_pause(attempt: Attempt, definition: ActionDefinition, detail: ErrorDetail) -> None:
    """Have nobody send to a server that asks for a pause, unless the pause is too long to wait for.

    Such a pause fails this action, and must not hold up all the others. A pause of the token's server is none of the
    definition's: others have their token.
    """
    is_of_token = (detail.code or "").startswith("token_")
    retry_after_ms = detail.retry_after or 0
    if detail.status_code in _PAUSING and retry_after_ms <= MAX_RETRY_AFTER_MS and not is_of_token:
        pause_definition(attempt.work.client, definition, retry_after_ms / 1000)


def _note_retry(
    attempt: Attempt,
    number: int,
    delay_s: float,
    trace: Sequence[Mapping[str, Any]],
    held_back: HeldBack | None = None,
) -> bool:
    """Store that attempt `number` follows; False where the execution has used up its retries, and none may follow."""
    message = stored_message(attempt.work, number)
    return await_retry(
        attempt.work.client,
        attempt.claim,
        delay_s=delay_s,
        trace=[dict(entry) for entry in trace],
        message=message,
        held_back=held_back,
    )
