"""Comparing an action's inputs (`key`, `query.NAME`, `header.NAME`, `body.NAME`, `body`) with its inputSchema.

The schema describes one object whose properties have the inputs' names. Where it has no property of the full name, the
property without the prefix is meant: `title` for `body.title`. `body` and `body.NAME` are two ways to say the same, and
each fits a schema that has the other.

An input in the URL, in a header or in a form is sent as text. So it has the type that the schema asks for if its text
can be read as that type: `5` and `"5"` are the same query parameter. Pure.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from workflow_state.json_schema.compiled import CompiledSchema, Mismatch, compile_schema
from workflow_state.json_schema.paths import (
    ANY_TYPE,
    SCALARS,
    NoSuchKey,
    SchemaView,
    declared_names,
    required_names,
    step_into,
    type_of,
    types_of,
    view_schema,
)
from workflow_state.schema import ActionDefinition
from workflow_state.wording import write_path

PREFIXES: Final = ("query.", "header.", "body.")
_MAX_INTEGER_BITS: Final = 1_024
_FORM: Final = "application/x-www-form-urlencoded"

InputPath = tuple[str | int, ...]


@dataclass(slots=True)
class NamedInputs:
    """The inputs by the names that the schema has for them.

    `origins` leads from a name, or from `body` and a name, to the place in the action's inputs. `has_open_body` says
    that the whole body is a reference, which may stand for anything. `missing` are required names that are not there.
    """

    view: SchemaView
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, ...], InputPath] = field(default_factory=dict)
    has_open_body: bool = False
    missing: list[str] = field(default_factory=list)

    def find_origin(self, path: InputPath) -> InputPath:
        """Return the place in the action's inputs of a place in `values`."""
        for length in (2, 1):
            if (origin := self.origins.get(tuple(map(str, path[:length])))) is not None and len(path) >= length:
                return (*origin, *path[length:])
        return path


def is_open(value: Any) -> bool:
    """Return whether the value is text with a reference or an escaped `${` in it, so not yet what will be sent."""
    return isinstance(value, str) and "${" in value


def name_inputs(definition: ActionDefinition, inputs: Mapping[str, Any]) -> NamedInputs:
    """Return the inputs by the names that the schema has for them. Texts with references are left as they are.

    A query parameter or a header that is null is not sent, and counts as not given.
    """
    view = view_schema(definition.input_schema or {})
    named = NamedInputs(view)
    names = declared_names(view)
    in_url = definition.endpoint.placeholders
    for key, value in inputs.items():
        if (value is None and key.startswith(("query.", "header."))) or _joins_body(key, names):
            continue
        if key != "body" or "body" in names:
            _put(named, _find_name(key, names, in_url), value, (key,))
        elif isinstance(value, Mapping):
            for part, item in value.items():
                _put(named, _find_name(f"body.{part}", names, in_url), item, ("body", part))
        elif is_open(value):
            named.has_open_body = True
        else:
            _put(named, "body", value, ("body",))
    _join_body(named, {key: value for key, value in inputs.items() if _joins_body(key, names)})
    elsewhere = [*in_url, *(name for name in names if name.startswith(("query.", "header.")))]
    named.missing = [
        name
        for name in required_names(view)
        if name not in named.values and not (named.has_open_body and name not in elsewhere)
    ]
    _read_as_sent(named, definition)
    return named


def _joins_body(key: str, names: Mapping[str, None]) -> bool:
    """Return whether the input is a property of a body that the schema describes as a whole."""
    return key.startswith("body.") and key not in names and "body" in names


def _read_as_sent(named: NamedInputs, definition: ActionDefinition) -> None:
    for name, value in named.values.items():
        below = step_into(named.view, name)
        if isinstance(below, NoSuchKey):
            continue
        source = named.origins[name,] or ("body",)
        if travels_as_text(definition, str(source[0])):
            is_body = name == "body" and isinstance(value, Mapping)
            named.values[name] = _fields_as_sent(value, below) if is_body else _as_sent(value, below)


def travels_as_text(definition: ActionDefinition, key: str) -> bool:
    """Return whether an input of this name is sent as text; only those of a JSON body keep their JSON type."""
    if key != "body" and not key.startswith("body."):
        return True
    return any(
        name.lower() == "content-type" and value.partition(";")[0].strip().lower() == _FORM
        for name, value in definition.endpoint.headers.items()
    )


