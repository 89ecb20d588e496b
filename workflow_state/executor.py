"""The Celery tasks: `execute_plan`, `execute_level` and `execute_action`.

An execution is one task id from beginning to end. `execute_plan` replaces itself by a chord: the first level's actions,
and `execute_level` as the body, which replaces itself by the next level's chord, and after the last level returns the
final state. Messages carry an action and ids, never results: an action reads its dependencies' results from Celery's
result backend.

An action that fails *returns* its state; it never raises out of its chord, whose body would then not run.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import uuid4

from celery import Task, chord, group
from celery import states as states_of_celery
from celery.canvas import Signature
from celery.exceptions import Ignore, Reject
from celery.result import AsyncResult

from workflow_state.attempt import perform
from workflow_state.celery import app
from workflow_state.delivery import CONNECTION_ERRORS, remember_failure
from workflow_state.errors import PlanValidationError, WorkflowStateError
from workflow_state.fan_out import count_elements, element_id, joined_state
from workflow_state.logger import WorkflowLogger
from workflow_state.plan_check import validate_execution_plan
from workflow_state.policy import reads_plan_inputs, settle_failure, stopping_failure
from workflow_state.records import (
    action_task_id,
    begin_execution,
    end_execution,
    is_cancelled,
    keep_execution,
    level_group_id,
    read_inputs,
    read_level,
    read_progress,
    read_record,
    read_results,
    read_standby,
    redis_client,
    register_execution,
    require_execution_id,
)
from workflow_state.schema import (
    ActionStatus,
    ErrorCategory,
    ErrorDetail,
    ExecutionPlan,
    ExecutionState,
    PlannedAction,
    ResumeReport,
)
from workflow_state.settings import get_settings
from workflow_state.states import final_state, refused_state, with_unneeded
from workflow_state.work import Summary, Work

logger = logging.getLogger(__name__)

# What Celery shows of a result: enough for `Summary`, and never as much as an output.
_SUMMARY_CHARACTERS = 100


class PlanTask(Task):  # type: ignore[type-arg]
    """The task class of execute_plan: validates and stores the plan before anything is queued."""

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> Any:
        """Submit a plan (ExecutionPlan, dict or JSON text); the task id is the execution's id.

        Submitting the same plan under the same id again starts nothing new, and returns a handle of the execution.
        Raises PlanValidationError, and ExecutionConflictError for an id that another plan has.
        """
        plan = validate_execution_plan(*(args or ()), **(kwargs or {}))
        return self.submit(plan, require_execution_id(task_id or str(uuid4())), **options)

    def submit(
        self, plan: ExecutionPlan, execution_id: str, *, resumed: ResumeReport | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Register a valid plan under this id, and publish its message unless it had been already."""
        retention_s = get_settings().retention_s
        client = redis_client(self.app.backend)
        if not register_execution(client, execution_id, plan, retention_s=retention_s, resumed=resumed):
            return AsyncResult(execution_id, app=self.app)
        # The message carries no plan: the record has it, and a monitor would show it.
        shown: Any = {"argsrepr": f"({plan.name!r},)"}
        return super().apply_async((), {}, task_id=execution_id, **{**options, **shown})


