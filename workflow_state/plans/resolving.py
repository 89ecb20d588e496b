"""What references stand for: values taken from the results of actions and from the plan's inputs. Pure.

`"${user.output.age}"` stands for a number: a string that is exactly one reference becomes the value with its JSON type.
`"Dear ${user.output.name}"` stands for text: references inside a longer string are written into it. Everything is
resolved in one pass. Text that came out of a response is never scanned for references.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydantic import JsonValue

from workflow_state.errors import ReferenceParseError, ReferenceResolutionError
from workflow_state.plans.references import ParsedReference, PathStep, parse_reference, split_text
from workflow_state.schema import ActionExecutionState, ActionSkip, ActionSuccess
from workflow_state.wording import describe, did_you_mean, shown, write_path

MAX_RESOLVED_BYTES: Final = 2**20
MAX_RESOLVED_DEPTH: Final = 200
_CONTENT: Final = "content"


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value that is kept elsewhere, in the place of an output or of an element of one.

    A reference reads it where its path ends there or goes on below it. `read` returns the value. `read_content` returns
    what `.content` stands for, where the value has no such key of its own: the text of what is bytes. Both may be
    called any number of times, and raise ReferenceResolutionError or StorageError.
    """

    read: Callable[[], JsonValue]
    read_content: Callable[[], JsonValue]


def resolve_reference(reference: ParsedReference | str, results: Mapping[str, Any]) -> JsonValue:
    """Return the value that a reference stands for.

    >>> resolve_reference("${user.output.name}", {"user": {"status": "completed", "output": {"name": "Ada"}}})
    'Ada'

    Use it to read an output by the path that a plan would read it by. `reference` is text, or what `parse_reference`
    returned. `results` maps the id of each action to its state: an ActionExecutionState, its JSON data, or
    `{"status": …, "output": …}`. It may also map `inputs` to the plan's inputs, and `item` and `itemIndex` to the
    element of a forEach and its index.

    The value is the one in `results`, not a copy. Only keys of plain objects and indexes of lists are followed, never
    attributes. The output of an action that was skipped by its own condition is None, whatever the path.

    Raises ReferenceResolutionError where something on the path is not there, and ReferenceParseError for text that is
    not exactly one reference.
    """
    parsed = reference if isinstance(reference, ParsedReference) else parse_reference(reference)
    if parsed is None:
        raise ReferenceParseError(
            f"{shown(str(reference))}: this is not exactly one reference; write ${{actionId.output}}"
        )
    if parsed.is_for_each_name and _names_variable(parsed, results):
        parsed = parsed.as_variable()
    name = parsed.action_id
    if name not in results:
        if name == "inputs":
            return _follow(parsed, {}, "inputs")
        what = "no forEach runs here" if parsed.field is None else f"no action '{shown(name)}' has a result here"
        near = did_you_mean(name, results)
        raise ReferenceResolutionError(f"{shown(parsed.text)}: {what}" + (f"; {near}" if near else ""))
    if parsed.field is None:
        return _follow(parsed, results[name], name)
    return _read_action(parsed, results[name])


def resolve_value(value: Any, results: Mapping[str, Any]) -> JsonValue:
    """Return a deep copy of a JSON value with the references in all its strings resolved, in a single pass.

    >>> resolve_value({"body.to": "${inputs.name}@example.com"}, {"inputs": {"name": "ada"}})
    {'body.to': 'ada@example.com'}

    A string that is exactly one reference becomes the value with its JSON type. In a longer string text is inserted as
    it is, and any other value as compact JSON. `$${` becomes `${`. Keys of objects are not changed. `results` is what
    `resolve_reference` takes.

    Raises ReferenceResolutionError where a reference can't be resolved, and where the result would be larger than
    MAX_RESOLVED_BYTES of JSON or nested deeper than MAX_RESOLVED_DEPTH. Nothing much larger is ever built.
    """
    return make_resolver(results)(value)


def make_resolver(results: Mapping[str, Any]) -> Callable[[Any], JsonValue]:
    """Return a function that resolves one value after the other as `resolve_value` does, within one budget for all."""
    return partial(_Copier(results).copy, scan=True)


def _names_variable(reference: ParsedReference, results: Mapping[str, Any]) -> bool:
    """Decide between the forEach variable and an action of the same name: a running forEach shadows the action."""
    if reference.field is None or isinstance(results.get("itemIndex"), int):
        return True
    value = results.get(reference.action_id)
    looks_like_action = isinstance(value, ActionExecutionState) or (isinstance(value, dict) and "status" in value)
    return reference.action_id in results and not looks_like_action


def _read_action(reference: ParsedReference, state: Any) -> JsonValue:
    status, source = _status_and_source(state)
    if reference.field == "status":
        return status
    if "output" in source:
        return _follow(reference, source["output"], f"{reference.action_id}.output")
    if status == "skipped" and source.get("blockedBy") is None:
        return None
    why = "was skipped because an action that it needs failed" if status == "skipped" else f"is {status}"
    name = shown(reference.action_id)
    raise ReferenceResolutionError(
        f"{shown(reference.text)}: the action '{name}' {why}, so it has no output; ${{{name}.status}} can be read"
    )


