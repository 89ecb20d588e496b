"""The outline of an execution: how it ended, without what it was about. For a state that is refused. Pure."""

from datetime import UTC, datetime

from workflow_state.rules.metrics import calculate_execution_metrics
from workflow_state.rules.states import Record
from workflow_state.schema import (
    STATE_NOT_STORED,
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionSuccess,
    ErrorCategory,
    ErrorDetail,
    ExecutionState,
    ExecutionStatus,
)

_LONGEST_TEXT = 200


def outline(state: ExecutionState, refusal: str, *, with_actions: bool = True) -> ExecutionState:
    """Return the state that says why the execution's own could not be stored.

    It has failed. Its actions have their statuses, times and errors; no outputs, elements or traces. Without actions it
    is a few hundred bytes. The results of the actions themselves stay where they are, and resuming reads them there.
    """
    error = ErrorDetail(
        category=ErrorCategory.STATE_INCONSISTENT,
        code=STATE_NOT_STORED,
        message=f"the execution ended {state.status}, but Redis refuses its final state: {_cut(refusal)}",
        context={"status": state.status},
        suggestion="give Redis more memory or take larger values (proto-max-bulk-len), or set "
        "WORKFLOW_STATE_INLINE_OUTPUT_BYTES lower; then resume the execution, which keeps what has completed",
    )
    actions = {name: _outline_action(action) for name, action in state.action_states.items()} if with_actions else {}
    return ExecutionState(
        id=state.id,
        plan_id=state.plan_id,
        status=ExecutionStatus.FAILED,
        started_at=state.started_at,
        completed_at=state.completed_at,
        action_states=actions,
        metrics=state.metrics,
        error=error,
        version=state.version,
    )


def refused_state(
    execution_id: str, plan_id: str, error: ErrorDetail, *, now: datetime | None = None
) -> ExecutionState:
    """Return the final state of an execution whose plan can't be run at all."""
    at = now or datetime.now(UTC)
    return ExecutionState(
        id=execution_id,
        plan_id=plan_id,
        status=ExecutionStatus.FAILED,
        started_at=at,
        completed_at=at,
        action_states={},
        error=error,
        metrics=calculate_execution_metrics({}, total_duration=0),
        version=1,
    )


def bare_state(record: Record, why: str, *, now: datetime) -> ExecutionState:
    """Return the final state of an execution whose own can't even be composed: it has failed, with no actions."""
    error = ErrorDetail(
        category=ErrorCategory.STATE_INCONSISTENT,
        code=STATE_NOT_STORED,
        message=f"the final state can't be composed: {_cut(why)}",
        suggestion="look at the workers' logs and memory, then resume the execution, which keeps what has completed",
    )
    state = refused_state(record.execution_id, record.plan["id"], error, now=now)
    state.started_at = datetime.fromisoformat(record.started_at or record.submitted_at)
    return state


def is_outline(state: ExecutionState) -> bool:
    """Return whether a final state is an outline only."""
    return state.error is not None and state.error.code == STATE_NOT_STORED


def _outline_action(state: ActionExecutionState) -> ActionExecutionState:
    result = state.result
    if isinstance(result, ActionSuccess):
        result = ActionSuccess(output=None)
    elif isinstance(result, ActionSkip):
        result = ActionSkip(reason=_cut(result.reason))
    elif isinstance(result, ActionFailure):
        detail = ErrorDetail(category=result.error.category, message=_cut(result.error.message))
        if result.error.code is not None:
            detail.code = result.error.code
        result = ActionFailure(error=detail)
    outlined = ActionExecutionState(action_id=state.action_id, status=state.status, attempts=state.attempts)
    for name in ("started_at", "completed_at", "duration"):
        if (value := getattr(state, name)) is not None:
            setattr(outlined, name, value)
    outlined.result = result
    return outlined


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
