"""Graphs of names: their cycles, and their levels. Pure.

A graph maps each node to the nodes that it waits for. Everything is linear in nodes and edges, and nothing is
recursive: Python's stack has no room for a chain of 10,000 actions.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from workflow_state.errors import PlanValidationError
from workflow_state.wording import shown

_MAX_NODES_SHOWN: Final = 20
_MAX_CYCLES_SHOWN: Final = 20


def find_cycles(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return one cycle for each knot of nodes that reach each other, written [a, b, a] along the edges.

    Edges to nodes that are not in the graph are ignored. Tarjan's algorithm finds the knots, without recursion.
    """
    return [_cycle_within(knot, graph) for knot in _knots(graph)]


def find_levels(waits_for: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the level of each node: 0 where it waits for nothing, otherwise one more than its deepest dependency.

    Kahn's algorithm. Raises PlanValidationError for a node that waits for an unknown one, or for itself.
    """
    open_count = {name: len(set(ahead)) for name, ahead in waits_for.items()}
    dependents: dict[str, list[str]] = {name: [] for name in waits_for}
    for name, ahead in waits_for.items():
        for dependency in set(ahead):
            if dependency not in dependents:
                raise refuse_graph("unknown_dependency", f"{name} depends on {dependency}, which is not in the plan")
            dependents[dependency].append(name)
    level_of = {name: 0 for name, count in open_count.items() if count == 0}
    ready = deque(level_of)
    while ready:
        name = ready.popleft()
        for dependent in dependents[name]:
            open_count[dependent] -= 1
            if open_count[dependent] == 0:
                # The queue is first in, first out. So the dependency that comes last is one of the deepest.
                level_of[dependent] = level_of[name] + 1
                ready.append(dependent)
    if len(level_of) < len(waits_for):
        raise refuse_graph(
            "circular_dependency", f"these actions wait for each other: {show_cycles(find_cycles(waits_for))}"
        )
    return level_of


def refuse_graph(code: str, message: str) -> PlanValidationError:
    """Return the error for a graph that can't be put in order."""
    return PlanValidationError([{"code": code, "path": "/actions", "message": message}])


def show_cycle(cycle: Sequence[str]) -> str:
    """Return a cycle for a message, as in `a → b → a`. The middle of a long cycle is left out."""
    names = [shown(name) for name in cycle]
    if len(names) > _MAX_NODES_SHOWN:
        half = _MAX_NODES_SHOWN // 2
        names = [*names[:half], f"… {len(names) - 2 * half} more …", *names[-half:]]
    return " → ".join(names)


def show_cycles(cycles: Sequence[Sequence[str]]) -> str:
    """Return the first cycles for a message, separated by commas."""
    return ", ".join(map(show_cycle, cycles[:_MAX_CYCLES_SHOWN]))


def _knots(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the strongly connected components that hold a cycle (Tarjan), each in the order it was met."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    knots: list[list[str]] = []
    closed: set[str] = set()
    work: list[tuple[str, Iterator[str]]] = []

    def meet(node: str) -> None:
        number[node] = low[node] = len(number)
        open_nodes.append(node)
        work.append((node, iter([target for target in graph[node] if target in graph])))

    for root in graph:
        if root not in number:
            meet(root)
        while work:
            node, edges = work[-1]
            target = next(edges, None)
            if target is None:
                work.pop()
                if low[node] == number[node]:
                    knot = _close_knot(open_nodes, node)
                    closed.update(knot)
                    knots += [knot] if len(knot) > 1 or node in graph[node] else []
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
            elif target not in number:
                meet(target)
            elif target not in closed:
                low[node] = min(low[node], number[target])
    return knots


def _close_knot(open_nodes: list[str], first: str) -> list[str]:
    """Take a finished knot off the open nodes, and return it; `first` is the node of it that was met first."""
    knot: list[str] = []
    while not knot or knot[-1] != first:
        knot.append(open_nodes.pop())
    knot.reverse()
    return knot


def _cycle_within(knot: Sequence[str], graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a shortest cycle through the knot's first node."""
    first, members = knot[0], set(knot)
    came_from: dict[str, str] = {}
    waiting = deque([first])
    while waiting:
        node = waiting.popleft()
        for target in graph[node]:
            if target == first:
                way = [first]
                while node != first:
                    way.append(node)
                    node = came_from[node]
                return [first, *reversed(way)]
            if target in members and target not in came_from:
                came_from[target] = node
                waiting.append(target)
    raise AssertionError("every node of a knot is on a cycle")
