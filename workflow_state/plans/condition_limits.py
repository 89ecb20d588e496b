"""What a condition may cost: how long and how nested it may be, and how much data it may go through. Pure.

A CEL expression always ends, but it may take long. A macro runs its body for each element. `map` and `filter` copy what
they have collected for each element. A `map` after a `map` can double a text each time, until the memory is full. A
regular expression of twenty characters can stand for thousands of states. All the while the evaluation holds Python's
interpreter lock, and the worker's other threads stand still; one of them renews its leases. So an expression that could
take more than a few seconds is refused before it starts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from workflow_state.errors import ConditionError
from workflow_state.pattern_cost import count_states, is_too_much

MAX_CHARACTERS: Final = 1_000
MAX_NESTING: Final = 24
MAX_PATTERN_CHARACTERS: Final = 1_000

# These are CEL's own rules for tokens. If a quote were read differently here, a macro could hide in a literal.
_ESCAPED: Final = r"\\[^\r\n]"
TOKEN: Final = re.compile(
    r"(?P<literal>(?P<bytes>[bB])?(?:"
    r"""[rR](?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\r\n]*'|"[^"\r\n]*")"""
    rf"""|'''(?:[^\\]|{_ESCAPED})*?'''|\"\"\"(?:[^\\]|{_ESCAPED})*?\"\"\""""
    rf"""|'(?:[^'\\\r\n]|{_ESCAPED})*'|"(?:[^"\\\r\n]|{_ESCAPED})*"))"""
    r"""|(?P<reference>\$\{(?:[^}"]|"(?:[^"\\]|\\.)*")*\}?)"""
    r"|(?P<operator>===|!==)"
    r"|(?P<comment>//[^\r\n]*)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"""|(?P<quote>['"])""",
    re.DOTALL,
)

_MACROS: Final = ("all", "exists", "exists_one", "existsOne", "map", "filter")
_MACRO_CALL: Final = re.compile(rf"\.\s*(?P<macro>{'|'.join(_MACROS)})(?P<bracket>\s*\()(?:\s*(?P<variable>\w+)\s*,)?")
_MATCHES_CALL: Final = re.compile(r"\bmatches\s*\(")
_BOUND_NAME: Final = re.compile(r"\breference_\d+\b")
# A brace may be written as an escape; in verbose mode, blanks and remarks may stand within braces.
_HIDDEN_REPETITION: Final = re.compile(r"\\[xXuU0-7]|\(\?[a-zA-Z-]*x")
_MAX_SUMS_IN_MACRO: Final = 10
# A few seconds each on a slow machine. One step of a macro is a character of its body, or of a value read there.
_MAX_MACRO_STEPS: Final = 3_000_000
# Operators are ours, which costs some 5 µs each time (see `operators`).
_MAX_MACRO_OPERATIONS: Final = 1_000_000
_OPERATION: Final = re.compile(r"[=!<>]=|[-+*/%<>]|\bin\b|\bsize\b|\[")
# An element that map or filter has collected is copied again for each that follows, 50 ns each time. Nothing else runs.
_MAX_COLLECTED: Final = 2_000
# About 1 ns each: a character of what map or filter has collected, copied once more.
_MAX_COPY_STEPS: Final = 200_000_000
_MAX_COMPILE_STEPS: Final = 300_000_000
# Patterns are compiled for each element again, which costs as much as reading this many characters.
_COMPILE_CHARACTERS: Final = 10_000
_STATES_OF_UNKNOWN_PATTERN: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Body:
    """The body of one macro: the places of its brackets, the macro's name, and the variable for each element."""

    start: int
    end: int
    macro: str
    variable: str


@dataclass(frozen=True, slots=True)
class Macros:
    """The bodies of the macros in an expression."""

    bodies: tuple[_Body, ...]

    @property
    def variables(self) -> frozenset[str]:
        """The variables that the macros define."""
        return frozenset(body.variable for body in self.bodies)

    def hold(self, position: int) -> bool:
        """Return whether a position in the expression is in a macro's body."""
        return any(body.start < position < body.end for body in self.bodies)


def check_length(text: str) -> None:
    """Raise ConditionError for a text that is too long to be a condition."""
    if len(text) > MAX_CHARACTERS:
        raise ConditionError(f"the condition has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")


def find_macros(expression: str) -> Macros:
    """Return the macros of a CEL expression without comments.

    Raises ConditionError where they could take too long whatever the values, or where anything is nested too deeply.
    """
    bare = _without_literals(expression)
    calls = {call.end("bracket") - 1: call for call in _MACRO_CALL.finditer(bare)}
    if sum(call["macro"] == "map" for call in calls.values()) > 1:
        raise ConditionError("the condition has more than one map; use one, and let an action prepare the rest")
    bodies: list[_Body] = []
    open_brackets: list[int] = []
    for position, character in enumerate(bare):
        if character in "([{":
            if position in calls and any(opened in calls for opened in open_brackets):
                raise ConditionError("the condition nests all, exists, exists_one, map or filter; use one at a time")
            open_brackets.append(position)
            if len(open_brackets) > MAX_NESTING:
                raise ConditionError(f"the condition has more than {MAX_NESTING} brackets within each other")
        elif character in ")]}" and open_brackets and (opened := open_brackets.pop()) in calls:
            bodies.append(_Body(opened, position, calls[opened]["macro"], calls[opened]["variable"] or ""))
    # The parser goes as deep for a chain of signs as for brackets.
    if re.search(rf"(?:[!-]\s*){{{MAX_NESTING + 1},}}", bare):
        raise ConditionError(f"the condition has more than {MAX_NESTING} signs before one value")
    if any(bare.count("+", body.start, body.end) > _MAX_SUMS_IN_MACRO for body in bodies):
        raise ConditionError(f"the condition adds more than {_MAX_SUMS_IN_MACRO} times for each element; add less")
    return Macros(tuple(bodies))


def check_cost(expression: str, macros: Macros, values: Mapping[str, JsonValue]) -> None:
    """Raise ConditionError where evaluating the expression with these values could take more than a few seconds."""
    bare = _without_literals(expression)
    calls = [(call, macros.hold(call.start())) for call in _MATCHES_CALL.finditer(bare)]
    if not macros.bodies and not calls:
        return
    read = [(match.start(), values[match[0]]) for match in _BOUND_NAME.finditer(bare) if match[0] in values]
    extents = [_extent(value) for _, value in read]
    # A literal list has at most as many elements as there are commas.
    elements = 1 + bare.count(",") + sum(items for items, _ in extents)
    body_characters = sum(body.end - body.start for body in macros.bodies)
    body_characters += sum(len(json.dumps(value)) for position, value in read if macros.hold(position))
    operations = elements * sum(len(_OPERATION.findall(bare, body.start, body.end)) for body in macros.bodies)
    if operations > _MAX_MACRO_OPERATIONS:
        raise ConditionError(
            f"the condition computes {operations} times, for up to {elements} elements, which would take too long; "
            "refer to smaller parts"
        )
    if macros.bodies and elements * body_characters > _MAX_MACRO_STEPS:
        raise ConditionError(
            f"the condition goes through up to {elements} elements and reads {body_characters} characters for each, "
            "which would take too long; refer to smaller parts"
        )
    all_characters = len(expression) + sum(len(json.dumps(value)) for _, value in read)
    copied = 0
    for body in macros.bodies:
        if body.macro == "filter":
            copied += elements * all_characters
        elif body.macro == "map":
            uses = max(1, bare.count(body.variable, body.start, body.end) - 1)
            copied += elements * (elements * body_characters + uses * all_characters)
    if copied > _MAX_COPY_STEPS or (copied and elements > _MAX_COLLECTED):
        raise ConditionError(
            f"the condition collects up to {elements} elements with map or filter, which would take too long; use "
            "exists or all, or refer to smaller parts"
        )
    text_characters = len(expression) + sum(characters for _, characters in extents)
    states = [_states_of_argument(expression, call.end()) for call, _ in calls]
    times = [elements if is_repeated else 1 for _, is_repeated in calls]
    compiled = sum(count * _COMPILE_CHARACTERS * size for count, size in zip(times, states, strict=True) if count > 1)
    read_characters = text_characters * sum(times)
    if compiled > _MAX_COMPILE_STEPS or (calls and is_too_much(read_characters, sum(states))):
        raise ConditionError(
            f"the condition's matches would read up to {text_characters} characters with a pattern too large for so "
            "many; refer to a shorter text, or repeat less in the pattern"
        )


def check_match(text: str, pattern: str) -> None:
    """Raise ConditionError where matching the text with the pattern could take more than a few seconds."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ConditionError(f"the pattern has {len(pattern)} characters; at most {MAX_PATTERN_CHARACTERS} are allowed")
    if is_too_much(len(text), _count_states(pattern)):
        raise ConditionError(
            f"the pattern is too large for a text of {len(text)} characters; repeat less in it, or check a shorter text"
        )


def _without_literals(expression: str) -> str:
    return TOKEN.sub(lambda token: " " * len(token[0]) if token["literal"] else token[0], expression)


def _states_of_argument(expression: str, start: int) -> int:
    """Return the states of the pattern whose literal starts at `start`; those of a large one where it is no literal."""
    while expression[start : start + 1].isspace():
        start += 1
    literal = TOKEN.match(expression, start)
    if literal is None or not literal["literal"] or not expression[literal.end() :].lstrip().startswith(")"):
        return _STATES_OF_UNKNOWN_PATTERN
    return _count_states(literal[0])


def _count_states(pattern: str) -> int:
    """Return about how many states a pattern has, which may be written as a literal."""
    return _STATES_OF_UNKNOWN_PATTERN if _HIDDEN_REPETITION.search(pattern) else count_states(pattern)


def _extent(root: Any) -> tuple[int, int]:
    """Return the length of the longest list or object in a value, and that of its longest text."""
    elements = characters = 0
    pending = [root]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            characters = max(characters, len(value))
        elif isinstance(value, (list, dict)):
            elements = max(elements, len(value))
            characters = max([characters, *map(len, value)]) if isinstance(value, dict) else characters
            pending.extend(value.values() if isinstance(value, dict) else value)
    return elements, characters
