"""An execution's figures: its actions counted by status, and how long it took. Pure."""

from collections.abc import Mapping
from typing import Any

from workflow_state.schema import ActionExecutionState, ActionStatus, ExecutionMetrics, ExecutionState

State = ActionExecutionState | Mapping[str, Any] | str


def calculate_execution_metrics(
    action_states: Mapping[str, Any] | ExecutionState, *, total_duration: int | None = None
) -> ExecutionMetrics:
    """Return how many actions there are, and how many of them completed, failed and were skipped.

    Use it on the `actionStates` of an execution, or on a part of them. Takes the states by action id (models, JSON data
    or the status alone), or a whole execution. `total_duration` is in milliseconds. Where it is not given, that of the
    execution is kept.
    """
    if total_duration is None and (isinstance(action_states, ExecutionState) or _is_execution(action_states)):
        total_duration = read_field(read_field(action_states, "metrics") or {}, "totalDuration")
    statuses = [status_of(state) for state in states_of(action_states).values()]
    metrics = ExecutionMetrics(
        total_actions=len(statuses),
        completed_actions=statuses.count(ActionStatus.COMPLETED),
        failed_actions=statuses.count(ActionStatus.FAILED),
        skipped_actions=statuses.count(ActionStatus.SKIPPED),
    )
    if total_duration is not None:
        metrics.total_duration = total_duration
    return metrics


def states_of(action_states: Mapping[str, Any] | ExecutionState) -> Mapping[str, Any]:
    """Return the states by action id; `action_states` may be a whole execution, as `handle.get()` returns it."""
    if isinstance(action_states, ExecutionState) or _is_execution(action_states):
        states: Mapping[str, Any] = action_states["actionStates"]
        return states
    return action_states


def _is_execution(document: Mapping[str, Any]) -> bool:
    # An action may be called `actionStates`; none has a state that is a plan's id.
    return isinstance(document.get("planId"), str) and isinstance(document.get("actionStates"), Mapping)


def status_of(state: State) -> Any:
    """Return the status of an action's state; the state may be a model, JSON data or the status itself."""
    return state if isinstance(state, str) else read_field(state, "status")


def read_field(document: Any, name: str) -> Any:
    """Return a field by its JSON name, of a model or of JSON data; None where it is not there."""
    try:
        return document[name]
    except KeyError:
        return None
