"""The Celery tasks: `execute_plan`, `execute_level` and `execute_action`.

An execution is one task id from beginning to end. `execute_plan` publishes a chord in its place: the first level's
actions, and `execute_level` as the body, which publishes the next level's chord, and after the last level returns the
final state. Messages carry names, no actions and no results: an attempt reads what the plan says of it from the record,
and its dependencies' results from Celery's result backend.

An action that fails *returns* its state; it never raises out of its chord, whose body would then not run.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from celery import Task
from celery.exceptions import Ignore, Reject

from workflow_state.celery import app
from workflow_state.engine.attempt import make_attempt
from workflow_state.engine.callbacks import call_callbacks
from workflow_state.engine.ending import end, end_bare
from workflow_state.engine.expiry import expire_outputs
from workflow_state.engine.levels import message_after, publish_lost, start_level
from workflow_state.engine.messages import Summary, from_arguments
from workflow_state.engine.missing import find_missing_messages, store_of
from workflow_state.engine.outcomes import answer_celery
from workflow_state.engine.task_classes import ActionTask, LevelTask, PlanTask, require_allowed
from workflow_state.errors import ExecutionConflictError, MissingKeyError, PlanValidationError, WorkflowStateError
from workflow_state.rules.allowed_definitions import read_definitions_option
from workflow_state.rules.limits import LimitExceededError
from workflow_state.rules.outline import refused_state
from workflow_state.rules.policy import MAX_LOSSES, level_lost, stopping_failure
from workflow_state.schema import (
    ErrorCategory,
    ErrorDetail,
    ExecutionState,
    PlannedAction,
)
from workflow_state.store.claims import ClaimLostError
from workflow_state.store.connection import CONNECTION_ERRORS
from workflow_state.store.ending import end_execution, has_steps_under_way
from workflow_state.store.level_claims import LevelClaim, claimed_level, release_level
from workflow_state.store.names import ACTION_TASK, EXPIRE_TASK, LEVEL_TASK
from workflow_state.store.position import ExecutionPosition, begin_execution, read_position
from workflow_state.store.records import (
    FirstMessage,
    register_execution,
    register_refusal,
    request_cancel,
    require_execution_id,
    stop_execution,
)
from workflow_state.store.results import iterate_results
from workflow_state.validation import validate_execution_plan

logger = logging.getLogger(__name__)

# What Celery shows of a result: enough for `Summary`, and never as much as an output.
_SUMMARY_CHARACTERS = 100
# What a list shows of the name of a plan that could not be run.
_NAME_CHARACTERS = 200


@app.task(
    bind=True, shared=False, base=PlanTask, name="workflow_state.execute_plan", resultrepr_maxsize=_SUMMARY_CHARACTERS
)
def _execute_plan(self: PlanTask, plan: Any = None, definitions: Any = None) -> Any:
    """Begin an execution, or go on with it.

    `definitions` are the ids and patterns of the only action definitions that it may use, by default all.

    Both are part of the message only where a producer put it on the queue by itself, past `apply_async`.
    """
    if self.request.called_directly:
        raise WorkflowStateError("execute_plan runs in a worker: submit a plan with execute_plan.delay(plan)")
    with requeued_on_connection_loss():
        try:
            refused = _register_given(self, plan, definitions) if self.request.args or self.request.kwargs else None
        except ExecutionConflictError as error:
            # Its own message goes on with that execution; this one has nothing to say of it.
            logger.error("A plan came under an id that is taken, and was dropped: %s", error)  # noqa: TRY400 - no defect
            raise Ignore from error
        final = refused or _continue_execution(self, 0)
        if final is not None:
            call_callbacks(self, final)
    if final is None:
        # Raised here, and by none of the functions below: Celery copies and formats the traceback of each Ignore, which
        # costs more than starting a level does.
        raise Ignore
    return final


# To an editor Celery's decorator returns a function.
execute_plan: PlanTask = _execute_plan


@app.task(bind=True, shared=False, base=LevelTask, name=LEVEL_TASK, resultrepr_maxsize=_SUMMARY_CHARACTERS)
def execute_level(self: Task, level: int) -> Any:  # type: ignore[type-arg]
    """Go on after the level before this one has finished: start this level, or end the execution.

    It may run any number of times: what has a result is not published again, and what is published twice is claimed
    once.
    """
    with requeued_on_connection_loss():
        final = _continue_execution(self, level)
        if final is not None:
            call_callbacks(self, final)
    if final is None:
        raise Ignore
    return final


def _continue_execution(task: Task, level: int) -> Summary | None:  # type: ignore[type-arg]
    """Start this level, or publish again what got lost of the one that is under way, or end the execution.

    Returns the final state, or None where another message goes on with the execution.
    """
    store = store_of(task)
    with claimed_level(store, level) as (claim, position):
        if position is None:
            # Nothing is known of it any more, so there is nothing to tell anyone.
            logger.error("Execution %s was to go on, but its record is gone", store.execution_id)
            return None
        if claim is None:
            # A late message; or another task is at this level, and looks once more when it is done.
            return None
        try:
            return _go_on_claimed(task, level, position, claim)
        except ClaimLostError:
            logger.warning("Level %d of execution %s was taken over by another worker", level, store.execution_id)
        except CONNECTION_ERRORS:
            raise
        except MissingKeyError:
            # The try of a worker that can't read it is no loss.
            release_level(store, claim)
            raise
        except Exception:
            # A defect of ours, a time limit, or no memory. Raised, it would be Celery's end of the execution, not ours.
            logger.exception("Level %d of execution %s failed; it is tried again", level, store.execution_id)
            release_level(store, claim, failed=True)
    return None


def _go_on_claimed(
    task: Task,  # type: ignore[type-arg]
    level: int,
    position: ExecutionPosition,
    claim: LevelClaim,
) -> Summary | None:
    """Go on with the level as long as tasks of it have come meanwhile; end an execution that has cost too many workers.

    Returns the final state where the execution ends.
    """
    store = store_of(task)
    if claim.losses >= MAX_LOSSES:
        why = level_lost(level, claim.losses)
        stop_execution(store, why)
        position = replace(position, is_cancelled=True, is_stopped=True)
        if claim.losses > MAX_LOSSES and not has_steps_under_way(store):
            # The one that was to end it was lost as well.
            return end_bare(store, why.message)
    next_position: ExecutionPosition | None = position
    while next_position:
        try:
            final = _go_on(task, level, next_position, claim)
        except LimitExceededError as error:
            stop_execution(store, error.detail)
            return end(task.backend, store)
        if final:
            return final
        next_position = read_position(store, level) if release_level(store, claim) else None
    return None


def _go_on(
    task: Task,  # type: ignore[type-arg]
    level: int,
    position: ExecutionPosition,
    claim: LevelClaim,
) -> Summary | None:
    """Do what there is to do at this position; return the final state where the execution ends.

    Raises LimitExceededError where the next messages would go beyond a bound: all that was published before has ended.
    """
    store = store_of(task)
    if position.is_stopped:
        return _end_stopped(task)
    if position.current_level < 0 and position.expires_at and datetime.now(UTC) > position.expires_at:
        request_cancel(store)
        position = replace(position, is_cancelled=True)
    if position.current_level < 0 and begin_execution(store):
        task.update_state(state="RUNNING", meta={})
    if position.current_level > level:
        # This message came late, or a second time: a later level is under way.
        return None
    if position.current_level == level:
        # The worker that started it may have died halfway.
        _collect_results(task, level, position.actions, position, claim)
        return None
    results = _collect_results(task, level - 1, position.previous_actions, position, claim) if level else {}
    if results is None:
        return None
    is_over = position.is_cancelled or stopping_failure(position.previous_actions, results) is not None
    if is_over or not position.actions:
        return end(task.backend, store)
    missing = find_missing_messages(task, position.actions, {}, elements_before=position.element_count)
    start_level(task, level, missing, claim, begun_before=position.begun_count)
    return None


def _end_stopped(task: Task) -> Summary | None:  # type: ignore[type-arg]
    """End an execution that can't go on, once no request of it is under way: the sweep comes back until then."""
    store = store_of(task)
    return None if has_steps_under_way(store) else end(task.backend, store)


