"""Where the alternatives of a plan stand in its graph.

An alternative is on standby: it runs in the place of its primary, at once, when that has failed. So its place in the
order is its primary's, which must come after all that the alternative depends on; and what depends on an alternative
comes after the place where it would run. An alternative of an alternative stands in the same place; one that several
actions share has several.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

# One shared alternative means an edge for each pair of who shares it and what it depends on.
_MAX_EDGES: Final = 500_000
_MAX_CHAIN: Final = 1_000

Places = Mapping[str, Mapping[str, None]]


@dataclass(slots=True)
class Waiting:
    """Who waits for whom, places only. `causes` has, for an edge that is no dependency, its primary and alternative."""

    graph: dict[str, list[str]]
    causes: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    is_complete: bool = True


def find_places(alternatives: Mapping[str, str]) -> dict[str, dict[str, None]]:
    """Return for each alternative the actions, no alternatives themselves, in whose places it may run.

    `alternatives` maps primaries to alternatives and has no cycle. Stops where there are too many places to go on.
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
    """Return the graph of the places; incomplete where it would have more than a few hundred thousand edges."""
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
    """Let a place, because of the action that may run there, wait for the places of a dependency."""
    place, name = one
    others, dependency = other
    for ahead in others:
        if ahead == place:
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
