"""The large parts of states, set aside as JSON text while the rest is composed. Pure.

A state of 64 MiB takes a gigabyte and more as models. What decides how an execution ends is small: statuses, times and
errors. So outputs, traces and elements are set aside, one action after the other, and put back into the text.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_IN_RESULT = ("output", "partialOutput")
_COMPACT = (",", ":")


@dataclass(slots=True)
class HeavyParts:
    """The parts that were set aside, as JSON texts. A mark, which nobody can guess, stands for each of them."""

    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    texts: list[str] = field(default_factory=list)

    def set_aside(self, value: Any) -> str:
        """Keep a JSON value as text, and return the mark that stands for it."""
        self.texts.append(json.dumps(value, separators=_COMPACT))
        return f"{self.mark}{len(self.texts) - 1}"

    def write(self, data: Any) -> str:
        """Return JSON data as text, with each part where its mark stands."""
        text = json.dumps(data, separators=_COMPACT)
        return re.sub(rf'"{self.mark}(\d+)"', lambda found: self.texts[int(found[1])], text)


@dataclass(frozen=True, slots=True)
class LightState:
    """A step's state (JSON data) without its large parts, and the mark for each of these, by the name of its field.

    `element_changes` is how many changes of its elements the version of the whole counts, beyond those of the state.
    """

    data: dict[str, Any]
    marks: Mapping[str, str]
    element_changes: int = 0


def lighten(state: Mapping[str, Any], parts: HeavyParts) -> LightState:
    """Set the output, the trace and the elements of a state (JSON data) of a step that has ended aside."""
    marks: dict[str, str] = {}
    data = {**state, "httpTrace": []}
    if state.get("httpTrace"):
        marks["httpTrace"] = parts.set_aside(state["httpTrace"])
    changes = 0
    if elements := state.get("elements"):
        marks["elements"] = parts.set_aside(elements)
        del data["elements"]
        changes = sum(_changes(element) for element in elements) + 1 - _changes(state)
    result = dict(state.get("result") or {})
    for name in _IN_RESULT:
        if result.get(name) is not None:
            marks[name] = parts.set_aside(result[name])
            result[name] = None
    return LightState({**data, "result": result}, marks, changes)


def put_marks(data: dict[str, Any], marks: Mapping[str, str]) -> None:
    """Put the marks into a state (JSON data), where the parts belong."""
    for name, mark in marks.items():
        (data["result"] if name in _IN_RESULT else data)[name] = mark


def _changes(state: Mapping[str, Any]) -> int:
    return 2 * max(1, int(state["attempts"]))