def find_input_mismatches(named: NamedInputs, schema: CompiledSchema) -> list[tuple[InputPath, Mismatch]]:
    """Return what does not fit the schema, with its place in the action's inputs. Missing inputs are not among it."""
    found: list[tuple[InputPath, Mismatch]] = []
    for mismatch in schema.find_mismatches(named.values):
        if mismatch.path or mismatch.keyword not in ("required", "additionalProperties"):
            found.append((named.find_origin(mismatch.path), mismatch))
        elif mismatch.keyword == "additionalProperties":
            alone = replace(mismatch, message="is not among those that the action takes")
            found += [(named.find_origin((name,)), replace(alone, unexpected=(name,))) for name in mismatch.unexpected]
    return found


def describe_wrong_inputs(definition: ActionDefinition, inputs: Mapping[str, Any]) -> str | None:
    """Return in words which of the resolved inputs do not fit the definition's inputSchema, or None where all do.

    Raises ActionDefinitionError where the schema itself can't be used.
    """
    if definition.input_schema is None:
        return None
    schema = compile_schema(definition.input_schema)
    named = name_inputs(definition, inputs)
    problems = [f"the input '{name}' is missing" for name in named.missing]
    problems += [f"{name_place(path)} {found.message}" for path, found in find_input_mismatches(named, schema)]
    return "; ".join(problems[:3]) or None


def name_place(path: InputPath) -> str:
    """Return `the input 'body.to'`, or `the inputs`, with the place inside as in a reference."""
    if not path:
        return "the inputs"
    return f"the input '{path[0]}{write_path(path[1:])}'"


def widen_types(types: frozenset[str], definition: ActionDefinition, name: str) -> frozenset[str]:
    """Return the types that a value for this input may have, given the types that the schema asks for."""
    if not travels_as_text(definition, name):
        return types
    wider = types
    if "string" in types:
        wider |= SCALARS
    if types & SCALARS:
        wider |= {"string"}
    if "array" in types:
        wider |= SCALARS
    return wider | ({"null"} if name.startswith(("query.", "header.")) else frozenset())


def _put(named: NamedInputs, name: str, value: Any, origin: InputPath) -> None:
    # Two inputs can't have one name, so the second one keeps its own.
    free = name if name not in named.values else ".".join(map(str, origin))
    named.values[free] = value
    named.origins[free,] = origin


def _find_name(key: str, names: Mapping[str, None], in_url: list[str]) -> str:
    if key in names:
        return key
    if key.startswith("header."):
        same = next((name for name in names if name.lower() == key.lower()), None)
        if same is not None:
            return same
    prefix, dot, bare = key.partition(".")
    has_prefix = bool(dot) and f"{prefix}." in PREFIXES
    return bare if has_prefix and bare in names and bare not in in_url else key


def _join_body(named: NamedInputs, parts: Mapping[str, Any]) -> None:
    """Put the inputs `body.NAME` into the whole body, which is what the schema describes."""
    if not parts:
        return
    body = named.values.get("body", {})
    if not isinstance(body, Mapping):
        # A reference, or a value that can't be joined with properties. The request is refused then.
        return
    named.values["body"] = {**body, **{key.removeprefix("body."): value for key, value in parts.items()}}
    named.origins.setdefault(("body",), ())
    for key in parts:
        named.origins["body", key.removeprefix("body.")] = (key,)


def _as_sent(value: Any, view: SchemaView) -> Any:
    """Return the value as the type that the schema asks for, where both are sent as the same text."""
    types = types_of(view)
    if is_open(value) or types == ANY_TYPE:
        return value
    kind = type_of(value)
    if isinstance(value, list) and "array" in types:
        return [_as_element(item, view, index) for index, item in enumerate(value)]
    if kind in types or kind in ("array", "object", "null"):
        return value
    if isinstance(value, str) and (parsed := _parse_scalar(value)) is not None and type_of(parsed) in types:
        return parsed
    if "string" in types and _is_writable(value):
        return json.dumps(value)
    return [_as_element(value, view, 0)] if "array" in types else value


def _fields_as_sent(body: Mapping[str, Any], view: SchemaView) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in body.items():
        below = step_into(view, str(name))
        fields[name] = value if isinstance(below, NoSuchKey) else _as_sent(value, below)
    return fields


def _is_writable(value: Any) -> bool:
    """Return whether Python can write the scalar as JSON; it refuses integers of thousands of digits."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or value.bit_length() <= _MAX_INTEGER_BITS


def _as_element(value: Any, view: SchemaView, index: int) -> Any:
    below = step_into(view, index)
    return value if isinstance(below, NoSuchKey) else _as_sent(value, below)


def _parse_scalar(text: str) -> Any:
    """Return the number or boolean that the text is in JSON, or None where it is neither."""
    if text in ("true", "false"):
        return text == "true"
    if not re.fullmatch(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][-+]?[0-9]{1,3})?", text):
        return None
    try:
        number = json.loads(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
