"""Patterns with `*`, as lists of names in settings and submissions have them. Pure functions.

    fits("crm.customer", ["crm.*", "mail.send"])            True

`*` stands for any text, also for none. Every other character stands for itself, and case counts.
"""

from collections.abc import Iterable

LONGEST_PATTERN = 256


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns fits the whole name."""
    return any(_fits(name, pattern) for pattern in patterns)


def find_pattern_problem(pattern: object) -> str | None:
    """Return why something is no pattern, to be read after its place in the list, or None where it is one."""
    if not isinstance(pattern, str):
        return "is no text"
    if not pattern.strip():
        return "is empty"
    if len(pattern) > LONGEST_PATTERN:
        return f"has more than {LONGEST_PATTERN} characters"
    return None


def _fits(name: str, pattern: str) -> bool:
    """Compare in linear time: each part between two asterisks is looked for once, as far left as it can be."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *middle, last = rest
    if not (name.startswith(first) and name.endswith(last) and len(name) >= len(first) + len(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
