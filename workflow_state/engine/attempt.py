"""One attempt of an action: claim it, decide, send, and settle what its end means.

A failed action is settled where it failed: its alternative takes its place at once (Celery's `replace`, so that it
keeps the place in the chord), or its fallback value becomes its output, or it is failed.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from celery import Task, states
from celery.exceptions import Ignore, Retry, TaskPredicate

from workflow_state.actions.definitions.catalog import load_action_definition
from workflow_state.actions.execute import execute_http_action
from workflow_state.actions.http.failures import MAX_RETRY_AFTER_MS
from workflow_state.actions.network.client import get_client
from workflow_state.engine.confirmation import ask
from workflow_state.engine.contents import with_contents
from workflow_state.engine.messages import ActionMessage, Summary, message_of, to_arguments
from workflow_state.engine.work import Work, context_of, stored_message
from workflow_state.errors import HttpActionError, StorageError, WorkflowStateError
from workflow_state.logger import WorkflowLogger
from workflow_state.plans.conditions import evaluate_condition
from workflow_state.plans.references import resolve_value
from workflow_state.rules.for_each import list_elements
from workflow_state.rules.policy import (
    find_block,
    is_of_unknown_outcome,
    reads_plan_inputs,
    retry_delay_ms,
    settle_failure,
)
from workflow_state.rules.states import Ending, finished_state, with_unneeded
from workflow_state.schema import (
    OUTCOME_UNKNOWN,
    ActionDefinition,
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionStatus,
    ActionSuccess,
    ErrorCategory,
    ErrorDetail,
    PlannedAction,
)
from workflow_state.settings import get_settings
from workflow_state.store.claims import (
    WHICHEVER_IS_DUE,
    Claim,
    ClaimLostError,
    HeldBack,
    await_retry,
    claimed,
    read_failure,
    read_trace,
    remember_failure,
)
from workflow_state.store.connection import CONNECTION_ERRORS, redis_client
from workflow_state.store.names import action_task_id
from workflow_state.store.permits import pause_definition, pause_key, return_permit, take_permit
from workflow_state.store.records import read_actions, read_inputs
from workflow_state.store.results import Outlook, parse_outlook, queue_outlook

logger = logging.getLogger(__name__)

_SHARED_ALTERNATIVE_POLL_S = 0.5
# By chance a worker is lost during the same attempt again and again only rarely.
_MAX_LOSSES = 5
_CANCELLED = "the execution was cancelled"
# With Retry-After they ask for a pause that is not this action's alone.
_PAUSING = frozenset({429, 503})


def perform(task: Task, message: ActionMessage) -> Mapping[str, Any] | None:  # type: ignore[type-arg]
    """Make the attempt, and return the state of the action whose place in the chord this is, as JSON data.

    None where the attempt is another delivery's, or waits. Raises Celery's Retry for another attempt, and Ignore where
    its alternative takes over.
    """
    backend, execution_id = task.app.backend, message.execution_id
    client = redis_client(backend)
    result_ids = [message.step, *message.reads]
    queue_reads = partial(
        queue_outlook,
        backend=backend,
        execution_id=execution_id,
        action_ids=[message.action_id, *message.in_place_of],
        result_ids=result_ids,
        pause_key=pause_key(message.definition_id),
    )
    with claimed(
        client,
        execution_id,
        message.step,
        attempt=message.attempt,
        retention_s=get_settings().retention_s,
        queue_reads=queue_reads,
    ) as (claim, replies):
        outlook = parse_outlook(backend, result_ids, replies)
        if outlook.actions is None:
            logger.error("Action %s of execution %s was to run, but its record is gone", message.step, execution_id)
            return None
        action, *primaries = outlook.actions
        work = Work(task, client, message, action, tuple(primaries))
        stored = outlook.results.pop(work.step, None)
        if stored and (claim or work.primaries):
            # A worker died between storing this and telling the chord, or another primary had the same alternative.
            return _take_place(work, stored)
        if claim is None and work.primaries:
            # Another primary's alternative is this very action, and under way: its end is this one's as well.
            raise work.task.retry(countdown=_SHARED_ALTERNATIVE_POLL_S)
        if claim is None:
            return None
        # An action with an alternative that failed before its worker died is not sent again.
        failed = read_failure(work.client, work.execution_id, work.action.id) if _alternative_of(work) else None
        ended = failed or _attempt(work, claim, outlook)
        return _settle(work, ended) if ended else None


def _alternative_of(work: Work) -> str | None:
    """Return what takes the place of a failure; the alternative of a list stands in for the whole list."""
    return work.action.error_handling.alternative_action_id if work.message.element is None else None


def _attempt(work: Work, claim: Claim, outlook: Outlook) -> ActionExecutionState | None:
    """Run the action if it is to run, and return the state that it ended in; None where it waits, or is another's."""
    trace = read_trace(work.client, claim) if claim.attempt > 1 else []
    unsent = Ending(claim.started_at, claim.attempt - 1, trace)
    log = WorkflowLogger(
        execution_id=work.execution_id, plan_id=outlook.plan_id, action_id=work.step, attempt=claim.attempt
    )
    state = _run(work, claim, outlook, unsent, log)
    if state:
        tell_end(log, state)
    return state


