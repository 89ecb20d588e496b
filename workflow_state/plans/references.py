"""References, the `${…}` in a plan: how they are written, and how they are found in texts and JSON values. Pure.

    ${actionId.output}        the whole output of an action     ${actionId.output.a.b[0]["any key"]}   a part of it
    ${actionId.status}        its status                        ${inputs.name.path}                    a plan input
    ${item.path}              the element of a forEach          ${itemIndex}                           its index, from 0
    $${                       a literal ${

What they stand for is in `resolving`; what to tell the author of a wrong one is in `reference_advice`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from workflow_state.errors import ReferenceParseError
from workflow_state.plans.reference_advice import refuse, refuse_field, refuse_key, refuse_root, refuse_step
from workflow_state.wording import shown

FOR_EACH_NAMES: Final = frozenset({"item", "itemIndex"})

_FIELDS: Final = ("output", "status")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_INDEX: Final = re.compile(r"\[(0|[1-9][0-9]{0,8})\]")
_JSON_STRING: Final = json.JSONDecoder()

PathStep = str | int


@dataclass(frozen=True, slots=True)
class ParsedReference:
    """A reference that is written correctly.

    `text` is how it is written. `action_id` is the name that it starts with: an action's id, `inputs`, `item` or
    `itemIndex`. `field` is `output` or `status` of an action, and None for the other names. `path` are the keys and
    indexes behind it.

    `${item.output}` can be read in two ways. Inside a forEach it is a key of the element, elsewhere the output of an
    action that is called `item`. Its field is set; `as_variable` returns the other reading.
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
        """Return the reference read as a plain variable, of which `output` and `status` are keys like any other."""
        if self.field is None:
            return self
        return ParsedReference(self.text, self.action_id, None, (self.field, *self.path))


def parse_reference(text: str) -> ParsedReference | None:
    """Return the reference that `text` is, or None where `text` is not exactly one reference.

    >>> reference = parse_reference("${user.output.emails[0]}")
    >>> reference.action_id, reference.field, reference.path
    ('user', 'output', ('emails', 0))
    >>> parse_reference("Dear ${user.output.name}") is None
    True

    Use it to see which action and which part of its output a reference reads. Raises ReferenceParseError where `text`
    starts with a `${` that is not closed, or that has something else than a reference in it.
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
    The value may be nested to any depth.
    """
    for pointer, text in iterate_texts(value):
        yield from ((pointer, found) for found in _references_or_error(text))


def iterate_texts(value: Any) -> Iterator[tuple[str, str]]:
    """Yield `(JSON Pointer, text)` for every string of a JSON value that has a `${`, in document order. Iterative."""
    stack: list[tuple[str, Iterator[tuple[object, Any]]]] = [("", iter((("", value),)))]
    is_root = True
    while stack:
        prefix, children = stack[-1]
        for key, child in children:
            if isinstance(child, str):
                if "${" in child:
                    pointer = "" if is_root else f"{prefix}/{escape_pointer(key)}"
                    yield pointer, child
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
