"""How much work a regular expression is for a text. Pure.

The engines of CEL and of JSON Schema take linear time: at most the characters of the text times the states of the
pattern, each about 20 ns. They hold the interpreter all the while. `[ab]{1,2000}c` has two thousand states.
"""

import re
from typing import Final

MAX_STEPS: Final = 5_000_000
"""Characters times states. These take a fifth of a second at worst."""
MAX_STEPS_OF_SMALL: Final = 100_000_000
"""The same for a small pattern, which an engine nearly always reads a text with in one step for each character."""
SMALL_STATES: Final = 256

_STATES_OF_UNKNOWN: Final = 20_000
# In verbose mode blanks and remarks may stand within braces, and a brace may be written as an escape.
_UNREADABLE: Final = re.compile(r"\(\?[a-zA-Z-]*x|\\(?:x|u)(?:00)?7[bB]|\\[xuU]\{")
_COUNTS: Final = re.compile(r"\{([0-9 ]{0,9})[0-9 ]*(?:,([0-9 ]{0,9})[0-9 ]*)?\}")
_START_OF_GROUP: Final = re.compile(r"\?(?:P?<[A-Za-z_]\w*>|[a-zA-Z-]*:)?")
# A class of Unicode is many ranges of bytes.
_WIDE: Final = re.compile(r"\\[wWdDsSpPbB]|\[\^|[^\x00-\x7f]")
_STATES_OF_WIDE: Final = 20


def count_states(pattern: str) -> int:
    """Return about how many states a pattern has. Repetitions within repetitions multiply.

    >>> count_states("[0-9a-f]{8}-[0-9a-f]{4}"), count_states("(?:[ab]{1,400}c){1,20}")
    (13, 8020)
    """
    if _UNREADABLE.search(pattern):
        return _STATES_OF_UNKNOWN
    groups, position = [[0, 0]], 0
    while position < len(pattern):
        group = groups[-1]
        sign = pattern[position]
        if sign == "{" and (counts := _COUNTS.match(pattern, position)):
            group[1] *= max([1, *(int(count) for count in counts.groups() if count and count.strip())])
            position = counts.end()
            continue
        if sign == "(":
            groups.append([0, 0])
            start = _START_OF_GROUP.match(pattern, position + 1)
            position = start.end() if start else position + 1
            continue
        end = position + 1
        if sign == ")" and len(groups) > 1:
            inner = sum(groups.pop())
            _add(groups[-1], inner)
        elif sign not in "*+?|^$":
            end = _end_of_atom(pattern, position)
            _add(group, _STATES_OF_WIDE if _WIDE.match(pattern[position:end]) else 1)
        position = end
    return max(1, sum(map(sum, groups)))


def is_too_much(characters: int, states: int) -> bool:
    """Return whether matching a text of so many characters would hold the interpreter for long."""
    return characters * states > (MAX_STEPS_OF_SMALL if states <= SMALL_STATES else MAX_STEPS)


def _add(group: list[int], states: int) -> None:
    """Add an atom to a group: what came before can't be repeated any more."""
    group[:] = [group[0] + group[1], states]


def _end_of_atom(pattern: str, position: int) -> int:
    if pattern[position] == "\\":
        close = pattern.find("}", position) if pattern[position + 2 : position + 3] == "{" else -1
        is_long = close > 0 and pattern[position + 1 : position + 2] in ("p", "P")
        return close + 1 if is_long else position + 2
    if pattern[position] != "[":
        return position + 1
    # A bracket that comes first is one of the characters.
    end = position + (2 if pattern[position + 1 : position + 2] == "^" else 1) + 1
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return min(end + 1, len(pattern))
