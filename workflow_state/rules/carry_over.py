"""Which outputs of an earlier execution a resumed one keeps, and why. Pure."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from pydantic import JsonValue

from workflow_state.errors import DecryptionError, ExecutionConflictError, StorageError, WorkflowStateError
from workflow_state.plans.levels import find_standby, schedule_levels
from workflow_state.plans.references import ParsedReference, iterate_references
from workflow_state.plans.resolving import resolve_reference, resolve_value
from workflow_state.rules.decisions import Decisions, Elements
from workflow_state.rules.for_each import element_id, joined_state, list_elements
from workflow_state.schema import (
    ActionExecutionState,
    ActionStatus,
    ActionSuccess,
    ExecutionPlan,
    PlannedAction,
    ResumedAction,
    ResumedElement,
)

_UNCHANGED = "it completed, with the same inputs"
_ASSUMED = "assumed done, by decision"
_ASSUMED_BEFORE = "assumed done, by an earlier decision"
_SENT_AGAIN = "sent again, by decision"


@dataclass(frozen=True, slots=True)
class Earlier:
    """The execution that is resumed: its plan, and how its actions and the elements of its lists ended."""

    actions: Mapping[str, PlannedAction]
    inputs: Mapping[str, Any]
    states: Mapping[str, ActionExecutionState]
    elements: Elements = field(default_factory=dict)
    readable: Mapping[str, Any] = field(default_factory=dict)
    """The states (JSON data) of actions whose outputs are stored, as references read them."""


@dataclass(slots=True)
class CarryOver:
    """What a resumed execution begins with: a report on each action, and the states that are kept.

    `states` maps names to the states of actions (`pay`) and of single elements of a list (`pay[3]`).
    """

    report: dict[str, ResumedAction] = field(default_factory=dict)
    states: dict[str, ActionExecutionState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Resuming:
    """What the decisions are made from.

    `then_there` are the results that the actions of the earlier execution could read. `now_there` are those that can be
    read now: the plan's inputs, and each action that is kept.
    """

    earlier: Earlier
    actions: Mapping[str, PlannedAction]
    decisions: Decisions
    decided: frozenset[str]
    now: datetime
    then_there: dict[str, Any]
    now_there: dict[str, Any]


def decide_carry_over(
    earlier: Earlier, plan: ExecutionPlan, decisions: Decisions | None = None, *, now: datetime | None = None
) -> CarryOver:
    """Return what is kept of each of the plan's actions, and why or why not.

    A completed action keeps its output where its definition and its resolved inputs are the same. An action over a list
    does so element by element, where the list is the same. An action that reads one that runs again runs again too. A
    request that is assumed done counts as completed, whatever its inputs are. If an alternative is assumed done, the
    action in whose place it ran is completed as well.

    Raises ExecutionConflictError for an element that is assumed done where the list is not the same, and StorageError
    where a stored output that is to be compared can't be read.
    """
    decisions = decisions or Decisions()
    resuming = _Resuming(
        earlier=earlier,
        actions={action.id: action for action in plan.actions},
        decisions=decisions,
        decided=frozenset(name.partition("[")[0] for name in (*decisions.assumed, *decisions.sent_again)),
        now=now or datetime.now(UTC),
        then_there={**earlier.states, **earlier.readable, "inputs": earlier.inputs},
        now_there={"inputs": plan.inputs},
    )
    carried = CarryOver()
    for action in _in_order(plan.actions):
        report, states = _decide(resuming, action)
        carried.report[action.id] = report
        carried.states |= states
        if report.kept:
            is_the_same = states[action.id] is earlier.states.get(action.id)
            resuming.now_there[action.id] = (resuming.then_there if is_the_same else states)[action.id]
    for name in decisions.assumed:
        if name not in carried.states:
            reason = carried.report[name.partition("[")[0]].reason
            raise ExecutionConflictError(f"{name} can't be assumed done in this plan: {reason}")
    return carried


def _in_order(actions: Sequence[PlannedAction]) -> list[PlannedAction]:
    """Return the actions so that each comes after those that it reads. Alternatives are last: few are read by name."""
    levels = schedule_levels(actions)
    return [*chain.from_iterable(levels), *find_standby(actions, levels)]


Decided = tuple[ResumedAction, dict[str, ActionExecutionState]]


def _decide(resuming: _Resuming, action: PlannedAction) -> Decided:
    """Return the report on the action, and the states that are kept of it."""
    if stand_in := _find_assumed_alternative(resuming, action):
        alternative, output = stand_in
        success = ActionSuccess(output=output, alternative_action_id=alternative, assumed=True)
        state = _assumed_state(resuming.earlier.states[action.id], success, resuming.now)
        state.elements = None
        reason = f"its alternative {alternative} is {_ASSUMED}"
        return ResumedAction(kept=True, reason=reason), {action.id: state, **_element_states(resuming, action)}
    return _decide_list(resuming, action) if action.for_each else _decide_request(resuming, action)


def _decide_request(resuming: _Resuming, action: PlannedAction) -> Decided:
    state = resuming.earlier.states.get(action.id)
    if state and action.id in resuming.decisions.assumed:
        success = ActionSuccess(output=resuming.decisions.assumed[action.id], assumed=True)
        assumed = _assumed_state(state, success, resuming.now)
        return ResumedAction(kept=True, reason=_ASSUMED), {action.id: assumed}
    if action.id in resuming.decisions.sent_again:
        return ResumedAction(kept=False, reason=_SENT_AGAIN), {}
    again = _why_another(resuming, action) or _why_again(resuming, action, state)
    if again or state is None:
        return ResumedAction(kept=False, reason=again or "it is new"), {}
    return ResumedAction(kept=True, reason=_why_kept(state)), {action.id: state}


def _decide_list(resuming: _Resuming, action: PlannedAction) -> Decided:
    """Decide on an action over a list, element by element."""
    if again := _why_another(resuming, action) or _why_another_list(resuming, action):
        reason = f"{again}; {_SENT_AGAIN}" if action.id in resuming.decided else again
        return ResumedAction(kept=False, reason=reason), {}
    state = resuming.earlier.states[action.id]
    items = list_elements(action, resuming.now_there)
    if not resuming.earlier.elements.get(action.id):
        return _decide_whole_list(resuming, action, state, items)
    elements: list[ResumedElement] = []
    states: dict[str, ActionExecutionState] = {}
    for index, item in enumerate(items):
        reason, kept = _decide_element(resuming, action, index, item)
        elements.append(ResumedElement(index=index, kept=kept is not None, reason=reason))
        if kept:
            states[kept.action_id] = kept
    if len(states) < len(items):
        reason = f"{len(states)} of {len(items)} elements are kept"
        return ResumedAction(kept=False, reason=reason, elements=elements), states
    if state.status is ActionStatus.COMPLETED and all(element.reason == _UNCHANGED for element in elements):
        return ResumedAction(kept=True, reason=_UNCHANGED), {**states, action.id: state}
    joined = joined_state(action, [part.to_json_data() for part in states.values()])
    report = ResumedAction(kept=True, reason="all its elements are kept", elements=elements)
    return report, {**states, action.id: joined}


def _decide_whole_list(
    resuming: _Resuming, action: PlannedAction, state: ActionExecutionState, items: Sequence[JsonValue]
) -> Decided:
    """Decide on a list without elements: it is empty, none of them ever ran, or an alternative took its place."""
    again = None if state.status is ActionStatus.COMPLETED else f"it was {state.status}"
    for index, item in enumerate(items):
        again = again or _why_again(resuming, action, state, {"item": item, "itemIndex": index})
    if again:
        return ResumedAction(kept=False, reason=again), {}
    return ResumedAction(kept=True, reason=_why_kept(state)), {action.id: state}


def _decide_element(
    resuming: _Resuming, action: PlannedAction, index: int, item: JsonValue
) -> tuple[str, ActionExecutionState | None]:
    """Return the reason for one element, and its state where that is kept."""
    name = element_id(action.id, index)
    state = resuming.earlier.elements[action.id].get(index)
    if name in resuming.decisions.assumed:
        before = state or ActionExecutionState(action_id=name, status=ActionStatus.COMPLETED)
        success = ActionSuccess(output=resuming.decisions.assumed[name], assumed=True)
        return _ASSUMED, _assumed_state(before, success, resuming.now)
    if name in resuming.decisions.sent_again:
        return _SENT_AGAIN, None
    if state is None:
        return f"it was {resuming.earlier.states[action.id].status}", None
    again = _why_again(resuming, action, state, {"item": item, "itemIndex": index})
    return again or _why_kept(state), None if again else state


def _why_another(resuming: _Resuming, action: PlannedAction) -> str | None:
    """Return why nothing of the earlier action with this id can be kept, or None where it may be."""
    before, state = resuming.earlier.actions.get(action.id), resuming.earlier.states.get(action.id)
    if before is None or state is None:
        return "it is new"
    if state.status is not ActionStatus.COMPLETED and not action.for_each:
        return f"it was {state.status}"
    if before.action_definition_id != action.action_definition_id:
        return f"it calls {action.action_definition_id}, not {before.action_definition_id}"
    if (before.for_each is None) != (action.for_each is None):
        return "it runs for a list, and didn't before" if action.for_each else "it ran for a list before"
    return None


def _why_another_list(resuming: _Resuming, action: PlannedAction) -> str | None:
    if again := _reads_again(action.for_each, resuming):
        return again
    before = resuming.earlier.actions[action.id]
    try:
        now = list_elements(action, resuming.now_there)
        then = resolve_reference(str(before.for_each), resuming.then_there)
    except (StorageError, DecryptionError):
        # Not "different": what reads it would be sent again because a storage is away.
        raise
    except WorkflowStateError as error:
        return f"its list can't be compared: {error}"
    return None if now == then else "its list is different"


def _why_again(
    resuming: _Resuming,
    action: PlannedAction,
    state: ActionExecutionState | None,
    item: Mapping[str, Any] | None = None,
) -> str | None:
    """Return why a request is sent again, or None where its output is kept; `item` has the element and its index."""
    before = resuming.earlier.actions[action.id]
    own = dict(item or {})
    # An earlier decision was not made from what the action reads. It holds unless the inputs are known to be different.
    holds = state is not None and _was_assumed(state) and before.inputs == action.inputs
    if state is None or state.status is not ActionStatus.COMPLETED:
        return f"it was {state.status}" if state else "it is new"
    if again := _reads_again(action.inputs, resuming):
        return None if holds else again
    try:
        now = resolve_value(action.inputs, ChainMap(own, resuming.now_there))
        then = resolve_value(before.inputs, ChainMap(own, resuming.then_there))
    except (StorageError, DecryptionError):
        raise
    except WorkflowStateError as error:
        return None if holds else f"its inputs can't be compared: {error}"
    return None if now == then else "its inputs are different"


def _reads_again(value: Any, resuming: _Resuming) -> str | None:
    """Return that an action which runs again is read there, or None; names that a forEach defines don't count."""
    found = (reference for _, reference in iterate_references(value))
    names = [item.action_id for item in found if isinstance(item, ParsedReference) and not item.is_for_each_name]
    again = [name for name in names if name not in resuming.now_there]
    return f"it reads {again[0]}, which runs again" if again else None


