"""Functions that build common plans, and functions that look at the graph of a plan's actions. Pure.

All of them take actions as PlannedActions or as their JSON data. The builders return new actions and never change
their arguments. The graph functions take time that is linear in the number of actions and dependencies.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypedDict

from pydantic import JsonValue

from workflow_state.plans.conditions import fit_integers
from workflow_state.plans.graphs import find_cycles
from workflow_state.plans.levels import Planned, as_planned, group_by_level, schedule_levels
from workflow_state.plans.references import parse_reference
from workflow_state.rules.metrics import calculate_execution_metrics, read_field, states_of, status_of
from workflow_state.schema import ActionStatus, Condition, ExecutionState, PlannedAction

__all__ = [
    "Branch",
    "are_dependencies_satisfied",
    "calculate_execution_metrics",
    "create_batch_processing",
    "create_conditional_branch",
    "create_fan_out_fan_in_pattern",
    "create_retry_with_fallback",
    "create_sequential_pipeline",
    "extract_successful_results",
    "find_circular_dependencies",
    "find_cycles",
    "group_actions_by_dependency_level",
    "schedule_levels",
]


class Branch(TypedDict):
    """One branch of `create_conditional_branch`: its actions run where the reference has this value."""

    value: JsonValue
    action_ids: list[str]


# --- Graphs ------------------------------------------------------------------------------------------------------


def find_circular_dependencies(actions: Sequence[Planned]) -> list[list[str]]:
    """Return the cycles among the actions' dependencies; an empty list where there are none.

    >>> find_circular_dependencies([{"id": "a", "actionDefinitionId": "x", "dependencies": ["b"]},
    ...                             {"id": "b", "actionDefinitionId": "x", "dependencies": ["a"]}])
    [['a', 'b', 'a']]

    Of actions that all wait for each other one cycle is given, from an action back to itself. Dependencies that are no
    action are ignored.
    """
    return find_cycles({action.id: action.dependencies for action in map(as_planned, actions)})


def group_actions_by_dependency_level(actions: Sequence[Planned]) -> list[list[PlannedAction]]:
    """Return the actions level by level, each level in the order of the plan.

    Level 0 has no dependencies. An action's level is one more than its deepest dependency. Alternatives are in the
    levels like any other action; when a plan is run they are not, see `schedule_levels`.

    Raises PlanValidationError for an id that occurs twice, and for a dependency that is unknown or circular.
    """
    planned = [as_planned(action) for action in actions]
    return group_by_level(planned, {action.id: action.dependencies for action in planned})


def are_dependencies_satisfied(action: Planned, action_states: Mapping[str, Any]) -> bool:
    """Return whether every dependency of an action has completed, or was skipped by its own condition.

    `action_states` maps action ids to states: ActionExecutionStates, their JSON data, or the status alone. An action
    that is not among them has not completed.
    """
    return all(_is_satisfied(action_states.get(dependency)) for dependency in as_planned(action).dependencies)


def extract_successful_results(action_states: Mapping[str, Any] | ExecutionState) -> dict[str, JsonValue]:
    """Return the output of each action that completed, by its id.

    Takes the states by action id, or a whole execution as `handle.get()` or `get_execution_state` return it.
    """
    results: dict[str, JsonValue] = {}
    for name, state in states_of(action_states).items():
        result = None if isinstance(state, str) else read_field(state, "result")
        if result and status_of(state) == ActionStatus.COMPLETED:
            results[name] = read_field(result, "output")
    return results


# --- Builders ----------------------------------------------------------------------------------------------------


def create_sequential_pipeline(actions: Sequence[Planned]) -> list[PlannedAction]:
    """Return the actions so that they run one after the other.

        create_sequential_pipeline([fetch, convert, upload])

    Each depends on the one before it, and on what it depended on already.
    """
    pipeline: list[PlannedAction] = []
    for action in map(as_planned, actions):
        pipeline.append(_after(action, [pipeline[-1].id] if pipeline else []))
    return pipeline


def create_fan_out_fan_in_pattern(
    fan_out_actions: Sequence[Planned], fan_in_action: Planned, source_action: Planned | None = None
) -> list[PlannedAction]:
    """Return the actions so that several run in parallel, and one after all of them.

        create_fan_out_fan_in_pattern([ask_a, ask_b], compare, source_action=fetch)

    Each of `fan_out_actions` depends on the source, where there is one, and `fan_in_action` on each of them.
    """
    source = [_after(as_planned(source_action), [])] if source_action is not None else []
    fan_out = [_after(as_planned(action), [item.id for item in source]) for action in fan_out_actions]
    return [*source, *fan_out, _after(as_planned(fan_in_action), [item.id for item in fan_out])]


def create_conditional_branch(
    condition_action: Planned, reference: str, branches: Sequence[Branch], actions: Sequence[Planned]
) -> list[PlannedAction]:
    """Return the actions so that those of a branch run only where the reference has the branch's value.

        create_conditional_branch(check, "output.type", [{"value": "premium", "action_ids": ["greet"]}], [greet])

    `reference` is written in full, as `${check.output.type}`, or as a path in the condition action, as `output.type`.
    Each action of a branch depends on the condition action, and gets a condition that compares the reference with the
    value of its own branch. A condition that it has already must hold as well. Actions in no branch stay as they are.

    Raises ValueError for an action id that is not among the actions or is in two branches, and for a value that is not
    JSON. Raises ReferenceParseError for a malformed reference, and ConditionError for an integer that is too large for
    a condition.
    """
    first = as_planned(condition_action)
    compared = reference if reference.startswith("${") else f"${{{first.id}.{reference.removeprefix(first.id + '.')}}}"
    if parse_reference(compared) is None:
        raise ValueError(f"{reference!r} has text around the reference; give the reference alone")
    values: dict[str, JsonValue] = {}
    for branch in branches:
        for action_id in branch["action_ids"]:
            if action_id in values:
                raise ValueError(f"action {action_id!r} is in two branches")
            values[action_id] = branch["value"]
    planned = [as_planned(action) for action in actions]
    if missing := values.keys() - {action.id for action in planned}:
        raise ValueError(f"there is no action {', '.join(sorted(map(repr, missing)))} among the actions")
    if first.id in values:
        raise ValueError(f"action {first.id!r} is what the branches compare with; it can't be in one")
    return [
        _after(first, []),
        *(
            _only_if(_after(action, [first.id]), f"{compared} == {_literal(values[action.id])}")
            if action.id in values
            else _after(action, [])
            for action in planned
            if action.id != first.id
        ),
    ]


def create_retry_with_fallback(primary: Planned, fallback: Planned) -> list[PlannedAction]:
    """Return both actions so that the fallback runs only where the primary has failed, after all its retries.

        create_retry_with_fallback(primary=charge_card, fallback=send_invoice)

    The fallback becomes the alternative of the primary, and its output the primary's output. For a second fallback,
    call this again with the first fallback as the primary.

    Raises ValueError where the primary has another alternative already. That one would become an ordinary action, which
    always runs.
    """
    first, second = _after(as_planned(primary), []), _after(as_planned(fallback), [])
    if first.error_handling.alternative_action_id not in (None, second.id):
        raise ValueError(
            f"action {first.id!r} has the alternative {first.error_handling.alternative_action_id!r} already; "
            f"give {second.id!r} to that one as its fallback"
        )
    handling = first.error_handling.model_copy(update={"alternative_action_id": second.id})
    return [first.model_copy(update={"error_handling": handling}), second]


def create_batch_processing(
    items: Sequence[Mapping[str, JsonValue]], template: Planned, batch_size: int
) -> list[PlannedAction]:
    """Return one action for each item, so that at most `batch_size` of them run at a time.

        create_batch_processing([{"id": 1}, {"id": 2}, {"id": 3}], {"id": "send", "actionDefinitionId": "mail"}, 2)

    Each action is a copy of the template. Its inputs are the template's with the item's keys over them, and its id is
    the template's with a number: `send_0`, `send_1` and so on. A batch depends on all of the batch before it. For a
    list that is known only while the plan runs, use `forEach` of an action instead.

    Raises ValueError for a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, not {batch_size}")
    pattern = as_planned(template)
    actions: list[PlannedAction] = []
    for start in range(0, len(items), batch_size):
        before = [action.id for action in actions[max(0, start - batch_size) : start]]
        actions += [
            _after(pattern, before).model_copy(
                update={"id": f"{pattern.id}_{number}", "inputs": deepcopy({**pattern.inputs, **items[number]})}
            )
            for number in range(start, min(start + batch_size, len(items)))
        ]
    return actions


