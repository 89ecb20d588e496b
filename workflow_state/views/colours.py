"""The colours of pictures, light and dark, which people who see no red or green can tell apart. Pure.

A status is never shown by its colour alone. The pictures also say it in words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

PLANNED: Final = "planned"


@dataclass(frozen=True, slots=True)
class Colours:
    """One of the two colour schemes: the paper, the text on it, and for each status its line and its pale ground."""

    paper: str
    text: str
    muted: str
    grid: str
    line: Mapping[str, str]
    ground: Mapping[str, str]


LIGHT: Final = Colours(
    paper="#ffffff",
    text="#1f2328",
    muted="#59636e",
    grid="#d8dee4",
    line={
        PLANNED: "#57606a",
        "pending": "#8c959f",
        "running": "#0969da",
        "completed": "#00805a",
        "failed": "#c2410c",
        "skipped": "#9a6700",
    },
    ground={
        PLANNED: "#f3f5f8",
        "pending": "#ffffff",
        "running": "#d6eaff",
        "completed": "#d3f0e3",
        "failed": "#ffe1d3",
        "skipped": "#fff3c9",
    },
)
DARK: Final = Colours(
    paper="#0d1117",
    text="#e6edf3",
    muted="#9198a1",
    grid="#30363d",
    line={
        PLANNED: "#9aa4af",
        "pending": "#6e7681",
        "running": "#58a6ff",
        "completed": "#3fb98b",
        "failed": "#ff8a5b",
        "skipped": "#d0a12b",
    },
    ground={
        PLANNED: "#1c2128",
        "pending": "#0d1117",
        "running": "#10294a",
        "completed": "#10352a",
        "failed": "#4a2210",
        "skipped": "#3a2e0b",
    },
)


def write_style(make_rules: Callable[[Colours], Mapping[str, str]]) -> str:
    """Return a style sheet with the rules of both schemes, of which the reader's system chooses one.

    `make_rules` returns the declarations by their selectors.
    """
    dark = f"@media (prefers-color-scheme: dark) {{\n{_write_rules(make_rules(DARK))}}}\n"
    return f"{_write_rules(make_rules(LIGHT))}{dark}"


def _write_rules(rules: Mapping[str, str]) -> str:
    return "".join(f"{selector} {{ {declarations} }}\n" for selector, declarations in rules.items())