def _was_assumed(state: ActionExecutionState) -> bool:
    return isinstance(state.result, ActionSuccess) and bool(state.result.assumed)


def _why_kept(state: ActionExecutionState) -> str:
    return _ASSUMED_BEFORE if _was_assumed(state) else _UNCHANGED


def _find_assumed_alternative(resuming: _Resuming, action: PlannedAction) -> tuple[str, JsonValue] | None:
    """Return the alternative that is assumed done in the place of this action, and its output; None where none is.

    That may be an alternative of the alternative. The alternative ran because the action had failed, also where a
    fallback value made the action complete.
    """
    state = resuming.earlier.states.get(action.id)
    alternative = resuming.actions.get(action.error_handling.alternative_action_id or "")
    if state is None or alternative is None or action.id in resuming.decided:
        return None
    used_fallback = isinstance(state.result, ActionSuccess) and state.result.used_fallback
    if state.status is not ActionStatus.FAILED and not used_fallback:
        return None
    if alternative.id in resuming.decisions.assumed:
        return alternative.id, resuming.decisions.assumed[alternative.id]
    further = _find_assumed_alternative(resuming, alternative)
    return (alternative.id, further[1]) if further else None


def _element_states(resuming: _Resuming, action: PlannedAction) -> dict[str, ActionExecutionState]:
    states = resuming.earlier.elements.get(action.id, {}).values()
    return {state.action_id: state for state in states if state}


def _assumed_state(before: ActionExecutionState, success: ActionSuccess, now: datetime) -> ActionExecutionState:
    """Return the state of a request that is assumed done: completed now, otherwise as it was before.

    It has no duration, because how long the request took is not known.
    """
    state = before.model_copy(update={"status": ActionStatus.COMPLETED, "completed_at": now, "result": success})
    data = state.to_json_data()
    data.pop("duration", None)
    return ActionExecutionState.model_validate(data)
