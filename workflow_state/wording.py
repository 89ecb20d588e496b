"""Words for messages: a value shown in a few characters, a place within a value, and the nearest known name."""

import json
import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from heapq import nlargest, nsmallest
from itertools import islice
from typing import Any, Final

_MAX_TEXT_SHOWN: Final = 80
_MAX_KEYS_SHOWN: Final = 10
# Comparing takes time quadratic in the length of the names, and linear in their number.
_MAX_NAME_COMPARED: Final = 64
_MAX_NAMES_COMPARED: Final = 1_000
_MAX_LIKELY: Final = 20
_LIKENESS: Final = 0.6
# Line ends and tabs may stand in a text that is shown to people. No other control character may.
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def shown(text: str) -> str:
    """Return a text as it may stand in a message: at most 80 characters of it, and no half of a surrogate pair.

    JSON text with half of a pair could not be stored.
    """
    short = text if len(text) <= _MAX_TEXT_SHOWN else f"{text[:_MAX_TEXT_SHOWN]}…"
    return short.encode("utf-8", "backslashreplace").decode()


def find_control_character(text: str) -> str:
    r"""Return the first control character of a text as `U+001B`, or an empty text; line ends and tabs are none.

    >>> find_control_character("a\x1b[31m"), find_control_character("two\nlines")
    ('U+001B', '')
    """
    found = _CONTROL_CHARACTER.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def describe(value: Any) -> str:
    """Return in a few words what a JSON value is, without its contents: its keys, its length or its type.

    >>> describe({"name": "Ada"}), describe([1, 2]), describe(None)
    ('an object with the keys name', 'a list of length 2', 'null')
    """
    if isinstance(value, dict):
        if not value:
            return "an empty object"
        # Not sorted as a whole: there may be a million.
        listed = ", ".join(map(shown, nsmallest(_MAX_KEYS_SHOWN, map(str, value))))
        more = f" and {len(value) - _MAX_KEYS_SHOWN} more" if len(value) > _MAX_KEYS_SHOWN else ""
        return f"an object with the keys {listed}{more}"
    if isinstance(value, list):
        return f"a list of length {len(value)}"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def write_path(path: Iterable[str | int]) -> str:
    """Return the keys and indexes that lead to a place in a value, written as in a reference.

    >>> write_path(["items", 0, "any key"])
    '.items[0]["any key"]'
    """
    return "".join(map(_write_step, path))


def _write_step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{json.dumps(step, ensure_ascii=False)}]"


def find_near_miss(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, or None where none is near.

    Only the first 1,000 known names and the first 64 characters are compared, and letter by letter only those 20 that
    have most letters in common.
    """
    candidates = [other for other in islice(known, _MAX_NAMES_COMPARED) if len(other) <= _MAX_NAME_COMPARED]
    matcher: SequenceMatcher[str] = SequenceMatcher()
    written = name[:_MAX_NAME_COMPARED]
    matcher.set_seq2(written)
    likely: list[tuple[float, str]] = []
    for candidate in candidates:
        matcher.set_seq1(candidate)
        # Comparing letter by letter takes a hundred times as long as comparing which letters there are.
        if matcher.real_quick_ratio() >= _LIKENESS and (likeness := matcher.quick_ratio()) >= _LIKENESS:
            likely.append((likeness, candidate))
    near = get_close_matches(written, [candidate for _, candidate in nlargest(_MAX_LIKELY, likely)], n=1)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean …?`, or nothing where no known name is near."""
    near = find_near_miss(name, known)
    return f"did you mean '{shown(near)}'?" if near else ""
