"""Where the problems of a plan are, for people: in which action, and in which line of its text.

Only a plan that has problems is looked at. The text is read once, and what has no problem in it is skipped as fast as
Python's JSON parser goes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from workflow_state.errors import PlanProblem
from workflow_state.plans.references import escape_pointer
from workflow_state.wording import shown

_DECODER: Final = json.JSONDecoder(strict=False)

# The keys that lead to places, as nested objects: {"actions": {"0": {"id": {}}}}.
_Tree = dict[str, Any]


def name_actions(problems: Iterable[PlanProblem], data: Any) -> list[PlanProblem]:
    """Return the problems, each with the `action` of the plan in which it is."""
    return [_with_action(problem, data) for problem in problems]


def name_lines(problems: Sequence[PlanProblem], text: str) -> list[PlanProblem]:
    """Return the problems, each with its `line` in the JSON text that the plan was read from; "" where it was none."""
    if not text:
        return [*problems]
    lines = find_lines(text, [problem["path"] for problem in problems])
    return [_with_line(problem, lines.get(problem["path"])) for problem in problems]


def find_lines(text: str, pointers: Iterable[str]) -> dict[str, int]:
    r"""Return the line of each JSON Pointer in a JSON text, from 1; linear in the text.

    >>> find_lines('{\n"actions": [\n{"id": 1},\n{"id": 2}]}', ["/actions/1/id", "/actions/0/colour"])
    {'/actions/1/id': 4, '/actions/0/colour': 3}

    A place that is not there has the line of what is around it. The whole document has none. Of a key that an object
    has twice, the last one counts. The text has to be JSON.
    """
    wanted = [pointer for pointer in dict.fromkeys(pointers) if pointer]
    tree: _Tree = {}
    for pointer in wanted:
        below = tree
        for token in pointer.split("/")[1:]:
            below = below.setdefault(token, {})
    starts = dict(_iterate_starts(text, tree)) if tree else {}
    line_of_start = _count_lines(text, starts.values())
    return {pointer: line_of_start[start] for pointer in wanted if (start := _nearest(pointer, starts)) is not None}


def _with_action(problem: PlanProblem, data: Any) -> PlanProblem:
    _, *tokens = problem["path"].split("/")
    if len(tokens) < 2 or tokens[0] != "actions" or not isinstance(data, Mapping):  # noqa: PLR2004 - the list, its index
        return problem
    actions, index = data.get("actions"), tokens[1]
    is_there = isinstance(actions, list) and index.isascii() and index.isdecimal() and int(index) < len(actions)
    action = actions[int(index)] if isinstance(actions, list) and is_there else None
    action_id = action.get("id") if isinstance(action, Mapping) else None
    if not isinstance(action_id, str) or not action_id:
        return problem
    # The place comes first where a problem is printed as JSON.
    return {"code": problem["code"], "path": problem["path"], "action": shown(action_id), **problem}


def _with_line(problem: PlanProblem, line: int | None) -> PlanProblem:
    if line is None:
        return problem
    place = {name: problem[name] for name in ("code", "path", "action") if name in problem}
    return {**place, "line": line, **problem}  # type: ignore[typeddict-item]


def _iterate_starts(text: str, tree: _Tree) -> Iterator[tuple[str, int]]:
    """Yield each pointer of the tree that is there, and where its key or its entry begins."""
    # What is inside of what is being read: (the pointer, the tree below it, the index of the next entry, or None).
    begin = _skip(text, 0)
    position = begin + 1
    open_values: list[tuple[str, _Tree, int | None]] = [("", tree, 0 if text[begin] == "[" else None)]
    if text[begin] not in "[{":
        return
    while open_values:
        pointer, below, index = open_values.pop()
        position = _skip(text, position, ",")
        if text[position] in "]}":
            position += 1
            continue
        start = position
        if index is None:
            key, position = _DECODER.raw_decode(text, position)
            position = _skip(text, position, ":")
        else:
            key = index
        open_values.append((pointer, below, None if index is None else index + 1))
        inner = below.get(token := escape_pointer(key))
        if inner is not None:
            yield f"{pointer}/{token}", start
        if inner and text[position] in "[{":
            open_values.append((f"{pointer}/{token}", inner, 0 if text[position] == "[" else None))
            position += 1
        else:
            _, position = _DECODER.raw_decode(text, position)


def _skip(text: str, position: int, separator: str = "") -> int:
    """Return the position after space, the separator where it is there, and more space."""
    while text[position] in " \t\n\r" or text[position] == separator:
        position += 1
    return position


def _count_lines(text: str, starts: Iterable[int]) -> dict[int, int]:
    lines: dict[int, int] = {}
    line, counted = 1, 0
    for start in sorted(starts):
        line += text.count("\n", counted, start)
        lines[start], counted = line, start
    return lines


def _nearest(pointer: str, starts: Mapping[str, int]) -> int | None:
    while pointer and pointer not in starts:
        pointer = pointer.rpartition("/")[0]
    return starts.get(pointer)