def _after(action: PlannedAction, ahead: Iterable[str]) -> PlannedAction:
    """Return a copy of the action that depends on these actions as well, and shares nothing with the original."""
    dependencies = list(dict.fromkeys([*action.dependencies, *ahead]))
    return action.model_copy(deep=True, update={"dependencies": dependencies})


def _only_if(action: PlannedAction, expression: str) -> PlannedAction:
    if action.condition is None:
        return action.model_copy(update={"condition": Condition.model_validate({"if": expression})})
    old = action.condition.if_.strip()
    if parse_reference(old) is not None:
        # Alone, a reference holds by its truth value; in an expression, CEL wants true or false.
        old = f'!({old} in [null, false, 0, "", [], {{}}])'
    # A comment goes on to the end of its line, and would take the rest along.
    end = "\n" if "//" in old else ""
    both = f"({old}{end}) && ({expression})"
    return action.model_copy(update={"condition": action.condition.model_copy(update={"if_": both})})


def _literal(value: JsonValue) -> str:
    """Return a JSON value as a CEL literal, in which `${` does not read as a reference.

    The two are written alike, but for JSON's surrogate pairs. Raises ValueError for NaN and infinity.
    """
    return json.dumps(fit_integers(value), ensure_ascii=False, allow_nan=False).replace("${", "$${")


def _is_satisfied(state: Any) -> bool:
    if state is None:
        return False
    status = status_of(state)
    if status != ActionStatus.SKIPPED or isinstance(state, str):
        return bool(status == ActionStatus.COMPLETED)
    result = read_field(state, "result")
    return not (result and read_field(result, "blockedBy"))
