"""Running a failed or cancelled execution again, with what it has done already."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from celery import states as states_of_celery
from celery.result import AsyncResult

from workflow_state.carry_over import Earlier, decide_carry_over
from workflow_state.celery import app
from workflow_state.errors import ExecutionConflictError, ExecutionNotFoundError
from workflow_state.executions import get_execution_state
from workflow_state.executor import execute_plan
from workflow_state.plan_check import validate_execution_plan
from workflow_state.records import action_task_id, read_record, redis_client
from workflow_state.schema import ExecutionPlan, ExecutionStatus, ResumeReport
from workflow_state.work import Summary


def resume_execution(execution_id: str, plan: ExecutionPlan | Mapping[str, Any] | None = None) -> AsyncResult[Any]:
    """Run a failed or cancelled execution again under a new id; return its handle, as execute_plan.delay does.

    Completed actions keep their outputs and are not sent again. With a changed plan an action keeps its output where
    its definition and its resolved inputs are the same. The new state's `resumed` says of each action whether it was
    kept, and why. Raises ExecutionNotFoundError, ExecutionConflictError for an execution that has completed or still
    runs, and PlanValidationError.
    """
    state = get_execution_state(execution_id)
    record = read_record(redis_client(app.backend), execution_id)
    if record is None:
        raise ExecutionNotFoundError(f"the plan of execution {execution_id!r} is not stored any more")
    if state.status not in (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED):
        raise ExecutionConflictError(
            f"only a failed or cancelled execution can be resumed; {execution_id} is {state.status}"
        )
    if plan is None:
        plan = {**record.plan, "actions": [action.to_json_data() for action in record.actions]}
    new_plan = validate_execution_plan(plan)
    earlier = Earlier(
        actions={action.id: action for action in record.actions},
        inputs=record.plan.get("inputs", {}),
        states=state.action_states,
    )
    report = ResumeReport(execution_id=execution_id, actions=decide_carry_over(earlier, new_plan))
    new_id = str(uuid4())
    # Before anything is published: an action that finds its result stored hands it over, and sends nothing.
    for action_id, decision in report.actions.items():
        if decision.kept:
            kept = Summary(state.action_states[action_id])
            app.backend.store_result(action_task_id(new_id, action_id), kept, states_of_celery.SUCCESS)
    return execute_plan.submit(new_plan, new_id, resumed=report)
