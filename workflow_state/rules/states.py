"""The state of an execution, composed of what is stored: the record, the results, and what is under way. Pure.

Each stored thing has one writer. The state itself is not stored, so it can't disagree with them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from workflow_state.plans.expected_outcomes import evaluate_outcome
from workflow_state.rules.confirmations import confirmation_states, parse_asks
from workflow_state.rules.for_each import running_fan_out
from workflow_state.rules.metrics import calculate_execution_metrics
from workflow_state.rules.policy import stopping_failure
from workflow_state.schema import (
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionStatus,
    ConfirmationState,
    ElementState,
    ErrorCategory,
    ErrorDetail,
    ExecutionState,
    ExecutionStatus,
    ExpectedOutcome,
    PlannedAction,
    ResumeReport,
    ValidationResult,
)

STOPPED = "the plan stopped"
NOT_NEEDED = "an alternative that was not needed"
ENDED = (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Record:
    """An execution as it was registered. `levels` has the planned actions in the order in which they run.

    `definitions` are the ids and patterns of the definitions that it may use, None for all.
    `stopped_by` says why it can't go on, whatever its actions say: see `stop_execution`. `state_bytes` is how large the
    results of its steps are.
    """

    execution_id: str
    plan: Mapping[str, Any]
    levels: Sequence[Sequence[PlannedAction]]
    standby: Sequence[PlannedAction]
    status: ExecutionStatus
    submitted_at: str
    started_at: str | None
    completed_at: str | None
    cancel_requested_at: str | None = None
    cancel_requested_by: str | None = None
    stopped_by: ErrorDetail | None = None
    resumed: Mapping[str, Any] | None = None
    definitions: Sequence[str] | None = None
    state_bytes: int = 0

    @property
    def actions(self) -> list[PlannedAction]:
        """All actions, level by level, and the alternatives on standby."""
        return [action for level in self.levels for action in level] + list(self.standby)


@dataclass(frozen=True, slots=True)
class Progress:
    """An action that has begun: its claim, the trace of its attempts so far, and its questions to a person."""

    claim: Mapping[str, Any]
    trace: Sequence[Mapping[str, Any]] = field(default=())
    asks: Sequence[Mapping[str, Any]] = field(default=())


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """The attempts of an action, for its state: when the first began (ISO 8601), how many there were, their trace."""

    started_at: str
    attempts: int
    trace: Sequence[Mapping[str, Any]]


def finished_state(
    action_id: str, result: ActionSkip | ActionFailure | Any, history: AttemptHistory, *, now: datetime | None = None
) -> ActionExecutionState:
    """Return the state of an action that has just ended with this result."""
    completed_at = now or datetime.now(UTC)
    started_at = datetime.fromisoformat(history.started_at)
    statuses = {
        "success": ActionStatus.COMPLETED,
        "failure": ActionStatus.FAILED,
        "skipped": ActionStatus.SKIPPED,
    }
    return ActionExecutionState(
        action_id=action_id,
        status=statuses[result.status],
        started_at=started_at,
        completed_at=completed_at,
        duration=max(0, round((completed_at - started_at).total_seconds() * 1000)),
        attempts=history.attempts,
        result=result,
        http_trace=list(history.trace),
    )


def with_unneeded(
    dependencies: Iterable[str], results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Return the results of an action's dependencies. One that has none was an alternative that was not needed.

    All earlier levels have finished when an action runs, so nothing else can be without a result.
    """
    unneeded = {"status": ActionStatus.SKIPPED, "result": {"status": "skipped", "reason": NOT_NEEDED}}
    return {name: results.get(name, unneeded) for name in dependencies}


def live_action_state(action_id: str, progress: Progress | None) -> ActionExecutionState:
    """Return the state of an action that has not finished: pending, running, or running and waiting for a retry."""
    if progress is None:
        return ActionExecutionState(action_id=action_id, status=ActionStatus.PENDING)
    claim = progress.claim
    state = ActionExecutionState(
        action_id=action_id,
        status=ActionStatus.RUNNING,
        started_at=claim["startedAt"],
        attempts=claim["attempt"],
        http_trace=list(progress.trace),
    )
    if claim.get("nextAttemptAt"):
        state.next_attempt_at = datetime.fromisoformat(claim["nextAttemptAt"])
    return state


