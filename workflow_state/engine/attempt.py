"""One attempt of a step: claim it, decide what to send, send it, settle its end.

Each of these has a module of its own: deciding.py, confirmation.py, sending.py, settling.py. This one claims the
attempt, calls them in order, and turns every error into the state of a failed action. What comes of the attempt is a
value (outcomes.py).
"""

import logging
from typing import Any

from celery import Task

from workflow_state.actions.definitions.catalog import load_action_definition
from workflow_state.engine.confirmation import ask_for_confirmation
from workflow_state.engine.deciding import decide, end_at_once
from workflow_state.engine.messages import ActionMessage
from workflow_state.engine.outcomes import Outcome, RetryLater, Waiting, WithoutEffect
from workflow_state.engine.sending import send
from workflow_state.engine.settling import alternative_of, finish, settle
from workflow_state.engine.work import Attempt, Work, end_sent, end_unsent
from workflow_state.errors import (
    ActionDefinitionError,
    HttpActionError,
    MissingKeyError,
    StorageError,
    WorkflowStateError,
)
from workflow_state.logger import WorkflowLogger
from workflow_state.rules.allowed_definitions import NOT_ALLOWED, explain_refusal, suggest_remedy
from workflow_state.rules.limits import find_full, is_half_full
from workflow_state.rules.policy import DEFINITION_UNUSABLE, outcome_unknown
from workflow_state.rules.states import with_unneeded
from workflow_state.schema import (
    ActionDefinition,
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ErrorCategory,
    ErrorDetail,
)
from workflow_state.settings import get_settings
from workflow_state.store.claims import Claim, ClaimLostError, claimed, is_marked_sent, read_failure, read_trace
from workflow_state.store.connection import CONNECTION_ERRORS, redis_client
from workflow_state.store.execution import open_store
from workflow_state.store.permits import pause_key
from workflow_state.store.results import AttemptContext, ContextQuery

logger = logging.getLogger(__name__)

_SHARED_ALTERNATIVE_POLL_S = 0.5


def make_attempt(task: Task, message: ActionMessage) -> Outcome:  # type: ignore[type-arg]
    """Make the attempt that a message asks for, if it is this delivery's to make; return what came of it.

    May be called again for the same message: what is done is not done twice. Raises a connection error where Redis
    can't be reached; the attempt can be claimed again then.
    """
    backend, execution_id = task.app.backend, message.execution_id
    client = redis_client(backend)
    query = ContextQuery(
        action_ids=[message.action_id, *message.in_place_of],
        steps=[message.step, *message.reads],
        pause_key=pause_key(message.definition_id),
    )
    store = open_store(backend, execution_id)
    with claimed(store, message.step, attempt=message.attempt, query=query) as (claim, context):
        if context is None or context.actions is None:
            logger.error("Action %s of execution %s was to run, but its record is gone", message.step, execution_id)
            return WithoutEffect()
        action, *primaries = context.actions
        return _go_on(Work(task, client, message, action, tuple(primaries), context.plan_id), claim, context)


def _go_on(work: Work, claim: Claim | None, context: AttemptContext) -> Outcome:
    """Take up the work where it stands: its end may be stored already, or its failure, or it is another delivery's."""
    stored = context.results.pop(work.step, None)
    if stored and (claim or work.primaries):
        # A worker died between storing this and telling the chord, or another primary had the same alternative.
        return finish(work, stored)
    if claim is None and work.primaries:
        # Another primary's alternative is this very action, and under way: its end is this one's as well.
        return RetryLater(work.message, _SHARED_ALTERNATIVE_POLL_S)
    if claim is None:
        return WithoutEffect()
    # An action with an alternative that failed before its worker died is not sent again.
    if alternative_of(work) and (failed := read_failure(work.store, work.action.id)):
        return settle(work, failed)
    ended = _run(_begin(work, claim, context), context)
    return settle(work, ended) if isinstance(ended, ActionExecutionState) else ended


def _begin(work: Work, claim: Claim, context: AttemptContext) -> Attempt:
    trace = read_trace(work.client, claim) if claim.attempt > 1 else []
    log = WorkflowLogger(
        execution_id=work.execution_id, plan_id=work.plan_id, action_id=work.step, attempt=claim.attempt
    )
    return Attempt(work, claim, trace, log, is_lean=is_half_full(get_settings(), context.state_bytes))