def _collect_results(
    task: Task,  # type: ignore[type-arg]
    level: int,
    actions: Sequence[PlannedAction],
    position: ExecutionPosition,
    claim: LevelClaim,
) -> dict[str, dict[str, Any]] | None:
    """Return how a level's actions ended; where some have not, publish what got lost, and return None.

    Of their states only what decides is kept, so that a level of any size takes little memory.
    """
    names, average_bytes = [action.id for action in actions], position.state_bytes / max(1, position.begun_count)
    results = {
        name: {"status": state["status"]}
        for name, state in iterate_results(store_of(task), names, average_bytes=average_bytes)
    }
    missing = find_missing_messages(task, actions, results)
    if not missing.count:
        return results
    if missing.wave > position.wave:
        start_level(task, level, missing, claim, begun_before=position.begun_count)
    else:
        publish_lost(task, level, missing, actions)
    return None


@contextmanager
def requeued_on_connection_loss() -> Iterator[None]:
    """Put the message back where Redis could not be reached: the task will run again, here or elsewhere.

    What this worker can't decrypt is left to one that can: the sweep publishes it again.
    """
    try:
        yield
    except CONNECTION_ERRORS as error:
        logger.warning("Redis could not be reached, the message goes back to the queue: %s", error)
        raise Reject(error, requeue=True) from error
    except MissingKeyError as error:
        logger.error("This worker can't go on with an execution: %s", error)  # noqa: TRY400 - no defect
        raise Ignore from error


