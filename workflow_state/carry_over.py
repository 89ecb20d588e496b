"""Which outputs a resumed execution keeps, and why. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow_state.errors import WorkflowStateError
from workflow_state.patterns import schedule_levels
from workflow_state.reference_parser import ParsedReference, iterate_references, resolve_value
from workflow_state.schema import ActionExecutionState, ActionStatus, ExecutionPlan, PlannedAction, ResumedAction


@dataclass(frozen=True, slots=True)
class Earlier:
    """The execution that is resumed: its plan and how its actions ended."""

    actions: Mapping[str, PlannedAction]
    inputs: Mapping[str, Any]
    states: Mapping[str, ActionExecutionState]


def decide_carry_over(earlier: Earlier, plan: ExecutionPlan) -> dict[str, ResumedAction]:
    """Return, for each action of the plan, whether its earlier output is kept, and why.

    A completed action keeps its output where its definition and its resolved inputs are the same. What reads an action
    that runs again is run again too.
    """
    decisions: dict[str, ResumedAction] = {}
    kept: dict[str, Any] = {"inputs": plan.inputs}
    for action in _in_order(plan.actions):
        reason = _why_again(action, earlier, kept)
        decisions[action.id] = ResumedAction(kept=reason is None, reason=reason or "it completed, with the same inputs")
        if reason is None:
            kept[action.id] = earlier.states[action.id]
    return decisions


def _in_order(actions: Sequence[PlannedAction]) -> list[PlannedAction]:
    """Return the actions so that each comes after what it reads; alternatives last, few read them by their own name."""
    levels = schedule_levels(actions)
    in_levels = {action.id for level in levels for action in level}
    return [action for level in levels for action in level] + [item for item in actions if item.id not in in_levels]


def _why_again(action: PlannedAction, earlier: Earlier, kept: Mapping[str, Any]) -> str | None:
    before, state = earlier.actions.get(action.id), earlier.states.get(action.id)
    if before is None or state is None:
        return "it is new"
    if state.status is not ActionStatus.COMPLETED:
        return f"it was {state.status}"
    if before.action_definition_id != action.action_definition_id:
        return f"it calls {action.action_definition_id}, not {before.action_definition_id}"
    again = [name for name in _names_read(action) if name not in kept]
    if again:
        return f"it reads {again[0]}, which runs again"
    scope: dict[str, Any] = {**earlier.states, "inputs": earlier.inputs}
    try:
        now, then = _resolved(action, kept), _resolved(before, scope)
    except WorkflowStateError as error:
        return f"its inputs can't be compared: {error}"
    return None if now == then else "its inputs are different"


def _names_read(action: PlannedAction) -> list[str]:
    """Return the actions that are read (and `inputs`), without what a forEach defines itself."""
    found = (reference for _, reference in iterate_references([action.inputs, action.for_each]))
    return [item.action_id for item in found if isinstance(item, ParsedReference) and not item.is_for_each_name]


def _resolved(action: PlannedAction, scope: Mapping[str, Any]) -> list[Any]:
    """Return what decides over what is sent; what names an element stays as it is written, the list decides there."""
    if action.for_each:
        return [resolve_value(action.for_each, scope), _without_elements(action.inputs, scope)]
    return [resolve_value(action.inputs, scope)]


def _without_elements(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _without_elements(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_elements(item, scope) for item in value]
    named = (found for _, found in iterate_references(value))
    if any(isinstance(found, ParsedReference) and found.is_for_each_name for found in named):
        return value
    return resolve_value(value, scope)
