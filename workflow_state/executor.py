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
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from celery import Task
from celery.exceptions import Ignore, Reject
from celery.result import AsyncResult
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.utils.json import dumps

from workflow_state import hooks
from workflow_state.celery import app
from workflow_state.engine.attempt import make_attempt
from workflow_state.engine.expiry import expire_outputs
from workflow_state.engine.levels import find_missing_messages, message_after, publish_lost, start_level, store_of
from workflow_state.engine.messages import Summary, from_arguments
from workflow_state.engine.outcomes import answer_celery
from workflow_state.errors import PlanValidationError, WorkflowStateError
from workflow_state.logger import WorkflowLogger
from workflow_state.rules.policy import stopping_failure
from workflow_state.rules.states import final_state, refused_state
from workflow_state.schema import (
    ErrorCategory,
    ErrorDetail,
    ExecutionPlan,
    ExecutionState,
    PlannedAction,
    ResumeReport,
)
from workflow_state.store.alarms import remove_alarm
from workflow_state.store.connection import CONNECTION_ERRORS
from workflow_state.store.ending import end_execution, mark_end
from workflow_state.store.execution import ExecutionStore, open_store
from workflow_state.store.names import ACTION_TASK, EXPIRE_TASK, LEVEL_TASK
from workflow_state.store.position import ExecutionPosition, begin_execution, read_position
from workflow_state.store.records import (
    FirstMessage,
    register_execution,
    request_cancel,
    require_execution_id,
)
from workflow_state.store.results import read_results
from workflow_state.validation import validate_execution_plan

logger = logging.getLogger(__name__)

# What Celery shows of a result: enough for `Summary`, and never as much as an output.
_SUMMARY_CHARACTERS = 100
# These options are about the act of publishing, or about its time. A message that is published again for a lost one has
# none of them.
_OPTIONS_OF_PUBLISHING = frozenset(
    {
        "add_to_parent",
        "connection",
        "countdown",
        "eta",
        "producer",
        "publisher",
        "result_cls",
        "retry",
        "retry_policy",
        "router",
    }
)


class LevelTask(Task):  # type: ignore[type-arg]
    """The task class of what returns an execution's final state."""

    # A hard time limit kills a pool's child, not the execution: the message comes back.
    acks_on_timeout = False

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Look after the execution no more: its end is stored."""
        del retval, args, kwargs
        remove_alarm(open_store(self.app.backend, task_id))


class PlanTask(LevelTask):
    """The task class of execute_plan: validates and stores the plan before anything is queued."""

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> Any:
        """Submit a plan (ExecutionPlan, dict or JSON text); the task id is the execution's id.

        Submitting the same plan under the same id again starts nothing new, and returns a handle of the execution.
        Raises PlanValidationError, and ExecutionConflictError for an id that another plan has.
        """
        plan = validate_execution_plan(*(args or ()), **(kwargs or {}))
        return self.submit(plan, require_execution_id(str(uuid4()) if task_id is None else task_id), **options)

    def submit(
        self, plan: ExecutionPlan, execution_id: str, *, resumed: ResumeReport | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Register a valid plan under this id, and publish its message unless it had been already."""
        with hooks.submit(execution_id, str(plan.id), plan.name) as headers:
            if headers:
                options["headers"] = {**(options.get("headers") or {}), **headers}
            return self._register_and_publish(plan, execution_id, resumed, options)

    def _register_and_publish(
        self, plan: ExecutionPlan, execution_id: str, resumed: ResumeReport | None, options: dict[str, Any]
    ) -> AsyncResult[Any]:
        options["task_id"] = execution_id
        # Not Celery's own `expires`: a worker that discards a message for its age tells nobody, least of all the sweep.
        expires_at = _point_in_time(options.pop("expires", None))
        begins_at = _point_in_time(options.get("countdown") or options.get("eta"))
        kept = {name: value for name, value in options.items() if name not in _OPTIONS_OF_PUBLISHING}
        message = self.app.signature(LEVEL_TASK, args=(0,), options=kept, immutable=True)
        delay_s = max(0, (begins_at - datetime.now(UTC)).total_seconds()) if begins_at else 0
        first = FirstMessage(dumps(message), delay_s, expires_at)
        store = open_store(self.app.backend, execution_id)
        is_new = register_execution(store, plan, first, resumed=resumed)
        if not is_new:
            return AsyncResult(execution_id, app=self.app)
        # The message carries no plan: the record has it, and a monitor would show it.
        options["argsrepr"] = f"({plan.name!r},)"
        return super().apply_async((), {}, **options)