def _live_state(
    action: PlannedAction, results: Mapping[str, Mapping[str, Any]], progress: Mapping[str, Progress]
) -> ActionExecutionState:
    elements: dict[int, ActionExecutionState] = {}
    if action.for_each:
        prefix = f"{action.id}["
        for name in [name for name in progress if name.startswith(prefix)]:
            elements[int(name[len(prefix) : -1])] = (
                ActionExecutionState.model_validate(results[name])
                if name in results
                else live_action_state(name, progress[name])
            )
    return running_fan_out(action.id, elements) if elements else live_action_state(action.id, progress.get(action.id))


def running_state(
    record: Record, results: Mapping[str, Mapping[str, Any]], progress: Mapping[str, Progress]
) -> ExecutionState:
    """Return the state of an execution that has not ended.

    The record's own status is not used: until its final state is stored, an execution reads as running.
    """
    status = ExecutionStatus.RUNNING if record.started_at else ExecutionStatus.INITIALIZING
    if any(item.claim["status"] == "waiting" and name not in results for name, item in progress.items()):
        status = ExecutionStatus.PAUSED_FOR_CONFIRMATION
    confirmations = confirmation_states({name: item.asks for name, item in progress.items()}, record.actions)
    action_states = {
        action.id: ActionExecutionState.model_validate(results[action.id])
        if action.id in results
        else _live_state(action, results, progress)
        for action in record.actions
    }
    state = ExecutionState(
        id=record.execution_id,
        plan_id=record.plan["id"],
        status=status,
        started_at=record.started_at or record.submitted_at,
        action_states=action_states,
        confirmations=confirmations,
        metrics=calculate_execution_metrics(action_states),
        version=document_version(action_states.values(), confirmations, status, progress),
    )
    _tell_who(state, record)
    return state