class ActionTask(Task):  # type: ignore[type-arg]
    """The task class of execute_action: logs and monitors show each action by its own name, without its inputs."""

    def shadow_name(  # type: ignore[override]
        self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> str:
        """Return the name that logs and monitors show."""
        del options
        return f"execute_action.{element_id(args[1]['id'], kwargs.get('element'))}"

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Publish the action; its inputs stay out of logs and monitors."""
        name = element_id(args[1]["id"], (kwargs or {}).get("element"))
        shown = {"argsrepr": f"({args[0]!r}, {name!r})", "kwargsrepr": "{}"}
        return super().apply_async(args, kwargs, **{**options, **shown})


@app.task(bind=True, base=PlanTask, name="workflow_state.execute_plan", resultrepr_maxsize=_SUMMARY_CHARACTERS)
def execute_plan(self: PlanTask, plan: Any = None) -> Any:
    """Run a plan: `execute_plan.delay(plan)` gives a handle, whose `.get()` is the final ExecutionState as JSON data.

    `plan` is part of the message only where a producer put it on the queue by itself, past `apply_async`.
    """
    execution_id = str(self.request.id)
    with requeued_on_connection_loss():
        client = redis_client(self.app.backend)
        if plan is not None:
            try:
                register_execution(
                    client, execution_id, validate_execution_plan(plan), retention_s=get_settings().retention_s
                )
            except WorkflowStateError as error:
                return Summary(_refusal(execution_id, plan, error))
        if not begin_execution(client, execution_id):
            # Nothing is known of it any more, so there is nothing to tell anyone.
            logger.error("Execution %s was to begin, but its record is gone", execution_id)
            raise Ignore
        self.update_state(state="RUNNING", meta={})
        if is_cancelled(client, execution_id):
            return Summary(finish(self, execution_id))
        return start_level(self, 0, what_lacks(self, read_level(client, execution_id, 0), {}))


@app.task(bind=True, name="workflow_state.execute_level", resultrepr_maxsize=_SUMMARY_CHARACTERS)
def execute_level(self: Task, level: int) -> Any:  # type: ignore[type-arg]
    """Go on after the level before this one has finished: start this level, or end the execution.

    It may run any number of times: what has a result is not published again, and what is published twice is claimed
    once.
    """
    execution_id = str(self.request.id)
    with requeued_on_connection_loss():
        client = redis_client(self.app.backend)
        before, upcoming = read_level(client, execution_id, level - 1), read_level(client, execution_id, level)
        results = read_results(self.app.backend, execution_id, (action.id for action in before))
        if header := what_lacks(self, before, results):
            return start_level(self, level - 1, header)
        if upcoming and not stopping_failure(before, results) and not is_cancelled(client, execution_id):
            keep_execution(client, execution_id, get_settings().retention_s)
            return start_level(self, level, what_lacks(self, upcoming, {}))
        return Summary(finish(self, execution_id))


@contextmanager
def requeued_on_connection_loss() -> Iterator[None]:
    """Put the message back where Redis could not be reached: the task will run again, here or elsewhere."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        logger.warning("Redis could not be reached, the message goes back to the queue: %s", error)
        raise Reject(error, requeue=True) from error


def start_level(task: Task, level: int, header: Sequence[Signature[Any]]) -> NoReturn:  # type: ignore[type-arg]
    """Replace the running task by the chord of a level.

    Ids are the same each time: parts of a level that was published twice count towards one chord.
    """
    canvas = chord(header, execute_level.si(level + 1), app=task.app)
    # chord() unpacks a group and drops its options, so the fixed group id is set here.
    canvas.tasks = group(  # type: ignore[misc]
        header, app=task.app, task_id=level_group_id(str(task.request.id), level)
    )
    task.replace(canvas)
    raise AssertionError("replace always raises")


def what_lacks(
    task: Task,  # type: ignore[type-arg]
    actions: Sequence[PlannedAction],
    results: dict[str, dict[str, Any]],
) -> list[Signature[Any]]:
    """Return the messages of a level that are still to be published, given what has finished.

    An action whose elements have all finished is joined here, and its state added to the results.
    """
    header: list[Signature[Any]] = []
    for action in actions:
        if action.id in results:
            continue
        count = _count_elements(task, action) if action.for_each else 0
        if count == 0:
            header.append(_message(task, action))
            continue
        ids = [element_id(action.id, index) for index in range(count)]
        finished = read_results(task.app.backend, str(task.request.id), ids)
        header += [_message(task, action, index) for index, name in enumerate(ids) if name not in finished]
        if len(finished) == count:
            state, message = _join(task, action, [finished[name] for name in ids])
            if message is None:
                results[action.id] = state
            else:
                header.append(message)
    return header


def _join(
    task: Task,  # type: ignore[type-arg]
    action: PlannedAction,
    states: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], Signature[Any] | None]:
    """Store the state that an action's elements add up to; or return the message of the alternative in its place."""
    execution_id = str(task.request.id)
    client = redis_client(task.app.backend)
    state = joined_state(action, states)
    alternative_id = action.error_handling.alternative_action_id
    alternative = read_standby(client, execution_id, alternative_id) if alternative_id else None
    if state.status is ActionStatus.FAILED and alternative:
        remember_failure(client, execution_id, action.id, state.to_json_data())
        kwargs = {"stands_in_for": [action.to_json_data()]}
        signature = execute_action.si(execution_id, alternative.to_json_data(), **kwargs)
        return {}, signature.set(task_id=action_task_id(execution_id, action.id))
    data = settle_failure(action, state).to_json_data()
    task.backend.store_result(action_task_id(execution_id, action.id), Summary(data), states_of_celery.SUCCESS)
    return data, None


