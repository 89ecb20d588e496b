"""Running a failed or cancelled execution again, with what it has done already."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from celery import states as states_of_celery

from workflow_state.actions.storage.outputs import keep_stored
from workflow_state.celery import app
from workflow_state.client.executions import get_execution_state
from workflow_state.engine.contents import with_stored_values
from workflow_state.engine.handles import ExecutionHandle
from workflow_state.engine.messages import Summary
from workflow_state.engine.task_classes import require_allowed
from workflow_state.errors import ExecutionConflictError, ExecutionNotFoundError
from workflow_state.executor import execute_plan
from workflow_state.rules.carry_over import Earlier, decide_carry_over
from workflow_state.rules.decisions import decide, find_undecided
from workflow_state.rules.for_each import element_id, split_state
from workflow_state.rules.outline import is_outline
from workflow_state.rules.states import Record
from workflow_state.schema import (
    ActionExecutionState,
    ActionSkip,
    ActionStatus,
    ActionSuccess,
    ExecutionPlan,
    ExecutionState,
    ExecutionStatus,
    ResumeReport,
    StorageLocation,
)
from workflow_state.store.connection import broker_errors, redis_client
from workflow_state.store.execution import open_store
from workflow_state.store.names import action_task_id, record_key
from workflow_state.store.records import read_record
from workflow_state.store.results import read_results
from workflow_state.validation import validate_execution_plan

Plan = ExecutionPlan | Mapping[str, Any]


@broker_errors()
def resume_execution(
    execution_id: str,
    plan: Plan | None = None,
    *,
    assume_done: Mapping[str, Any] | None = None,
    send_again: Collection[str] | bool = (),
    user_id: str | None = None,
) -> ExecutionHandle:
    """Run a failed or cancelled execution again under a new id; return its handle, as execute_plan.delay does.

    Completed actions keep their outputs and are not sent again. With a changed plan an action keeps its output where
    its definition and its resolved inputs are the same; over a list, each element by itself. The new state's `resumed`
    says of each action whether it was kept, and why. The new execution may use the definitions that the old one might.

    A request that failed with the code `outcome_unknown` may have had its effect, so it needs a decision:
    `assume_done` maps its action to the output (any JSON) that it is completed with, without being sent; `send_again`
    names the actions to send again, or is True for all that are not assumed done. `pay[3]` is one element of a list.
    What was assumed done stays so when it is resumed again. `user_id` says who decides, for the state's `resumed`.

    Raises ExecutionNotFoundError; OutcomeUnknownError, with the requests in `.undecided`, where a decision lacks;
    ExecutionConflictError for an execution that has completed or still runs, and for a decision where there is nothing
    to decide; PlanValidationError; StorageError where a stored output that is kept can't be reached; and ValueError for
    an output that is no JSON. Nothing has been sent then. Each call starts another execution.
    """
    earlier, new_plan, definitions = _read_earlier(execution_id, plan)
    undecided = find_undecided(new_plan, earlier.states, earlier.elements)
    decisions = decide(execution_id, undecided, assume_done=assume_done, send_again=send_again)
    carried = decide_carry_over(earlier, new_plan, decisions)
    new_id = str(uuid4())
    keep_stored(_locations_in(carried.states.values()), new_id)
    # An expiry that began before may not have seen that they are kept: it does so only where the execution is gone.
    if not redis_client(app.backend).exists(record_key(execution_id)):
        raise ExecutionNotFoundError(f"execution {execution_id!r} has just expired")
    # Before anything is published: what finds its result stored sends nothing.
    kept_bytes = 0
    for name, state in carried.states.items():
        app.backend.store_result(action_task_id(new_id, name), Summary(state), states_of_celery.SUCCESS)
        kept_bytes += len(state.model_dump_json())
    report = ResumeReport(execution_id=execution_id, actions=carried.report)
    if user_id is not None:
        report.user_id = user_id
    return execute_plan.submit(new_plan, new_id, resumed=report, definitions=definitions, kept_bytes=kept_bytes)


@broker_errors()
def read_undecided(execution_id: str, plan: Plan | None = None) -> dict[str, str]:
    """Return each request that needs a decision before the execution is resumed with this plan, and why.

    Raises as resume_execution does.
    """
    earlier, new_plan, _ = _read_earlier(execution_id, plan)
    return find_undecided(new_plan, earlier.states, earlier.elements)


def _read_earlier(execution_id: str, plan: Plan | None) -> tuple[Earlier, ExecutionPlan, Sequence[str] | None]:
    """Return the execution that is to be resumed, the plan to resume it with, and the definitions that it may use.

    The plan is by default the execution's own.
    """
    state = get_execution_state(execution_id)
    record = read_record(open_store(app.backend, execution_id))
    if record is None:
        raise ExecutionNotFoundError(f"the plan of execution {execution_id!r} is not stored any more")
    if state.status not in (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED):
        raise ExecutionConflictError(
            f"only a failed or cancelled execution can be resumed; {execution_id} is {state.status}"
        )
    if plan is None:
        plan = {**record.plan, "actions": [action.to_json_data() for action in record.actions]}
    if is_outline(state):
        state.action_states |= _read_whole_states(execution_id, state, record)
    earlier = Earlier(
        actions={action.id: action for action in record.actions},
        inputs=record.plan.get("inputs", {}),
        states=state.action_states,
        elements=_read_elements(execution_id, state),
    )
    new_plan = validate_execution_plan(plan)
    require_allowed(new_plan, record.definitions)
    return replace(earlier, readable=_with_stored_values(earlier.states)), new_plan, record.definitions


def _read_whole_states(execution_id: str, state: ExecutionState, record: Record) -> dict[str, ActionExecutionState]:
    """Return the states of the actions of an execution whose final state is an outline, from their own results.

    Raises ExecutionNotFoundError where a result is not there any more of an action that may have been sent.
    """
    store = open_store(app.backend, execution_id)
    results = read_results(store, [action.id for action in record.actions])
    begun: Any = redis_client(app.backend).hkeys(store.progress)
    ran = {name.decode().partition("[")[0] for name in begun if b":" not in name}
    ran |= {name for name, found in state.action_states.items() if found.status is not ActionStatus.SKIPPED}
    if expired := sorted(ran - results.keys()):
        raise ExecutionNotFoundError(
            f"{expired[0]} of execution {execution_id!r} has begun, and its result has expired or never came"
        )
    skipped = ActionSkip(reason="it did not run")
    return {
        action.id: ActionExecutionState.model_validate(results[action.id])
        if action.id in results
        else ActionExecutionState(action_id=action.id, status=ActionStatus.SKIPPED, result=skipped)
        for action in record.actions
    }


def _with_stored_values(states: Mapping[str, ActionExecutionState]) -> dict[str, dict[str, Any]]:
    """Return the states (JSON data) of actions whose outputs are stored, for references to read."""
    return with_stored_values(
        {name: state.to_json_data() for name, state in states.items() if any(_locations_in([state]))}
    )


def _locations_in(states: Iterable[ActionExecutionState]) -> Iterator[StorageLocation]:
    for state in states:
        if isinstance(state.result, ActionSuccess) and state.result.output_location:
            yield state.result.output_location
        yield from (element.output_location for element in state.elements or [] if element.output_location)


def _read_elements(execution_id: str, state: ExecutionState) -> dict[str, dict[int, ActionExecutionState | None]]:
    """Return the states of the elements of every list; from the list's own state where they have expired."""
    elements = {name: split_state(joined) for name, joined in state.action_states.items() if joined.elements}
    reports = state.resumed.actions if state.resumed else {}
    for name, report in reports.items():
        # The level of a list that was resumed may never have run: what was carried over to it has not been joined.
        if state.action_states[name].status is ActionStatus.SKIPPED:
            elements[name] = {element.index: None for element in report.elements or [] if element.kept}
    names = [element_id(name, index) for name, found in elements.items() for index in found]
    stored = read_results(open_store(app.backend, execution_id), names)
    for name, found in elements.items():
        for index in found:
            if data := stored.get(element_id(name, index)):
                found[index] = ActionExecutionState.model_validate(data)
    return elements