def final_state(
    record: Record,
    results: Mapping[str, Mapping[str, Any]],
    progress: Mapping[str, Progress],
    *,
    readable: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> ExecutionState:
    """Return the state of an execution that has ended: after its last level, by a failure or by a cancellation.

    One that was stopped fails with the reason, whatever else there is. Its expected outcomes are not looked at.

    `readable` are the results as references read them, where some outputs are stored. Expected outcomes are compared
    with these.
    """
    completed_at = now or datetime.now(UTC)
    started_at = record.started_at or record.submitted_at
    plan = record.plan
    actions = record.actions
    stopped_by = record.stopped_by
    cancelled = record.cancel_requested_at is not None and stopped_by is None
    # A failed alternative does not stop the plan by itself: the action in whose place it ran fails, or does not.
    planned = [action for level in record.levels for action in level]
    culprit = None if cancelled or stopped_by else stopping_failure(planned, results)
    left_over = _skip_of_the_rest(culprit, stopped_by, cancelled=cancelled)
    action_states = {
        action.id: ActionExecutionState.model_validate(results[action.id])
        if action.id in results
        else ActionExecutionState(
            action_id=action.id,
            status=ActionStatus.SKIPPED,
            result=left_over,
        )
        for action in actions
    }
    validations: list[ValidationResult] = []
    error = stopped_by
    if cancelled:
        error = ErrorDetail(category=ErrorCategory.USER_CANCELLED, message=_cancelled(record))
    elif culprit:
        error = _plan_error(culprit, action_states[culprit.id])
    elif error is None and plan.get("expectedOutcome"):
        outcome = ExpectedOutcome.model_validate(plan["expectedOutcome"])
        scope: dict[str, Any] = {**action_states, **(readable or {}), "inputs": plan.get("inputs", {})}
        validations = evaluate_outcome(outcome, scope)
        error = _outcome_error(validations)
    status = ExecutionStatus.FAILED if error else ExecutionStatus.COMPLETED
    if cancelled:
        status = ExecutionStatus.CANCELLED
    asks = {name: item.asks for name, item in progress.items()}
    confirmations = confirmation_states(asks, record.actions, once_for_lists=True)
    total_ms = max(0, round((completed_at - datetime.fromisoformat(started_at)).total_seconds() * 1000))
    state = ExecutionState(
        id=record.execution_id,
        plan_id=plan["id"],
        status=status,
        started_at=started_at,
        completed_at=completed_at,
        action_states=action_states,
        confirmations=confirmations,
        validations=validations,
        metrics=calculate_execution_metrics(action_states, total_duration=total_ms),
        version=document_version(action_states.values(), confirmations, status, progress),
    )
    if error:
        state.error = error
    _tell_who(state, record)
    return state


def _cancelled(record: Record) -> str:
    by = f" by {record.cancel_requested_by}" if record.cancel_requested_by else ""
    return f"the execution was cancelled{by}"


def _tell_who(state: ExecutionState, record: Record) -> None:
    """Add what the record says of the people who cancelled the execution, and who resumed another by it."""
    if record.cancel_requested_by:
        state.cancelled_by = record.cancel_requested_by
    if record.resumed:
        state.resumed = ResumeReport.model_validate(record.resumed)


def parse_progress(fields: Mapping[bytes, bytes]) -> dict[str, Progress]:
    """Return what is under way, from the fields of an execution's progress hash."""
    text = {name.decode(): value for name, value in fields.items()}
    return {
        name: Progress(json.loads(value), json.loads(text.get(f"{name}:trace", b"[]")), parse_asks(text, name))
        for name, value in text.items()
        if ":" not in name
    }


def document_version(
    action_states: Iterable[ActionExecutionState],
    confirmations: Sequence[ConfirmationState],
    status: ExecutionStatus,
    progress: Mapping[str, Progress],
) -> int:
    """Return a number that grows with every change of the document.

    It counts what has happened: attempts that began, attempts that ended in a retry or for good, waits for a permit,
    questions and answers. Each of these happens once and is never undone, so a later reader never reads a smaller
    number.
    """
    version = 1 if status is ExecutionStatus.INITIALIZING else 2
    version += sum(_transitions(state) for state in action_states)
    version += sum(2 * int(item.claim.get("waits", 0)) for item in progress.values())
    version += sum(2 if confirmation.responded_at else 1 for confirmation in confirmations)
    return version + (1 if status in ENDED else 0)


def _transitions(state: ActionExecutionState | ElementState) -> int:
    elements = state.elements if isinstance(state, ActionExecutionState) else None
    if elements:
        return sum(map(_transitions, elements)) + (0 if state.status is ActionStatus.RUNNING else 1)
    if state.status is ActionStatus.PENDING:
        return 0
    if state.status is ActionStatus.RUNNING:
        return 2 * state.attempts - (0 if state.next_attempt_at else 1)
    return 2 * max(1, state.attempts)


def _skip_of_the_rest(culprit: PlannedAction | None, stopped_by: ErrorDetail | None, *, cancelled: bool) -> ActionSkip:
    """Return why an action without a result did not run."""
    if cancelled:
        return ActionSkip(reason="the execution was cancelled")
    if culprit:
        return ActionSkip(reason=f"{STOPPED}: {culprit.id} failed", blocked_by=culprit.id)
    if stopped_by:
        return ActionSkip(reason=f"{STOPPED}: {stopped_by.message}")
    return ActionSkip(reason=NOT_NEEDED)


def _plan_error(culprit: PlannedAction, state: ActionExecutionState) -> ErrorDetail:
    if not isinstance(state.result, ActionFailure):
        return ErrorDetail(category=ErrorCategory.STATE_INCONSISTENT, message=f"action {culprit.id} failed")
    detail = state.result.error.model_copy(deep=True)
    detail.message = f"action {culprit.id} failed: {detail.message}"
    detail.context = {**detail.context, "actionId": culprit.id}
    return detail


def _outcome_error(validations: Sequence[ValidationResult]) -> ErrorDetail | None:
    failed = [validation for validation in validations if not validation.passed]
    if not failed:
        return None
    return ErrorDetail(
        category=ErrorCategory.VALIDATION_FAILED,
        message=f"{len(failed)} of {len(validations)} expected outcomes did not come true",
        context={validation.name: validation.message for validation in failed},
    )