def _count_elements(task: Task, action: PlannedAction) -> int:  # type: ignore[type-arg]
    execution_id = str(task.request.id)
    client = redis_client(task.app.backend)
    results = read_results(task.app.backend, execution_id, action.dependencies)
    scope: dict[str, Any] = with_unneeded(action.dependencies, results)
    if reads_plan_inputs(action):
        scope["inputs"] = read_inputs(client, execution_id)
    return count_elements(action, scope)


def _message(task: Task, action: PlannedAction, element: int | None = None) -> Signature[Any]:  # type: ignore[type-arg]
    execution_id = str(task.request.id)
    kwargs = {} if element is None else {"element": element}
    signature = execute_action.si(execution_id, action.to_json_data(), **kwargs)
    return signature.set(task_id=action_task_id(execution_id, element_id(action.id, element)))


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


def finish(task: Task, execution_id: str) -> ExecutionState:  # type: ignore[type-arg]
    """Compose the final state, and note in the record how it ended."""
    client = redis_client(task.app.backend)
    record = read_record(client, execution_id)
    if record is None:
        logger.error("Execution %s has ended, but its record is gone", execution_id)
        raise Ignore
    results = read_results(task.app.backend, execution_id, (action.id for action in record.actions))
    state = final_state(record, results, read_progress(client, execution_id))
    end_execution(client, execution_id, state.status, state.completed_at or datetime.now(UTC))
    keep_execution(client, execution_id, get_settings().retention_s)
    log = WorkflowLogger(execution_id=execution_id, plan_id=state.plan_id)
    counts = state.metrics.to_json_data()
    log.info("execution ended", status=state.status, **counts)
    log.metric("execution.duration_ms", counts.get("totalDuration", 0), status=state.status)
    return state


@app.task(
    bind=True,
    base=ActionTask,
    name="workflow_state.execute_action",
    max_retries=None,
    resultrepr_maxsize=_SUMMARY_CHARACTERS,
)
def execute_action(
    self: ActionTask,
    execution_id: str,
    action_data: Mapping[str, Any],
    attempt: int = 1,
    stands_in_for: Sequence[Mapping[str, Any]] = (),
    element: int | None = None,
) -> Summary:
    """Make one attempt (from 1) of an action: return how it ended, or retry.

    `stands_in_for` holds the actions in whose place this one runs as their alternative, the planned one first: the
    task has that one's id, and returns that one's state. `element` is the index in the list of a `forEach`.
    """
    with requeued_on_connection_loss():
        work = Work(
            task=self,
            client=redis_client(self.app.backend),
            execution_id=execution_id,
            action=PlannedAction.model_validate(action_data),
            attempt=attempt,
            primaries=tuple(PlannedAction.model_validate(data) for data in stands_in_for),
            element=element,
        )
        return Summary(perform(work))