def _register_given(task: Task, plan: Any, definitions: Any) -> Summary | None:  # type: ignore[type-arg]
    """Register a plan that came in the message itself, past validation; return the final state where it can't be run.

    Raises ExecutionConflictError where the id belongs to another execution.
    """
    store = store_of(task)
    try:
        require_execution_id(store.execution_id)
    except WorkflowStateError as error:
        # No list can hold it.
        return Summary(_refusal(store.execution_id, plan, error))
    try:
        # An application that does not know the task makes a property of the message of `.set(definitions=…)`.
        option = (task.request.properties or {}).get("definitions") if definitions is None else definitions
        allowed = read_definitions_option(option)
        valid = validate_execution_plan(plan)
        require_allowed(valid, allowed)
    except WorkflowStateError as error:
        state = _refusal(store.execution_id, plan, error)
        name = str(plan.get("name", "")) if isinstance(plan, Mapping) else ""
        register_refusal(store, name[:_NAME_CHARACTERS], state.plan_id, state.started_at)
        end_execution(store, state.status, submitted_at=state.started_at.isoformat())
        return Summary(state)
    register_execution(store, valid, FirstMessage(message_after(task, -1)), definitions=allowed)
    return None


def _refusal(execution_id: str, plan: Any, error: WorkflowStateError) -> ExecutionState:
    """Return the final state of a plan that should not have been on the queue."""
    problems = error.errors if isinstance(error, PlanValidationError) else []
    detail = ErrorDetail(
        category=ErrorCategory.VALIDATION_FAILED,
        message=str(error),
        context={f"{problem['code']} {problem['path']}": problem["message"] for problem in problems},
        suggestion="submit plans with execute_plan.delay, which refuses a bad plan before it is queued",
    )
    plan_id = str(plan.get("id", "")) if isinstance(plan, Mapping) else ""
    return refused_state(execution_id, plan_id, detail)


@app.task(
    bind=True,
    shared=False,
    base=ActionTask,
    name=ACTION_TASK,
    max_retries=None,
    resultrepr_maxsize=_SUMMARY_CHARACTERS,
)
def execute_action(self: ActionTask, *args: Any, **kwargs: Any) -> Summary:
    """Make one attempt of an action: return how it ended, or retry. The arguments are those of an ActionMessage.

    An alternative has the task id of the planned action, and returns that one's state.
    """
    message = from_arguments(args, kwargs)
    with requeued_on_connection_loss():
        return answer_celery(self, make_attempt(self, message))


@app.task(name=EXPIRE_TASK, shared=False, ignore_result=True)
def expire() -> None:
    """Remove stored outputs that nobody needs any more."""
    try:
        count = expire_outputs(app)
    except WorkflowStateError as error:
        logger.warning("Stored outputs could not be expired; trying again in an hour: %s", error)
        return
    logger.info("The stored outputs of %d executions have expired", count)
