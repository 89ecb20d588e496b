"""References: the `${…}` in a plan, how they are written and what they stand for.

    ${actionId.output}        the whole output of an action     ${actionId.output.a.b[0]["any key"]}   a part of it
    ${actionId.status}        its status                        ${inputs.name.path}                    a plan input
    ${item.path}              the element of a forEach          ${itemIndex}                           its index, from 0
    $${                       a literal ${

A string that is exactly one reference stands for the value with its JSON type; references inside a longer string are
interpolated as text. Everything is resolved in a single pass: text that came out of a response is never scanned again.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from workflow_state.errors import ReferenceParseError, ReferenceResolutionError
from workflow_state.plans.reference_advice import refuse, refuse_field, refuse_key, refuse_root, refuse_step
from workflow_state.schema import ActionExecutionState, ActionSkip, ActionSuccess
from workflow_state.wording import describe, did_you_mean, shown, write_path

MAX_RESOLVED_BYTES: Final = 2**20
MAX_RESOLVED_DEPTH: Final = 200
FOR_EACH_NAMES: Final = frozenset({"item", "itemIndex"})

_FIELDS: Final = ("output", "status")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_INDEX: Final = re.compile(r"\[(0|[1-9][0-9]{0,8})\]")
_JSON_STRING: Final = json.JSONDecoder()

PathStep = str | int


@dataclass(frozen=True, slots=True)
class ParsedReference:
    """A well-written reference.

    `action_id` is the root name: an action's id, `inputs`, `item` or `itemIndex`. `field` is `output` or `status`, and
    None for the other roots. `${item.output}` has its field set: inside a forEach it is a key of the element, elsewhere
    the output of an action called `item`; `as_variable` gives the first reading.
    """

    text: str
    action_id: str
    field: str | None
    path: tuple[PathStep, ...]

    @property
    def is_for_each_name(self) -> bool:
        """Whether the root is a name that a forEach defines."""
        return self.action_id in FOR_EACH_NAMES

    def as_variable(self) -> "ParsedReference":
        """Return the reference read as a plain variable: `output` and `status` are keys like any other."""
        if self.field is None:
            return self
        return ParsedReference(self.text, self.action_id, None, (self.field, *self.path))


# --- Reading ---------------------------------------------------------------------------------------------------


def parse_reference(text: str) -> ParsedReference | None:
    """Return the reference that `text` is, or None where it is no reference or has other text around one.

    Raises ReferenceParseError where `text` starts with a `${` that is unclosed or wrong inside.
    """
    if not text.startswith("${"):
        return None
    reference, end = _parse_at(text, 0)
    return reference if end == len(text) else None


def find_references(text: str) -> list[ParsedReference]:
    """Return all references in `text`, in order. Raises ReferenceParseError for the first malformed one."""
    return [part for part in split_text(text) if isinstance(part, ParsedReference)]


def split_text(text: str) -> list[str | ParsedReference]:
    """Split `text` into literal pieces (with `$${` read as `${`) and references, in order; linear in its length.

    Raises ReferenceParseError for the first malformed reference.
    """
    parts: list[str | ParsedReference] = []
    literal: list[str] = []
    position = 0
    while (start := text.find("${", position)) >= 0:
        if start > position and text[start - 1] == "$":
            literal += (text[position : start - 1], "${")
            position = start + 2
            continue
        literal.append(text[position:start])
        if before := "".join(literal):
            parts.append(before)
        literal = []
        reference, position = _parse_at(text, start)
        parts.append(reference)
    literal.append(text[position:])
    if after := "".join(literal):
        parts.append(after)
    return parts


def iterate_references(value: Any) -> Iterator[tuple[str, ParsedReference | ReferenceParseError]]:
    """Yield `(JSON Pointer, reference)` for every reference in the strings of a JSON value, in document order.

    A string with a malformed reference yields one ReferenceParseError in its place. Keys of objects are not scanned.
    Iterative: any depth will do.
    """
    stack: list[tuple[str, Iterator[tuple[object, Any]]]] = [("", iter((("", value),)))]
    is_root = True
    while stack:
        prefix, children = stack[-1]
        for key, child in children:
            if isinstance(child, str):
                if "${" in child:
                    pointer = "" if is_root else f"{prefix}/{escape_pointer(key)}"
                    yield from ((pointer, found) for found in _references_or_error(child))
            elif child and isinstance(child, (dict, list)):
                pointer = "" if is_root else f"{prefix}/{escape_pointer(key)}"
                entries: Any = child.items() if isinstance(child, dict) else enumerate(child)
                stack.append((pointer, iter(entries)))
                is_root = False
                break
        else:
            stack.pop()


def escape_pointer(key: object) -> str:
    """Return a key or an index as one token of a JSON Pointer (RFC 6901, section 3), without lone surrogates."""
    return str(key).replace("~", "~0").replace("/", "~1").encode("utf-8", "backslashreplace").decode()


def _references_or_error(text: str) -> list[ParsedReference | ReferenceParseError]:
    try:
        return [*find_references(text)]
    except ReferenceParseError as error:
        return [error]


def _parse_at(text: str, start: int) -> tuple[ParsedReference, int]:
    """Parse the reference whose `${` is at `start`; return it and the position after its `}`."""
    root = _NAME.match(text, start + 2)
    if root is None:
        refuse_root(text, start)
    path: list[PathStep] = []
    dotted_first = text.startswith(".", root.end())
    position = root.end()
    while not text.startswith("}", position):
        step, position = _parse_step(text, start, position)
        path.append(step)
    end = position + 1
    name = root.group()
    if name == "inputs" or (name in FOR_EACH_NAMES and not (dotted_first and path[0] in _FIELDS)):
        return ParsedReference(text[start:end], name, None, tuple(path)), end
    if not dotted_first or path[0] not in _FIELDS:
        refuse_field(text[start:end], name, text[root.end() : position], path)
    if path[0] == "status" and len(path) > 1 and name not in FOR_EACH_NAMES:
        raise ReferenceParseError(
            f"{shown(text[start:end])}: a status is plain text and has nothing below it; write ${{{name}.status}}"
        )
    return ParsedReference(text[start:end], name, str(path[0]), tuple(path[1:])), end


def _parse_step(text: str, start: int, position: int) -> tuple[PathStep, int]:
    """Parse `.key`, `[0]` or `["any key"]` at `position`."""
    if text.startswith(".", position):
        key = _NAME.match(text, position + 1)
        if key is None:
            refuse_key(text, start, position + 1)
        return key.group(), key.end()
    index = _INDEX.match(text, position)
    if index is not None:
        return int(index.group(1)), index.end()
    if text.startswith('["', position):
        try:
            key_text, end = _JSON_STRING.raw_decode(text, position + 1)
        except json.JSONDecodeError:
            refuse(text, start, 'the key after [ is not a JSON string; write ["the key"], with \\" for a quote')
        if not text.startswith("]", end):
            refuse(text, start, 'a quoted key must be followed by ]; write ["the key"]')
        return _storable(text, start, str(key_text)), end + 1
    return refuse_step(text, start, position)


def _storable(text: str, start: int, key: str) -> str:
    if not key.isascii() and any("\ud800" <= character <= "\udfff" for character in key):
        refuse(
            text, start, "the quoted key has half of a surrogate pair, which no JSON text can hold; write both halves"
        )
    return key


# --- Resolving -------------------------------------------------------------------------------------------------


def resolve_reference(reference: ParsedReference | str, results: Mapping[str, Any]) -> JsonValue:
    """Return the value that a reference stands for: the stored value itself, not a copy.

    `results` maps action ids to their ActionExecutionState, its JSON data, or `{"status": …, "output": …}`; `inputs` to
    the plan's inputs; and inside a forEach `item` and `itemIndex` to the element and its index. Only keys of plain
    objects and indexes of lists are followed, never attributes. The output of an action that was skipped by its own
    condition is null, whatever the path.

    Raises ReferenceResolutionError where something on the path is not there, ReferenceParseError for malformed text.
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

    A string that is exactly one reference becomes the value with its JSON type. Inside a longer string text stays as it
    is, and any other value is written as compact JSON. `$${` becomes `${`. Keys of objects are left alone.

    Raises ReferenceResolutionError where a reference can't be resolved, and where the result would be larger than
    MAX_RESOLVED_BYTES of JSON or nested deeper than MAX_RESOLVED_DEPTH; nothing much larger is ever built.
    """
    return _Copier(results).copy(value, scan=True)


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
        if not _has(value, step):
            place += write_path(reference.path[:depth])
            missing = f"index {step}" if isinstance(step, int) else f"key {json.dumps(step, ensure_ascii=False)}"
            near = did_you_mean(step, value) if isinstance(value, dict) and isinstance(step, str) else ""
            raise ReferenceResolutionError(
                f"{shown(reference.text)}: there is no {shown(missing)}, {shown(place)} is {describe(value)}"
                + (f"; {near}" if near else "")
            )
        value = value[step]
    found: JsonValue = value
    return found


def _has(value: Any, step: PathStep) -> bool:
    if isinstance(step, str):
        return isinstance(value, dict) and step in value
    return isinstance(value, list) and step < len(value)


class _Copier:
    """One deep copy, and what is left of its budget in bytes of JSON."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self._results = results
        self._bytes_left = MAX_RESOLVED_BYTES

    def copy(self, root: Any, *, scan: bool) -> JsonValue:
        """Copy `root`; `scan` is false for what came out of a response, in which `${` means nothing.

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
            self._spend(value)
            if depth > MAX_RESOLVED_DEPTH:
                raise ReferenceResolutionError(f"the resolved value is nested deeper than {MAX_RESOLVED_DEPTH} levels")
            if isinstance(value, dict):
                # All keys first: they keep their order whatever the order in which the values are copied.
                parent[key] = copied = dict.fromkeys(value)
                pending.extend((child, scans, depth + 1, copied, name) for name, child in value.items())
            elif isinstance(value, list):
                parent[key] = items = [None] * len(value)
                pending.extend((child, scans, depth + 1, items, index) for index, child in enumerate(value))
            else:
                parent[key] = value
        copied_root: JsonValue = top[0]
        return copied_root

    def _as_text(self, part: str | ParsedReference) -> str:
        value = part if isinstance(part, str) else resolve_reference(part, self._results)
        if isinstance(value, str):
            self._spend(value)
            return value
        return json.dumps(self.copy(value, scan=False), ensure_ascii=False, separators=(",", ":"))

    def _spend(self, value: Any) -> None:
        """Take one value, without what is inside it, from the budget; before the copy is made, so it stays small."""
        self._bytes_left -= _approximate_bytes(value)
        if self._bytes_left < 0:
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
