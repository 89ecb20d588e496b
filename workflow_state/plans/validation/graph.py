"""Checking the dependency graph of a plan: unknown and circular dependencies, and alternatives; and its repair."""

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from workflow_state.errors import PlanProblem
from workflow_state.plans.graphs import find_cycles, show_cycle
from workflow_state.plans.levels import TOO_MANY_SHARE, find_places, find_waiting, leads_to
from workflow_state.plans.validation.outline import ActionOutline, PlanOutline
from workflow_state.wording import shown

_MAX_IDS_SHOWN: Final = 10
# How many actions may be visited while it is found out whether the dependencies that a fix adds make a cycle.
_MAX_VISITS: Final = 100_000
# The fix has the whole list of dependencies. A longer list is given once, beside the first of its problems.
_MAX_REPEATED_FIX: Final = 50


def check_dependencies(plan: PlanOutline, action: ActionOutline) -> None:
    """Report dependencies of an action that are itself, that are no action of the plan, or that are listed twice."""
    seen: set[str] = set()
    for index, dependency in enumerate(action.dependencies or ()):
        if not isinstance(dependency, str):
            continue
        path = f"{action.path}/dependencies/{index}"
        name = shown(dependency)
        if dependency in seen:
            action.removable.append(
                plan.report("schema", path, f"the dependency '{name}' is listed twice", "remove it")
            )
        elif dependency == action.id:
            message = f"'{name}' depends on itself ({name} → {name}), so it could never start"
            action.removable.append(plan.report("self_dependency", path, message, "remove it"))
        elif dependency not in plan.by_id:
            suggestion = _suggest_dependency(plan, action, dependency)
            plan.report("unknown_dependency", path, f"the plan has no action '{name}'", suggestion)
        seen.add(dependency)


def _suggest_dependency(plan: PlanOutline, action: ActionOutline, dependency: str) -> str:
    """Return what was probably meant; never the action itself, nor one that waits for it."""
    near = plan.find_near(dependency, (known for known in plan.by_id if known != action.id))
    if near and not waits_for(plan, near, action.id):
        return f"did you mean '{shown(near)}'?"
    few = len(plan.by_id) <= _MAX_IDS_SHOWN
    return f"the actions of the plan are {', '.join(map(shown, plan.by_id))}" if few else ""


def waits_for(plan: PlanOutline, name: str, other: str) -> bool:
    """Return whether an action waits for another, or so many that nobody looks: then the other can't wait for it."""
    return _count_until_reached(_dependency_graph(plan), [name], {other}, _MAX_VISITS) is None


def check_cycles(plan: PlanOutline) -> None:
    """Report one cycle for each knot of actions that wait for each other."""
    for cycle in find_cycles(_dependency_graph(plan)):
        action = plan.by_id[cycle[0]]
        entries = action.dependencies or []
        # One of the two is among the dependencies, whichever way round the cycle is written.
        following = next((name for name in (cycle[1], cycle[-2]) if name in entries), None)
        path = f"{action.path}/dependencies" + (f"/{entries.index(following)}" if following else "")
        message = f"these actions wait for each other: {show_cycle(cycle)}"
        plan.report("circular_dependency", path, message, "remove one of these dependencies")


def check_alternatives(plan: PlanOutline) -> None:
    """Report alternatives that are no action of the plan, that lead back to their primary, or could not run in time."""
    alternatives: dict[str, str] = {}
    paths: dict[str, str] = {}
    for action in plan.actions:
        key, handling = action.find("errorHandling")
        if not isinstance(handling, Mapping):
            continue
        name_key = "alternativeActionId" if "alternativeActionId" in handling else "alternative_action_id"
        name = handling.get(name_key)
        if not isinstance(name, str):
            continue
        path = f"{action.path}/{key}/{name_key}"
        if name == action.id:
            message = f"'{shown(name)}' can't be its own alternative"
            plan.report("alternative_cycle", path, message, "name another action, or use fallbackValue")
        elif name not in plan.by_id:
            suggestion = plan.suggest(name, _possible_alternatives(plan, action))
            plan.report("unknown_alternative", path, f"the plan has no action '{shown(name)}'", suggestion)
        elif plan.by_id[name].find("forEach")[1] is not None:
            message = f"the alternative '{shown(name)}' has a forEach, but an alternative runs once"
            plan.report("schema", path, message, "name an action without forEach")
        elif action.id:
            alternatives.setdefault(action.id, name)
            paths.setdefault(action.id, path)
    for cycle in find_cycles({primary: [name] for primary, name in alternatives.items()}):
        message = f"these alternatives lead back to where they started: {show_cycle(cycle)}"
        plan.report("alternative_cycle", paths[cycle[0]], message, "end the chain with an action without alternative")
        for name in cycle:
            alternatives.pop(name, None)
    plan.alternatives = alternatives
    _check_alternatives_can_run(plan, paths)


