"""What a browser learns about an execution: its graph once, and then the status of each action. Pure.

Outputs, traces and inputs are left out, so that a thousand actions stay small. The page asks for them one by one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflow_state.plans.levels import schedule_levels, show_levels
from workflow_state.rules.confirmations import is_open
from workflow_state.rules.states import ENDED
from workflow_state.schema import (
    ActionExecutionState,
    ActionStatus,
    ActionSuccess,
    ExecutionPlan,
    ExecutionState,
    ExecutionSummary,
    PlannedAction,
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An execution at one moment: `head` is about the whole, `actions` has a short form of each action's state."""

    version: int
    ended: bool
    head: Mapping[str, Any]
    actions: Mapping[str, Mapping[str, Any]]

    def everything(self) -> dict[str, Any]:
        """Return what a browser needs that has seen nothing yet."""
        return {"version": self.version, **self.head, "actions": self.actions}

    def since(self, before: "Snapshot") -> dict[str, Any]:
        """Return the whole's own part, and only those actions that have changed."""
        changed = {name: brief for name, brief in self.actions.items() if before.actions.get(name) != brief}
        return {"version": self.version, **self.head, "actions": changed}


def take_snapshot(state: ExecutionState, *, cancelling: bool) -> Snapshot:
    """Return what browsers are shown of a state."""
    questions = _open_questions(state)
    head: dict[str, Any] = {
        "status": state.status,
        "startedAt": _ms(state.started_at),
        "validations": [item.to_json_data() for item in state.validations],
    }
    if state.completed_at:
        head["completedAt"] = _ms(state.completed_at)
    if state.error:
        head["error"] = state.error.to_json_data()
    if state.resumed:
        head["resumedFrom"] = state.resumed.execution_id
        if state.resumed.user_id:
            head["resumedBy"] = state.resumed.user_id
    if state.cancelled_by:
        head["cancelledBy"] = state.cancelled_by
    ended = state.status in ENDED
    if cancelling and not ended:
        head["cancelling"] = True
    actions = {name: _brief(action, questions.get(name, {})) for name, action in state.action_states.items()}
    return Snapshot(state.version, ended, head, actions)


def graph_of(plan: ExecutionPlan, summary: ExecutionSummary) -> dict[str, Any]:
    """Return the plan as a graph: its levels, each alternative beside its primary, and who depends on whom."""
    in_levels = {action.id for level in schedule_levels(plan.actions) for action in level}
    return {
        "id": summary.id,
        "name": plan.name,
        "description": plan.description,
        "hasMore": any((plan.inputs, plan.intent, plan.expected_outcome, plan.metadata)),
        "submittedAt": _ms(summary.submitted_at),
        "levels": [[action.id for action in level] for level in show_levels(plan.actions)],
        "actions": {action.id: _node(action, is_standby=action.id not in in_levels) for action in plan.actions},
    }


def graph_without_plan(state: ExecutionState) -> dict[str, Any]:
    """Return the graph of an execution whose plan is not known any more, or never was one: its actions, no edges."""
    names = list(state.action_states)
    actions = {name: {"definition": "", "dependencies": []} for name in names}
    return {
        "id": state.id,
        "name": state.id,
        "submittedAt": _ms(state.started_at),
        "levels": [names] if names else [],
        "actions": actions,
    }


def _node(action: PlannedAction, *, is_standby: bool) -> dict[str, Any]:
    node: dict[str, Any] = {"definition": action.action_definition_id, "dependencies": list(action.dependencies)}
    if action.error_handling.alternative_action_id:
        node["alternative"] = action.error_handling.alternative_action_id
    if is_standby:
        node["standby"] = True
    if action.for_each:
        node["forEach"] = True
    return node


def _open_questions(state: ExecutionState) -> dict[str, dict[str, str | None]]:
    """Return by action which questions wait for an answer: the run's name (`each[3]`) and the request's digest."""
    found: dict[str, dict[str, str | None]] = {}
    if state.status in ENDED:
        return found
    for confirmation in state.confirmations:
        if is_open(confirmation):
            name = confirmation.action_id
            found.setdefault(name.partition("[")[0], {})[name] = confirmation.digest
        else:
            found.get(confirmation.action_id.partition("[")[0], {}).pop(confirmation.action_id, None)
    return {name: questions for name, questions in found.items() if questions}


def _brief(state: ActionExecutionState, questions: Mapping[str, str | None]) -> dict[str, Any]:
    brief: dict[str, Any] = {"status": state.status}
    if state.attempts:
        brief["attempts"] = state.attempts
    if state.started_at:
        brief["startedAt"] = _ms(state.started_at)
    if state.duration is not None:
        brief["duration"] = state.duration
    if state.elements:
        brief["elements"] = Counter(str(element.status) for element in state.elements)
    if state.status is ActionStatus.RUNNING and questions:
        brief |= {"status": "waiting", "asks": questions}
    elif state.next_attempt_at:
        brief |= {"status": "retrying", "nextAttemptAt": _ms(state.next_attempt_at)}
    if isinstance(state.result, ActionSuccess) and (note := _note(state.result)):
        brief["note"] = note
    return brief


def _note(result: ActionSuccess) -> str | None:
    if result.assumed:
        return "assumed"
    if result.alternative_action_id:
        return "alternative"
    return "fallback" if result.used_fallback else None


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