def _status_and_source(state: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the status, and the object that has `output` or `blockedBy` where there is one."""
    if isinstance(state, ActionExecutionState):
        # Not dumped as a whole: an output may be large, and one field of it is wanted.
        if isinstance(state.result, ActionSuccess):
            return state.status.value, {"output": state.result.output}
        return state.status.value, {
            "blockedBy": state.result.blocked_by if isinstance(state.result, ActionSkip) else None
        }
    if not isinstance(state, Mapping):
        raise ReferenceResolutionError(f"an action's result must be a state with a status, not {describe(state)}")
    result = state.get("result")
    return str(state.get("status")), result if isinstance(result, Mapping) else state


def _follow(reference: ParsedReference, value: Any, place: str) -> JsonValue:
    """Walk the path down plain objects and lists; `place` is what has been walked, for the message."""
    for depth, step in enumerate(reference.path):
        if isinstance(value, StoredValue):
            stored, value = value, value.read()
            if step == _CONTENT and not _has(value, step):
                value = stored.read_content()
                continue
        if not _has(value, step):
            place += write_path(reference.path[:depth])
            missing = f"index {step}" if isinstance(step, int) else f"key {json.dumps(step, ensure_ascii=False)}"
            near = did_you_mean(step, value) if isinstance(value, dict) and isinstance(step, str) else ""
            raise ReferenceResolutionError(
                f"{shown(reference.text)}: there is no {shown(missing)}, {shown(place)} is {describe(value)}"
                + (f"; {near}" if near else "")
            )
        value = value[step]
    found: JsonValue = _read(value)
    return found


def _read(value: Any) -> Any:
    return value.read() if isinstance(value, StoredValue) else value


def _has(value: Any, step: PathStep) -> bool:
    if isinstance(step, str):
        return isinstance(value, dict) and step in value
    return isinstance(value, list) and step < len(value)


_LEAVES: Final = frozenset({int, float, bool, type(None)})
"""The types of values that need no look at what is inside them."""


class _Copier:
    """One deep copy, and what is left of its budget in bytes of JSON."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self._results = results
        self._bytes_left = MAX_RESOLVED_BYTES

    def copy(self, root: Any, *, scan: bool) -> JsonValue:
        """Copy `root`. `scan` is False for what came out of a response: `${` is plain text there.

        Iterative, because an output may be nested deeper than Python's own stack allows.
        """
        top: list[Any] = [None]
        pending: list[tuple[Any, bool, int, Any, Any]] = [(root, scan, 0, top, 0)]
        while pending:
            value, scans, depth, parent, key = pending.pop()
            if scans and isinstance(value, str) and "${" in value:
                parts = split_text(value)
                if len(parts) != 1 or isinstance(parts[0], str):
                    parent[key] = "".join(map(self._as_text, parts))
                    continue
                value, scans = resolve_reference(parts[0], self._results), False
            value = _read(value)
            self._spend(value)
            if depth > MAX_RESOLVED_DEPTH:
                raise ReferenceResolutionError(f"the resolved value is nested deeper than {MAX_RESOLVED_DEPTH} levels")
            if not isinstance(value, dict | list):
                parent[key] = value
                continue
            copied: Any
            children: Iterable[tuple[Any, Any]]
            if isinstance(value, dict):
                # All keys first: they keep their order whatever the order in which the values are copied.
                copied, children = dict.fromkeys(value), value.items()
            else:
                copied, children = [None] * len(value), enumerate(value)
            parent[key] = copied
            for name, child in children:
                if type(child) in _LEAVES and depth < MAX_RESOLVED_DEPTH:
                    # At once: half a million numbers that wait in `pending` would take as many tuples.
                    self._spend(child)
                    copied[name] = child
                else:
                    pending.append((child, scans, depth + 1, copied, name))
        copied_root: JsonValue = top[0]
        return copied_root

    def _as_text(self, part: str | ParsedReference) -> str:
        value = part if isinstance(part, str) else resolve_reference(part, self._results)
        if isinstance(value, str):
            self._spend(value)
            return value
        return json.dumps(self.copy(value, scan=False), ensure_ascii=False, separators=(",", ":"))

    def _spend(self, value: Any) -> None:
        """Take one value, without what is inside it, from the budget. This comes before the copy, which stays small."""
        self._bytes_left -= _approximate_bytes(value)
        # What is inside takes a byte each at the least. A list of a million is refused here, before it is gone through.
        inside_bytes = len(value) if isinstance(value, dict | list) else 0
        if self._bytes_left < inside_bytes:
            raise ReferenceResolutionError(
                f"the resolved value is larger than {MAX_RESOLVED_BYTES} bytes; refer to the parts that are needed"
            )


def _approximate_bytes(value: Any) -> int:
    """Return about how many bytes of JSON a value takes, without what is inside it."""
    if isinstance(value, str):
        return (len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))) + 2
    if value is None or isinstance(value, bool):
        return 5
    if isinstance(value, int):
        return value.bit_length() // 3 + 1
    if isinstance(value, float):
        return 18
    if isinstance(value, list):
        return len(value) + 2
    if isinstance(value, dict):
        return 2 + sum(len(key) + 4 for key in value)
    raise ReferenceResolutionError(f"the value is {describe(value)}, which is not JSON")
