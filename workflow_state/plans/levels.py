"""The levels in which the actions of a plan run, and the places of its alternatives in them.

An alternative is on standby: it is in no level, and runs when its primary has failed, at once and in the primary's
place. So the primary comes after everything that the alternative depends on, and what depends on the alternative comes
after the primary. An alternative of an alternative has the same place. An alternative that several actions share has
several places.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from workflow_state.plans.graphs import find_cycles, find_levels, refuse_graph, show_cycles
from workflow_state.schema import PlannedAction

# A shared alternative has an edge from each action that shares it to each action that it depends on.
_MAX_EDGES: Final = 500_000
_MAX_CHAIN: Final = 1_000
TOO_MANY_SHARE: Final = "too many actions share alternatives that depend on many actions"

Places = Mapping[str, Mapping[str, None]]
Planned = PlannedAction | Mapping[str, Any]


@dataclass(slots=True)
class Waiting:
    """The graph of the actions that are in levels: `graph` maps each to those that it waits for.

    An edge may be there because of an alternative, and be no dependency. Then `causes` maps it to the primary and the
    alternative. `is_complete` is False where there would have been too many edges.
    """

    graph: dict[str, list[str]]
    causes: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    is_complete: bool = True


def find_places(alternatives: Mapping[str, str]) -> dict[str, dict[str, None]]:
    """Return for each alternative the actions in levels in whose place it may run.

    `alternatives` maps primaries to alternatives, and has no cycle. The search ends where there are too many places;
    `find_waiting` tells that.
    """
    primaries_left = Counter(alternatives.values())
    places: dict[str, dict[str, None]] = {}
    ready = [name for name in alternatives if name not in primaries_left]
    size = 0
    while ready and size <= _MAX_EDGES:
        name = ready.pop()
        if name not in alternatives:
            continue
        alternative = alternatives[name]
        own = places.get(name) or {name: None}
        places.setdefault(alternative, {}).update(own)
        size += len(own)
        primaries_left[alternative] -= 1
        if not primaries_left[alternative]:
            ready.append(alternative)
    return places


def find_waiting(dependencies: Mapping[str, Sequence[str]], places: Places) -> Waiting:
    """Return which action waits for which, among those in levels; incomplete where there would be 500,000 edges."""
    waiting = Waiting({name: [] for name in dependencies if name not in places})
    if sum(map(len, places.values())) > _MAX_EDGES:
        waiting.is_complete = False
        return waiting
    edges_left = _MAX_EDGES
    for name, ahead in dependencies.items():
        own = places.get(name) or {name: None}
        if name not in places and places.keys().isdisjoint(ahead):
            waiting.graph[name].extend(ahead)
            continue
        for dependency in ahead:
            others = places.get(dependency) or {dependency: None}
            edges_left -= len(own) * len(others)
            if edges_left < 0:
                waiting.is_complete = False
                return waiting
            for place in own:
                _add_edges(waiting, (place, name), (others, dependency))
    return waiting


def _add_edges(waiting: Waiting, one: tuple[str, str], other: tuple[Mapping[str, None], str]) -> None:
    """Let a place wait for the places of a dependency of the action that may run there."""
    place, name = one
    others, dependency = other
    for ahead in others:
        # An action that names itself stays as it is, to be refused.
        if ahead == place and dependency != name:
            continue
        waiting.graph[place].append(ahead)
        if name != place:
            waiting.causes.setdefault((place, ahead), (place, name))
        elif dependency != ahead:
            waiting.causes.setdefault((place, ahead), (ahead, dependency))


def leads_to(alternatives: Mapping[str, str], primary: str, name: str) -> bool:
    """Return whether `name` is the alternative of `primary`, or of its alternative, and so on."""
    for _ in range(_MAX_CHAIN):
        if primary not in alternatives:
            return False
        primary = alternatives[primary]
        if primary == name:
            return True
    return False


def schedule_levels(actions: Sequence[Planned]) -> list[list[PlannedAction]]:
    """Return the levels that the engine runs, without the alternatives, which are on standby.

    An alternative must be able to start the moment its primary has failed. So its primary comes after everything that
    the alternative depends on, and what depends on the alternative comes after the primary. A dependency between an
    alternative and the action in whose place it runs is left out.

    Raises PlanValidationError as group_actions_by_dependency_level does, for alternatives that lead back to where they
    started, and where so many actions share alternatives that their order can't be found.
    """
    planned = [as_planned(action) for action in actions]
    by_id = {action.id: action for action in planned}
    alternatives = {
        action.id: name
        for action in planned
        if (name := action.error_handling.alternative_action_id) is not None and name in by_id
    }
    if cycles := find_cycles({primary: [name] for primary, name in alternatives.items()}):
        message = f"these alternatives lead back to where they started: {show_cycles(cycles)}"
        raise refuse_graph("alternative_cycle", message)
    waiting = find_waiting({action.id: action.dependencies for action in planned}, find_places(alternatives))
    if not waiting.is_complete:
        raise refuse_graph("plan_too_large", TOO_MANY_SHARE)
    return group_by_level([action for action in planned if action.id in waiting.graph], waiting.graph)


def as_planned(action: Planned) -> PlannedAction:
    """Return the action as a model; it may be JSON data."""
    return action if isinstance(action, PlannedAction) else PlannedAction.model_validate(action)


def group_by_level(
    actions: Sequence[PlannedAction], waits_for: Mapping[str, Sequence[str]]
) -> list[list[PlannedAction]]:
    """Return the actions level by level, each level in their order; `waits_for` is the graph of their ids.

    Raises PlanValidationError for an id that occurs twice, and for a graph that has no order.
    """
    if len(waits_for) < len(actions):
        twice = next(name for name, count in Counter(action.id for action in actions).items() if count > 1)
        raise refuse_graph("duplicate_action_id", f"{twice} is the id of more than one action")
    level_of = find_levels(waits_for)
    levels: list[list[PlannedAction]] = [[] for _ in range(max(level_of.values(), default=-1) + 1)]
    for action in actions:
        levels[level_of[action.id]].append(action)
    return levels


def show_levels(actions: Sequence[PlannedAction]) -> list[list[PlannedAction]]:
    """Return all actions level by level as people see them, each alternative behind its primary.

    Raises PlanValidationError as schedule_levels does.
    """
    levels = schedule_levels(actions)
    return beside_primaries(levels, find_standby(actions, levels))


def find_standby(actions: Iterable[PlannedAction], levels: Iterable[Iterable[PlannedAction]]) -> list[PlannedAction]:
    """Return the actions that are in none of the plan's levels, in their order: its alternatives."""
    in_levels = {action.id for level in levels for action in level}
    return [action for action in actions if action.id not in in_levels]


def beside_primaries(
    levels: Iterable[Iterable[PlannedAction]], standby: Iterable[PlannedAction]
) -> list[list[PlannedAction]]:
    """Return the levels with each action on standby behind the first action in whose place it may run."""
    waiting = {action.id: action for action in standby}
    shown: list[list[PlannedAction]] = []
    for level in levels:
        row: list[PlannedAction] = []
        for action in level:
            current: PlannedAction | None = action
            while current:
                row.append(current)
                current = waiting.pop(current.error_handling.alternative_action_id or "", None)
        shown.append(row)
    return shown