def _possible_alternatives(plan: PlanOutline, action: ActionOutline) -> list[str]:
    """Return the actions that may run in place of this one: without forEach, and with an end in their own chain."""
    return [
        name
        for name, other in plan.by_id.items()
        if name != action.id and other.find("forEach")[1] is None and action.id not in _handling_names(other)
    ]


def _handling_names(action: ActionOutline) -> list[Any]:
    _, handling = action.find("errorHandling")
    return [*handling.values()] if isinstance(handling, Mapping) else []


def offer_dependency_fixes(plan: PlanOutline) -> None:
    """Add to the problems with dependencies the patch that repairs them, where it certainly makes no cycle.

    A patch sets the whole list of an action. So the patches of several problems can be applied in any order, and each
    one alone.
    """
    if not any(action.removable or action.missing for action in plan.actions):
        return
    places = find_places(plan.alternatives)
    waiting = find_waiting(_dependency_graph(plan), places)
    visits_left = _MAX_VISITS if waiting.is_complete else 0
    for action in plan.actions:
        mended = list(action.removable)
        added: list[str] = []
        for name, problem in action.missing.items():
            own = places.get(action.id) or {action.id: None}
            ahead = [place for place in places.get(name) or (name,) if place not in own]
            # An action in the same place can make no cycle, unless it is the alternative of this very action.
            if (not ahead and leads_to(plan.alternatives, action.id, name)) or not action.id:
                continue
            visited = _count_until_reached(waiting.graph, ahead, own, visits_left)
            visits_left -= len(own) + (visited or 0)
            if visited is None or visits_left <= 0:
                continue
            for place in own:
                waiting.graph[place].extend(ahead)
            added.append(name)
            mended.append(problem)
        _attach_fix(action, mended, added)


def _attach_fix(action: ActionOutline, mended: Sequence[PlanProblem], added: Sequence[str]) -> None:
    kept = [name for name in action.dependencies or () if name != action.id]
    # Entries that are not text can't be compared as keys; the author has to repair them.
    texts = dict.fromkeys(name for name in [*kept, *added] if isinstance(name, str))
    value = [*texts, *(name for name in kept if not isinstance(name, str))]
    operation = "replace" if "dependencies" in action.raw else "add"
    fix = [{"op": operation, "path": f"{action.path}/dependencies", "value": value}]
    for problem in mended if len(value) <= _MAX_REPEATED_FIX else mended[:1]:
        problem["fix"] = fix


def _count_until_reached(
    graph: Mapping[str, Sequence[str]], starts: Iterable[str], goals: Container[str], limit: int
) -> int | None:
    """Return how many actions the starts wait for; None where a goal is among them, or too many to look at."""
    seen = set(starts)
    pending = list(seen)
    while pending:
        name = pending.pop()
        if name in goals or len(seen) > limit:
            return None
        fresh = [other for other in graph.get(name, ()) if other not in seen]
        seen.update(fresh)
        pending.extend(fresh)
    return len(seen)


def _check_alternatives_can_run(plan: PlanOutline, paths: Mapping[str, str]) -> None:
    """Report alternatives that would have to wait for what waits for their primary."""
    graph = _dependency_graph(plan)
    for primary in plan.alternatives:
        for name in graph[primary]:
            if leads_to(plan.alternatives, primary, name):
                _report_waiting_alternative(plan, paths[primary], name, [primary, name, primary])
    waiting = find_waiting(graph, find_places(plan.alternatives))
    if not waiting.is_complete:
        advice = "give each action an alternative with few dependencies"
        plan.report("plan_too_large", "/actions", TOO_MANY_SHARE, advice)
        return
    for cycle in find_cycles(waiting.graph) if plan.alternatives else ():
        standby = next((waiting.causes[edge] for edge in pairwise(cycle) if edge in waiting.causes), None)
        # A cycle of dependencies alone has been reported already.
        if standby is not None:
            primary, name = standby
            _report_waiting_alternative(plan, paths[primary], name, cycle)


def _report_waiting_alternative(plan: PlanOutline, path: str, name: str, cycle: Sequence[str]) -> None:
    message = f"the alternative '{shown(name)}' can't run in time, these wait for each other: {show_cycle(cycle)}"
    advice = f"let '{shown(name)}' depend only on actions that do not wait for the one in whose place it runs"
    plan.report("circular_dependency", path, message, advice)


def _dependency_graph(plan: PlanOutline) -> dict[str, list[str]]:
    """Return who depends on whom, without what is reported already: unknown ids, and actions on themselves."""
    graph: dict[str, list[str]] = {name: [] for name in plan.by_id}
    for action in plan.actions:
        if action.id:
            known = (name for name in action.dependency_names if name in graph and name != action.id)
            graph[action.id].extend(known)
    return graph