def _run(attempt: Attempt, context: AttemptContext) -> ActionExecutionState | RetryLater | Waiting | WithoutEffect:
    """Decide, ask and send; log how the step ended where it did."""
    ended = end_at_once(attempt, is_cancelled=context.is_cancelled) or _send_if_wanted(attempt, context)
    if isinstance(ended, ActionExecutionState):
        _log_end(attempt.log, ended)
    return ended


def _send_if_wanted(
    attempt: Attempt, context: AttemptContext
) -> ActionExecutionState | RetryLater | Waiting | WithoutEffect:
    """Send the request, unless the step ends or waits before that. Every error but a lost connection ends it."""
    work = attempt.work
    try:
        decided = decide(work, with_unneeded(work.message.reads, context.results))
        full = find_full(get_settings(), context.state_bytes, context.stored_bytes)
        if full and isinstance(decided, dict):
            decided = ActionFailure(error=full)
        if not isinstance(decided, dict):
            return end_unsent(attempt, decided)
        definition = _load_allowed_definition(work.action.action_definition_id, context)
        answer = ask_for_confirmation(attempt, definition, decided)
        if isinstance(answer, Waiting):
            return answer
        if answer:
            return end_unsent(attempt, answer)
        return send(attempt, definition, decided, paused_s=max(0.0, context.paused_until_s - attempt.claim.at_s))
    except ClaimLostError:
        return WithoutEffect()
    except (*CONNECTION_ERRORS, MissingKeyError):
        raise
    except WorkflowStateError as error:
        ended = end_unsent(attempt, ActionFailure(error=_describe(error, work.action.action_definition_id)))
    except Exception as error:
        # A defect of ours, or a soft time limit of Celery's. Raised, it would leave the chord without its body, and the
        # execution without an end.
        logger.exception("Action %s of execution %s failed by a defect", work.action.id, work.execution_id)
        ended = _end_by_defect(attempt, error)
    return ended


def _end_by_defect(attempt: Attempt, error: Exception) -> ActionExecutionState:
    """Return how a step ends by an error that nobody foresaw; an unsafe request may have been sent by then."""
    work = attempt.work
    message = f"an internal error ({type(error).__name__}); the worker's log has the details"
    if is_marked_sent(work.store, attempt.claim):
        told = f"{message}. The request had been sent: the outcome is unknown"
        return end_sent(attempt, outcome_unknown(work.action, told))
    detail = ErrorDetail(category=ErrorCategory.STATE_INCONSISTENT, message=message)
    return end_unsent(attempt, ActionFailure(error=detail))


def _load_allowed_definition(definition_id: str, context: AttemptContext) -> ActionDefinition:
    """Return the step's definition. Raises HttpActionError where this worker or the execution does not allow it."""
    if why := explain_refusal(definition_id, get_settings().allowed_definitions, context.definitions):
        detail = ErrorDetail(
            category=ErrorCategory.VALIDATION_FAILED,
            code=NOT_ALLOWED,
            message=f"{why}; nothing was sent",
            context={"actionDefinitionId": definition_id},
            suggestion=suggest_remedy(definition_id, context.definitions),
        )
        raise HttpActionError(detail)
    return load_action_definition(definition_id)


def _describe(error: WorkflowStateError, definition_id: str) -> ErrorDetail:
    """Return what the failed action says of an error that was raised before its request was sent."""
    if isinstance(error, HttpActionError):
        return error.detail
    if isinstance(error, StorageError):
        message = f"nothing was sent: {error}"
        return ErrorDetail(category=ErrorCategory.STATE_INCONSISTENT, code="output_not_read", message=message)
    if isinstance(error, ActionDefinitionError):
        return ErrorDetail(
            category=ErrorCategory.VALIDATION_FAILED,
            code=DEFINITION_UNUSABLE,
            message=f"nothing was sent: {error}",
            context={"actionDefinitionId": definition_id},
            suggestion="give every worker the definitions that plans are submitted with, restart it, and resume",
        )
    return ErrorDetail(category=ErrorCategory.VALIDATION_FAILED, message=str(error))


def _log_end(log: WorkflowLogger, state: ActionExecutionState) -> None:
    """Log how a step ended, and its metric; never an output."""
    told: dict[str, Any] = {"status": state.status, "attempts": state.attempts}
    if isinstance(state.result, ActionFailure):
        log.error("action failed", **told, category=state.result.error.category, error=state.result.error.message)
    elif isinstance(state.result, ActionSkip):
        log.info("action skipped", **told, reason=state.result.reason)
    else:
        log.info("action completed", **told)
    log.metric("action.duration_ms", state.duration or 0, status=state.status)