class ActionTask(Task):  # type: ignore[type-arg]
    """The task class of execute_action. Logs and monitors show each step by its own name, without its inputs."""

    # Only our own code publishes it, by the thousand. Its arguments are checked when it runs.
    typing = False
    # A hard time limit brings the message back, as a lost child does. The claim counts both.
    acks_on_timeout = False

    def shadow_name(  # type: ignore[override]
        self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> str:
        """Return the name that logs and monitors show: `execute_action.pay[3]`."""
        del options
        return f"execute_action.{from_arguments(args, kwargs).step}"

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Publish the message; logs and monitors show the step that it is about."""
        message = from_arguments(args, kwargs)
        shown = {"argsrepr": f"({message.execution_id!r}, {message.step!r})", "kwargsrepr": "{}"}
        return super().apply_async(args, kwargs, **{**options, **shown})


@app.task(bind=True, base=PlanTask, name="workflow_state.execute_plan", resultrepr_maxsize=_SUMMARY_CHARACTERS)
def execute_plan(self: PlanTask, plan: Any = None) -> Any:
    """Run a plan: `execute_plan.delay(plan)` gives a handle, whose `.get()` is the final ExecutionState as JSON data.

    `plan` is part of the message only where a producer put it on the queue by itself, past `apply_async`.
    """
    execution_id = str(self.request.id)
    with requeued_on_connection_loss():
        if plan is not None:
            try:
                valid = validate_execution_plan(plan)
                first = FirstMessage(message_after(self, -1))
                register_execution(store_of(self), valid, first)
            except WorkflowStateError as error:
                return Summary(_refusal(execution_id, plan, error))
        final = _continue_execution(self, 0)
    if final is None:
        # Raised here, and by none of the functions below: Celery copies and formats the traceback of each Ignore, which
        # costs more than starting a level does.
        raise Ignore
    return final


@app.task(bind=True, base=LevelTask, name=LEVEL_TASK, resultrepr_maxsize=_SUMMARY_CHARACTERS)
def execute_level(self: Task, level: int) -> Any:  # type: ignore[type-arg]
    """Go on after the level before this one has finished: start this level, or end the execution.

    It may run any number of times: what has a result is not published again, and what is published twice is claimed
    once.
    """
    with requeued_on_connection_loss():
        final = _continue_execution(self, level)
    if final is None:
        raise Ignore
    return final


def _continue_execution(task: Task, level: int) -> Summary | None:  # type: ignore[type-arg]
    """Start this level, or publish again what got lost of the one that is under way, or end the execution.

    Returns the final state, or None where another message goes on with the execution.
    """
    store = store_of(task)
    position = read_position(store, level)
    if position is None:
        # Nothing is known of it any more, so there is nothing to tell anyone.
        logger.error("Execution %s was to go on, but its record is gone", store.execution_id)
        return None
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
        _collect_results(task, level, position.actions, position)
        return None
    results = _collect_results(task, level - 1, position.previous_actions, position) if level else {}
    if results is None:
        return None
    is_over = position.is_cancelled or stopping_failure(position.previous_actions, results) is not None
    if position.actions and not is_over:
        start_level(task, level, find_missing_messages(task, position.actions, {}))
        return None
    final = finish(store)
    return Summary(final) if final else None


def _collect_results(
    task: Task,  # type: ignore[type-arg]
    level: int,
    actions: Sequence[PlannedAction],
    position: ExecutionPosition,
) -> dict[str, dict[str, Any]] | None:
    """Return the results of a level's actions; where some have none, publish what got lost, and return None."""
    results = read_results(store_of(task), (action.id for action in actions))
    missing = find_missing_messages(task, actions, results)
    if not missing.messages:
        return results
    if missing.wave > position.wave:
        start_level(task, level, missing)
    else:
        publish_lost(task, level, missing, actions)
    return None


@contextmanager
def requeued_on_connection_loss() -> Iterator[None]:
    """Put the message back where Redis could not be reached: the task will run again, here or elsewhere."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        logger.warning("Redis could not be reached, the message goes back to the queue: %s", error)
        raise Reject(error, requeue=True) from error


def _point_in_time(given: Any) -> datetime | None:
    """Return the time that Celery would take an option for: seconds from now, a datetime, or ISO 8601."""
    if given is None:
        return None
    if isinstance(given, int | float):
        return datetime.now(UTC) + timedelta(seconds=given)
    at = maybe_iso8601(given)
    return maybe_make_aware(at) if at else None


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


def finish(store: ExecutionStore) -> ExecutionState | None:
    """Compose the final state, and note in the record how it ended; None where there is no record of it any more."""
    record, progress = mark_end(store)
    if record is None:
        logger.error("Execution %s has ended, but its record is gone", store.execution_id)
        return None
    results = read_results(store, (action.id for action in record.actions))
    state = final_state(record, results, progress, now=datetime.fromisoformat(str(record.completed_at)))
    end_execution(store, record, state.status)
    log = WorkflowLogger(execution_id=store.execution_id, plan_id=state.plan_id)
    counts = state.metrics.to_json_data()
    log.info("execution ended", status=state.status, **counts)
    log.metric("execution.duration_ms", counts.get("totalDuration", 0), status=state.status)
    return state


@app.task(
    bind=True,
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


@app.task(name=EXPIRE_TASK, ignore_result=True)
def expire() -> None:
    """Remove stored outputs that nobody needs any more."""
    try:
        count = expire_outputs(app)
    except WorkflowStateError as error:
        logger.warning("Stored outputs could not be expired; trying again in an hour: %s", error)
        return
    logger.info("The stored outputs of %d executions have expired", count)
