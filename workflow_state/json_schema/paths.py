"""What a JSON Schema says for certain about one place in a value: which types it can have, and whether it can exist.

The keywords that always apply are read (`properties`, `items`, `allOf`, `$ref` and the like). Where another keyword
decides, nothing is said. The work is bounded, also for schemas that refer to themselves. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from workflow_state.json_schema.local_references import resolve_local

ANY_TYPE: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
SCALARS: Final = frozenset({"boolean", "integer", "number", "string"})

_MAX_MEMBERS: Final = 200
_MAX_CHOICES_DEPTH: Final = 4

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SchemaView:
    """The schemas that a value at one place must all fit. Their references point into `root`."""

    root: Schema
    members: tuple[Schema, ...]


@dataclass(frozen=True, slots=True)
class NoSuchKey:
    """The key or index can't exist there. The value has only the `known` keys; None where its type has no keys."""

    known: tuple[str, ...] | None


def view_schema(root: Schema) -> SchemaView:
    """Return the view of a whole value."""
    return SchemaView(root, tuple(_flatten(root, [root])))


def view_part(root: Schema, part: Any) -> SchemaView:
    """Return the view of a value that fits a part of the root, whose references point into the root."""
    return SchemaView(root, tuple(_flatten(root, [part])))


def declared_names(view: SchemaView) -> dict[str, None]:
    """Return the names of the properties that the schemas declare or require, in their order."""
    names: dict[str, None] = {}
    for member in view.members:
        for keyword in ("properties", "required"):
            entries = member.get(keyword)
            if isinstance(entries, (Mapping, list)):
                names |= dict.fromkeys(name for name in entries if isinstance(name, str))
    return names


def required_names(view: SchemaView) -> dict[str, None]:
    """Return the names of the properties that must be there."""
    lists = (member.get("required") for member in view.members)
    return dict.fromkeys(name for entries in lists if isinstance(entries, list) for name in entries)


def types_of(view: SchemaView, depth: int = 0) -> frozenset[str]:
    """Return the types that the value can have. Where `number` is among them, `integer` is too."""
    types = ANY_TYPE
    for member in view.members:
        types &= _declared_types(member)
        for keyword in ("anyOf", "oneOf"):
            branches = member.get(keyword)
            if isinstance(branches, list) and depth < _MAX_CHOICES_DEPTH:
                types &= frozenset[str]().union(
                    *(
                        types_of(SchemaView(view.root, tuple(_flatten(view.root, [branch]))), depth + 1)
                        for branch in branches
                    )
                )
    return types


def step_into(view: SchemaView, step: str | int) -> SchemaView | NoSuchKey:
    """Return the view of the value at a key or an index, or why there can be none."""
    wanted = "object" if isinstance(step, str) else "array"
    if wanted not in types_of(view):
        return NoSuchKey(None)
    below: list[Any] = []
    for member in view.members:
        found = _property(member, step) if isinstance(step, str) else _item(member, step)
        if isinstance(found, NoSuchKey):
            return found
        below += found
    return SchemaView(view.root, tuple(_flatten(view.root, below)))


def walk_schema(view: SchemaView, path: Sequence[str | int]) -> tuple[SchemaView | NoSuchKey, int]:
    """Follow the path as far as possible; return where that ends, and how many steps were made."""
    for depth, step in enumerate(path):
        found = step_into(view, step)
        if isinstance(found, NoSuchKey):
            return found, depth
        view = found
    return view, len(path)


def type_of(value: Any) -> str:
    """Return the JSON Schema type of a JSON value, the narrowest one: `integer` for 1 and for 1.0."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    kinds = {str: "string", int: "integer", list: "array", dict: "object", type(None): "null"}
    return kinds.get(type(value), "null")


def _declared_types(member: Schema) -> frozenset[str]:
    types = ANY_TYPE
    if "type" in member:
        named = member["type"] if isinstance(member["type"], list) else [member["type"]]
        types &= frozenset(named) | ({"integer"} if "number" in named else set())
    if "const" in member:
        types &= _types_of_values([member["const"]])
    if isinstance(member.get("enum"), list):
        types &= _types_of_values(member["enum"])
    return types


def _types_of_values(values: Sequence[Any]) -> frozenset[str]:
    types = frozenset(map(type_of, values))
    return types | {"number"} if "integer" in types else types


def _property(member: Schema, name: str) -> list[Any] | NoSuchKey:
    """Return the schemas that the member has for the property; NoSuchKey where it allows none of this name."""
    declared = member.get("properties")
    properties = declared if isinstance(declared, Mapping) else {}
    # Which names a pattern matches is left to the validator.
    if name in properties:
        return [properties[name]]
    if member.get("patternProperties") or "additionalProperties" not in member:
        return []
    rest = member["additionalProperties"]
    return NoSuchKey(tuple(properties)) if rest is False else [rest]


def _item(member: Schema, index: int) -> list[Any]:
    first = member.get("prefixItems")
    if isinstance(first, list) and index < len(first):
        return [first[index]]
    # A list of schemas is the older drafts' way to write prefixItems.
    return [] if isinstance(member.get("items"), list) else [member.get("items", {})]


def _flatten(root: Schema, schemas: Sequence[Any]) -> Iterator[Schema]:
    """Yield the schemas, and those that they refer to or consist of, each one once."""
    pending = list(reversed(schemas))
    seen: set[int] = set()
    while pending and len(seen) < _MAX_MEMBERS:
        schema = pending.pop()
        if not isinstance(schema, Mapping) or id(schema) in seen:
            continue
        seen.add(id(schema))
        # In a schema with an `$id` of its own, references have another base. Nothing is said about it.
        if schema is not root and ("$id" in schema or "id" in schema):
            continue
        if "$ref" in schema:
            # Keywords beside a reference count in some dialects only.
            pending.append(resolve_local(root, schema["$ref"], within_base=True))
            continue
        yield schema
        if isinstance(schema.get("allOf"), list):
            pending += reversed(schema["allOf"])