def tell_end(log: WorkflowLogger, state: ActionExecutionState) -> None:
    """Log how an action ended, and its metric; never an output."""
    told: dict[str, Any] = {"status": state.status, "attempts": state.attempts}
    if isinstance(state.result, ActionFailure):
        log.error("action failed", **told, category=state.result.error.category, error=state.result.error.message)
    elif isinstance(state.result, ActionSkip):
        log.info("action skipped", **told, reason=state.result.reason)
    else:
        log.info("action completed", **told)
    log.metric("action.duration_ms", state.duration or 0, status=state.status)


def _run(
    work: Work,
    claim: Claim,
    outlook: Outlook,
    unsent: Ending,
    log: WorkflowLogger,
) -> ActionExecutionState | None:
    if foregone := _foregone(work, claim, unsent, cancelled=outlook.is_cancelled):
        return foregone
    try:
        decided = _decide(work, with_unneeded(work.message.reads, outlook.results))
        if not isinstance(decided, dict):
            return finished_state(work.step, decided, unsent)
        definition = load_action_definition(work.action.action_definition_id)
        if refusal := ask(work, claim, definition, decided):
            return finished_state(work.step, refusal, unsent)
        paused_s = max(0.0, outlook.paused_until_s - claim.at_s)
        return _send(work, claim, definition, decided, unsent.trace, log, paused_s)
    except (ClaimLostError, Ignore):
        return None
    except (TaskPredicate, *CONNECTION_ERRORS):
        raise
    except HttpActionError as error:
        detail = error.detail
    except StorageError as error:
        category = ErrorCategory.STATE_INCONSISTENT
        detail = ErrorDetail(category=category, code="output_not_read", message=f"nothing was sent: {error}")
    except WorkflowStateError as error:
        detail = ErrorDetail(category=ErrorCategory.VALIDATION_FAILED, message=str(error))
    except Exception as error:
        # A defect of ours. Raised, it would leave the chord without its body, and the execution without an end.
        logger.exception("Action %s of execution %s failed by a defect", work.action.id, work.execution_id)
        detail = ErrorDetail(
            category=ErrorCategory.STATE_INCONSISTENT,
            message=f"an internal error ({type(error).__name__}); the worker's log has the details",
        )
    return finished_state(work.step, ActionFailure(error=detail), unsent)


def _foregone(work: Work, claim: Claim, unsent: Ending, *, cancelled: bool) -> ActionExecutionState | None:
    """Return the end of an action that is not to be sent, whatever its inputs are."""
    begun = replace(unsent, attempts=claim.attempt)
    if claim.was_sent:
        # Even where the execution was cancelled since: a resumed one must not send it again unasked.
        return finished_state(work.step, _outcome_unknown(work), begun)
    if cancelled:
        return finished_state(work.step, ActionSkip(reason=_CANCELLED), unsent)
    if claim.losses >= _MAX_LOSSES:
        return finished_state(work.step, _poisonous(work, claim), begun)
    return None


