"""What the operators of a condition do: JSON has one kind of number, and a text has characters. Pure.

CEL's own operators take 20 and 19.99 for different types, divide 5 by 2 to 2, and count the bytes of a text. A
condition is written for what a server answered, where a price may be either. So `expressions` has CEL call these
instead. Integers stay exact; a quotient that is no integer becomes a float.
"""

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

MAX_JOINED: Final = 2**20
"""How many characters, bytes or elements a sum of texts or lists may have."""

_INT64: Final = 2**63
_NUMBERS: Final = frozenset({int, float})
_SCALARS: Final = frozenset({int, float, str, bool})
_ORDERED: Final = (str, bytes, bool, datetime, timedelta)


def calculate(first: Any, *rest: Any) -> Any:
    """Return the value of `first + second - third …`, from left to right; `rest` is operator, operand, and so on.

    Raises TypeError for what does not go together, ZeroDivisionError, and OverflowError for an integer beyond 64 bits.
    """
    value = _CALCULATIONS[rest[0]](first, rest[1])
    for operator, operand in zip(rest[2::2], rest[3::2], strict=True):
        value = _CALCULATIONS[operator](value, operand)
    return value


def compare(first: Any, *rest: Any) -> Any:
    """Return whether `first < second` holds, or whatever the operator is; chains go from left to right.

    Raises TypeError for what has no order, such as a number and a text.
    """
    value = _COMPARISONS[rest[0]](first, rest[1])
    for operator, operand in zip(rest[2::2], rest[3::2], strict=True):
        value = _COMPARISONS[operator](value, operand)
    return value


def size(value: Any) -> int:
    """Return how many characters (code points), bytes, elements or entries a value has; TypeError for any other."""
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    raise TypeError("this has no size")


def to_index(value: Any) -> Any:
    """Return what an index stands for: 2.0 is the integer 2, anything else is itself."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_equal(actual: Any, value: Any) -> bool:
    """Compare as JSON does: 1 equals 1.0, and to Python true equals 1, at any depth. Iterative."""
    if type(actual) in _SCALARS and type(value) in _SCALARS:
        return bool(actual == value) and isinstance(actual, bool) == isinstance(value, bool)
    pending = [(actual, value)]
    while pending:
        one, other = pending.pop()
        if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
            pending.extend((item, other[key]) for key, item in one.items())
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pending.extend(zip(one, other, strict=True))
        elif isinstance(one, (dict, list)) or one != other or isinstance(one, bool) != isinstance(other, bool):
            return False
    return True


def _are_numbers(one: Any, other: Any) -> bool:
    # By the very type: true and false are integers to Python, and a macro asks this a hundred thousand times.
    return type(one) in _NUMBERS and type(other) in _NUMBERS


def _number(value: Any) -> Any:
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise OverflowError("overflow")
    return value


def _add(one: Any, other: Any) -> Any:
    if _are_numbers(one, other):
        return _number(one + other)
    if any(isinstance(one, kind) and isinstance(other, kind) for kind in (str, list, bytes)):
        if len(one) + len(other) > MAX_JOINED:
            raise OverflowError("too long")
    elif not _are_times(one, other):
        raise TypeError("no sum")
    return one + other


def _subtract(one: Any, other: Any) -> Any:
    if _are_numbers(one, other):
        return _number(one - other)
    if not _are_times(one, other):
        raise TypeError("no difference")
    return one - other


def _are_times(one: Any, other: Any) -> bool:
    return isinstance(one, (datetime, timedelta)) and isinstance(other, (datetime, timedelta))


def _multiply(one: Any, other: Any) -> Any:
    _require_numbers(one, other)
    return _number(one * other)


def _divide(one: Any, other: Any) -> Any:
    _require_numbers(one, other)
    if isinstance(one, int) and isinstance(other, int) and other and one % other == 0:
        return _number(one // other)
    return one / other


def _remainder(one: Any, other: Any) -> Any:
    """Return what is left over, with the sign of the first number, as in C and JavaScript."""
    _require_numbers(one, other)
    if other == 0:
        raise ZeroDivisionError("modulo by zero")
    if isinstance(one, int) and isinstance(other, int):
        left = abs(one) % abs(other)
        return -left if one < 0 else left
    return math.fmod(one, other)


def _require_numbers(one: Any, other: Any) -> None:
    if not _are_numbers(one, other):
        raise TypeError("no numbers")


def _is_less(one: Any, other: Any) -> bool:
    if not _are_numbers(one, other):
        _require_order(one, other)
    return bool(one < other)


def _is_at_most(one: Any, other: Any) -> bool:
    if not _are_numbers(one, other):
        _require_order(one, other)
    return bool(one <= other)


def _require_order(one: Any, other: Any) -> None:
    if not any(isinstance(one, kind) and isinstance(other, kind) for kind in _ORDERED):
        raise TypeError("no order")


def _is_in(one: Any, other: Any) -> bool:
    if isinstance(other, list):
        return any(is_equal(one, item) for item in other)
    if isinstance(other, dict):
        return not isinstance(one, (list, dict)) and one in other
    raise TypeError("no list")


_CALCULATIONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _remainder,
}
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": is_equal,
    "!=": lambda one, other: not is_equal(one, other),
    "<": _is_less,
    "<=": _is_at_most,
    ">": lambda one, other: _is_less(other, one),
    ">=": lambda one, other: _is_at_most(other, one),
    "in": _is_in,
}
