"""What becomes of the steps of an execution that is stopped in the middle of a level. Pure.

Every other execution ends between two levels, when each message has ended. One that was stopped may have steps that
have begun and never ended. A resumed execution has to know which of them may have been done.
"""

from collections.abc import Mapping
from typing import Any

from workflow_state.rules.for_each import element_id, joined_state
from workflow_state.rules.policy import outcome_unknown
from workflow_state.rules.states import STOPPED, AttemptHistory, Progress, Record, finished_state
from workflow_state.schema import ActionExecutionState, ActionFailure, ActionSkip, ActionStatus, PlannedAction


def end_begun_steps(
    record: Record, results: Mapping[str, Mapping[str, Any]], progress: Mapping[str, Progress]
) -> dict[str, dict[str, Any]]:
    """Return the results of all actions of a stopped execution that have begun, as JSON data.

    `results` are those of actions and of elements. What began without an end is skipped. An unsafe request that was
    marked as sent has failed, and its outcome is unknown. A list has the states of its elements up to the last one that
    has begun.
    """
    ended: dict[str, dict[str, Any]] = {}
    for action in record.actions:
        if action.id in results:
            ended[action.id] = dict(results[action.id])
        elif action.id in progress:
            ended[action.id] = _end(action, action.id, progress[action.id])
        elif action.for_each and (count := _count_begun(action, progress)):
            names = [element_id(action.id, index) for index in range(count)]
            states = [results.get(name) or _end(action, name, progress.get(name)) for name in names]
            ended[action.id] = joined_state(action, states).to_json_data()
    return ended


def _count_begun(action: PlannedAction, progress: Mapping[str, Progress]) -> int:
    """Return how many elements there are up to the last one that has begun."""
    prefix = f"{action.id}["
    return max((int(name[len(prefix) : -1]) + 1 for name in progress if name.startswith(prefix)), default=0)


def _end(action: PlannedAction, name: str, progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        state = ActionExecutionState(action_id=name, status=ActionStatus.SKIPPED, result=ActionSkip(reason=STOPPED))
        return state.to_json_data()
    claim = progress.claim
    # Of an attempt that has ended in a retry it is known how it ended.
    was_sent = claim["status"] == "running" and bool(claim.get("sent"))
    result: ActionFailure | ActionSkip = outcome_unknown(action) if was_sent else ActionSkip(reason=STOPPED)
    attempts = claim["attempt"] if was_sent else claim["attempt"] - 1
    return finished_state(name, result, AttemptHistory(claim["startedAt"], attempts, progress.trace)).to_json_data()