def _decide(
    work: Work, results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | ActionSkip | ActionFailure | ActionSuccess:
    """Return the resolved inputs to send, or how the action ends without being sent."""
    action = work.action
    if block := find_block(action.model_copy(update={"dependencies": work.message.reads}), results):
        because = "failed" if block.by == block.root else f"was skipped, because {block.root} failed"
        return ActionSkip(reason=f"{block.by} {because}", blocked_by=block.root)
    scope: dict[str, Any] = dict(results)
    for primary in work.primaries:
        if primary.id in action.dependencies:
            scope[primary.id] = read_failure(work.client, work.execution_id, primary.id)
    if reads_plan_inputs(action):
        scope["inputs"] = read_inputs(work.client, work.execution_id)
    scope = with_contents(_texts_of(work), scope)
    if work.message.element is None and action.condition and not evaluate_condition(action.condition.if_, scope):
        reason = f"its condition does not hold: {action.condition.if_}"
        if action.condition.else_ == "skip":
            return ActionSkip(reason=reason)
        return ActionFailure(error=ErrorDetail(category=ErrorCategory.VALIDATION_FAILED, message=reason))
    if action.for_each:
        elements = list_elements(action, scope)
        if work.message.element is None:
            return _end_of_list(elements, is_alternative=bool(work.primaries))
        scope |= {"item": elements[work.message.element], "itemIndex": work.message.element}
    resolved: dict[str, Any] = resolve_value(action.inputs, scope)  # type: ignore[assignment]
    return resolved


def _texts_of(work: Work) -> list[Any]:
    """Return what has references that this attempt resolves."""
    action = work.action
    asked = (
        [action.for_each, action.condition.if_]
        if action.condition and work.message.element is None
        else [action.for_each]
    )
    # A list that came here as a whole sends nothing.
    return asked if action.for_each and work.message.element is None else [*asked, action.inputs]


def _end_of_list(elements: Sequence[Any], *, is_alternative: bool) -> ActionSuccess | ActionFailure:
    """Return the end of an action with `forEach` that came here as a whole: its level publishes elements one by one."""
    if not elements:
        return ActionSuccess(output=[])
    message = "its list could not be read when its level began; resume the execution"
    if is_alternative:
        message = "an alternative runs once, it can't have forEach"
    return ActionFailure(error=ErrorDetail(category=ErrorCategory.VALIDATION_FAILED, message=message))


def _outcome_unknown(work: Work) -> ActionFailure:
    """Return the end of an unsafe request whose worker died after it began to send: it is not sent a second time."""
    return ActionFailure(
        error=ErrorDetail(
            category=ErrorCategory.STATE_INCONSISTENT,
            code=OUTCOME_UNKNOWN,
            message="the worker was lost after the request had been sent: the outcome is unknown",
            context={"actionDefinitionId": work.action.action_definition_id},
            suggestion="find out at the server whether it was done; then resume with --assume-done VALUE "
            "(assume_done=…), the output that it had, where it was done, or with --send-again (send_again=…) where it "
            "was not. Where sending twice is harmless, declare the effect of the definition as idempotent or keyed",
        )
    )


def _poisonous(work: Work, claim: Claim) -> ActionFailure:
    """Return the end of an action over which one worker after the other has died: it would go on like that."""
    return ActionFailure(
        error=ErrorDetail(
            category=ErrorCategory.STATE_INCONSISTENT,
            code="workers_lost",
            message=f"{claim.losses} workers were lost while they ran this action, it is not tried again",
            context={"actionDefinitionId": work.action.action_definition_id},
            suggestion="look at the workers' logs and memory for why they died, then resume the execution",
        )
    )


def _send(
    work: Work,
    claim: Claim,
    definition: ActionDefinition,
    inputs: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
    log: WorkflowLogger,
    paused_s: float,
) -> ActionExecutionState:
    """Send the request once, if there is a permit; `earlier` is the trace of the attempts before this one."""
    context = context_of(work, claim, definition)
    trace: list[Any] = list(earlier)
    # Before the permit: making the first one takes so long that permits would be used in heaps.
    get_client()
    permit = take_permit(work.client, definition, claim, paused_s=paused_s)
    if permit.held_back:
        reason = WorkflowStateError(f"held back by a {permit.held_back} of {definition.id!r}")
        raise _come_back(work, claim, permit.delay_s, trace, reason, permit.held_back) or Ignore
    try:
        time.sleep(permit.delay_s)
        outcome = execute_http_action(definition, inputs, context)
    except HttpActionError as error:
        trace += error.http_trace
        ending = Ending(claim.started_at, claim.attempt, trace)
        if error.detail.category is ErrorCategory.USER_CANCELLED:
            return finished_state(work.step, ActionSkip(reason=_CANCELLED), ending)
        # A pause of the token's server is none of the definition's: others have their token.
        is_of_token = (error.detail.code or "").startswith("token_")
        # One that is too long to wait for fails this action, and must not hold up all the others.
        retry_after_ms = error.detail.retry_after or 0
        if error.detail.status_code in _PAUSING and retry_after_ms <= MAX_RETRY_AFTER_MS and not is_of_token:
            pause_definition(work.client, definition, retry_after_ms / 1000)
        failed = finished_state(work.step, ActionFailure(error=error.detail), ending)
        delay_ms = retry_delay_ms(definition.retry_policy, claim.attempt, error.detail)
        if delay_ms is None:
            return failed
        # The message of the exception only: Celery stores and shows the whole of it.
        retry = _come_back(work, claim, delay_ms / 1000, trace, WorkflowStateError(str(error)))
        if retry is None:
            log.warn("attempt failed, and the execution has used up its retries", category=error.detail.category)  # noqa: G010 - ours
            error.detail.suggestion = "the execution has used up its retries; resume it when the server is well again"
            return failed
        log.warn("attempt failed, to be tried again", delay_ms=delay_ms, category=error.detail.category)  # noqa: G010 - ours
        raise retry from None
    finally:
        return_permit(work.client, definition, claim)
    trace += [entry.to_json_data() for entry in outcome.http_trace]
    success = ActionSuccess(output=outcome.output)
    if outcome.output_location:
        success.output_location = outcome.output_location
    return finished_state(work.step, success, Ending(claim.started_at, claim.attempt, trace))


def _come_back(
    work: Work, claim: Claim, delay_s: float, trace: list[Any], reason: Exception, held_back: HeldBack | None = None
) -> Retry | None:
    """Publish the message of the next attempt, or of this one where it is held back; return Celery's Retry to raise.

    None where the execution has used up its retries; being held back costs none.
    """
    attempt = claim.attempt if held_back else claim.attempt + 1
    message = stored_message(work, attempt)
    if not await_retry(work.client, claim, delay_s=delay_s, trace=trace, message=message, held_back=held_back):
        return None
    args, kwargs = to_arguments(replace(work.message, attempt=attempt))
    return work.task.retry(exc=reason, args=args, kwargs=kwargs, countdown=delay_s, throw=False)


def _settle(work: Work, state: ActionExecutionState) -> Mapping[str, Any]:
    """Hand a failure over to the action's alternative; otherwise give the state to all in whose place it ran."""
    if is_of_unknown_outcome(state):
        # It may have arrived: another payment in its place could be the second one.
        return _take_place(work, state.to_json_data())
    alternative_id = _alternative_of(work)
    if state.status is ActionStatus.FAILED and alternative_id:
        remember_failure(work.client, work.execution_id, work.action.id, state.to_json_data())
        for alternative in read_actions(work.client, work.execution_id, [alternative_id]):
            ahead = [primary.id for primary in (*work.primaries, work.action)]
            message = message_of(work.execution_id, alternative, in_place_of=ahead)
            if work.message.attempt == WHICHEVER_IS_DUE:
                message = replace(message, attempt=WHICHEVER_IS_DUE)
            args, kwargs = to_arguments(message)
            raise work.task.replace(work.task.si(*args, **kwargs))
    if work.message.element is not None and work.action.error_handling.alternative_action_id:
        return state.to_json_data()
    return _take_place(work, settle_failure(work.action, state).to_json_data())


def _take_place(work: Work, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give an alternative's end to its primaries, the nearest first, and return the state of the planned one.

    All but the last are stored here; that one is what the task returns. Safe to repeat: Celery keeps a first success.
    """
    action_id = work.action.id
    for primary in reversed(work.primaries):
        work.task.backend.store_result(action_task_id(work.execution_id, action_id), Summary(state), states.SUCCESS)
        state = _end_of_primary(work, primary, ActionExecutionState.model_validate(state)).to_json_data()
        action_id = primary.id
    return state


def _end_of_primary(work: Work, primary: PlannedAction, alternative: ActionExecutionState) -> ActionExecutionState:
    failed = read_failure(work.client, work.execution_id, primary.id)
    if failed is None:
        raise WorkflowStateError(f"{primary.id} has an alternative under way, but no failure of its own")
    if isinstance(alternative.result, ActionSuccess):
        success = ActionSuccess(output=alternative.result.output, alternative_action_id=alternative.action_id)
        if alternative.result.output_location:
            success.output_location = alternative.result.output_location
        ending = Ending(str(failed.started_at), failed.attempts, failed.to_json_data()["httpTrace"])
        return finished_state(primary.id, success, ending)
    # Where the alternative may have been done, a fallback value would hide it.
    return failed if is_of_unknown_outcome(alternative) else settle_failure(primary, failed)
