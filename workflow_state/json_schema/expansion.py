"""How many schemas a validator applies to one value, with every way to refer to another schema followed. Pure.

They multiply at once, as in `allOf`, or level by level, as in `items` within `allOf` within `items`.

A schema with two references to a schema with two references, and so on thirty times, would take a validator minutes.
`$ref` is one such way. `$dynamicRef`, `$recursiveRef`, `$anchor`, `$id` and `dependentSchemas` are others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin

from workflow_state.json_schema.local_references import resolve_local

MAX_EXPANDED: Final = 100_000
MAX_EXPANDED_BELOW: Final = 1_000_000

_IDS: Final = ("$id", "id")
_ANCHORS: Final = ("$anchor", "$dynamicAnchor")
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_ONE_EACH: Final = ("not", "if", "then", "else")
_LISTS: Final = ("allOf", "anyOf", "oneOf")
_MAPS: Final = ("dependentSchemas", "dependencies")
# What is applied to every entry of a value that has no schema of its own, and what is applied to one entry.
_OF_ALL_ENTRIES: Final = (
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
)
_OF_ONE_ENTRY: Final = ("properties", "prefixItems", "items")
# The schemas of JSON Schema itself, which the validator brings along.
_META_SCHEMAS: Final = ("http://json-schema.org/", "https://json-schema.org/")

Schema = Mapping[str, Any]


@dataclass(slots=True)
class SchemaIndex:
    """Where references can lead: the schemas by their URI, and by the name of their anchor; the base URI of each."""

    root: Schema
    resources: dict[str, list[Schema]] = field(default_factory=dict)
    anchors: dict[str, list[Schema]] = field(default_factory=dict)
    bases: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expansion:
    """How many schemas at most are applied to one value at once, and to one value below it, level by level."""

    at_once: int
    below: int


def count_expanded(root: Schema) -> Expansion:
    """Return how many schemas at most are applied to one value. What is above a maximum is that maximum and 1.

    Each schema is counted once and remembered. A schema that leads back to itself adds nothing: the validator stops
    there, or remembers what came of it. A reference that can be read in several ways counts as the largest of what it
    may mean.
    """
    # JSON data has no other mappings than dicts, and that is the quickest to ask.
    root = dict(root)
    index = index_schema(root)
    counts: dict[int, int] = {}
    below: dict[int, int] = {}
    looked_at = 0
    # A schema is looked into, and counted after all that it leads to: then the second entry has what it leads to.
    pending: list[tuple[Any, tuple[list[Schema], list[list[Schema]]] | None]] = [(root, None)]
    while pending:
        schema, leads_to = pending.pop()
        if leads_to is not None:
            counts[id(schema)] = min(1 + _add_up(counts, *leads_to), MAX_EXPANDED + 1)
            deeper = _count_entries(counts, below, schema) + _add_up(below, *leads_to)
            below[id(schema)] = min(deeper, MAX_EXPANDED_BELOW + 1)
            continue
        if not isinstance(schema, dict) or id(schema) in counts:
            continue
        parts, targets = _parts_at_once(schema), _targets(index, schema)
        # A thousand references that may each mean a thousand schemas would take long to count.
        looked_at += sum(len(choices) for choices in targets)
        if looked_at > MAX_EXPANDED:
            return Expansion(MAX_EXPANDED + 1, 0)
        counts[id(schema)] = 1
        pending.append((schema, (parts, targets)))
        pending += [(part, None) for part in (*_below(schema), *parts)]
        pending += [(target, None) for choices in targets for target in choices]
    return Expansion(max(counts.values(), default=0), max(below.values(), default=0))


def _add_up(counts: Mapping[int, int], parts: Sequence[Schema], targets: Sequence[Sequence[Schema]]) -> int:
    """Return the sum for what a schema consists of, and for the largest of what each of its references may mean."""
    total = sum(counts.get(id(part), 1) for part in parts)
    return total + sum(max(counts.get(id(target), 1) for target in choices) for choices in targets)


def _count_entries(counts: Mapping[int, int], below: Mapping[int, int], schema: Schema) -> int:
    """Return how many schemas at most are applied to one entry of a value, or to something within that entry.

    The schemas of two properties are applied to two values, so the larger one counts.
    """

    def largest(entry: Any) -> int:
        return max(counts.get(id(entry), 1), below.get(id(entry), 0)) if isinstance(entry, dict) else 0

    total = sum(largest(schema.get(keyword)) for keyword in _OF_ALL_ENTRIES)
    total += sum(map(largest, children(schema.get("patternProperties"))))
    return total + max(
        (largest(entry) for key in _OF_ONE_ENTRY for entry in _entries_of(schema.get(key), key)), default=0
    )


def _entries_of(value: Any, keyword: str) -> Iterator[Any]:
    # `items` is one schema for all entries, or in the older drafts a list with one for each.
    return iter(()) if keyword == "items" and isinstance(value, dict) else children(value)


def _parts_at_once(schema: Schema) -> list[Schema]:
    """Return the schemas within this one that are applied to the same value."""
    parts = [schema[keyword] for keyword in _ONE_EACH if keyword in schema]
    for keyword in _LISTS:
        parts += schema[keyword] if isinstance(schema.get(keyword), list) else []
    for keyword in _MAPS:
        parts += schema[keyword].values() if isinstance(schema.get(keyword), dict) else []
    return [part for part in parts if isinstance(part, dict)]


def _targets(index: SchemaIndex, schema: Schema) -> list[list[Schema]]:
    """Return for each reference of the schema what it may stand for; the list of a reference is never empty."""
    references = (schema[keyword] for keyword in _REFERENCES if isinstance(schema.get(keyword), str))
    found = (_resolve(index, index.bases.get(id(schema), ""), reference) for reference in references)
    return [choices for choices in found if choices]


def _resolve(index: SchemaIndex, base: str, reference: str) -> list[Schema]:
    """Return every schema that the reference may stand for. Rather one too many: what it misses is not bounded."""
    uri, fragment = _split(base, reference)
    if fragment and not fragment.startswith("/"):
        return index.anchors.get(unquote(fragment), [])
    resources = index.resources.get(uri, [])
    if reference.startswith("#"):
        # What a pointer starts from below an `$id` is read in two ways: the document, or the part with the `$id`.
        resources = [index.root, *resources]
    elif not resources and not uri.startswith(_META_SCHEMAS):
        # The validator may know two ways to write a URI for the same which are different ones here.
        resources = [schema for schemas in index.resources.values() for schema in schemas]
    targets = (resolve_local(resource, f"#{fragment}") for resource in resources)
    return [target for target in targets if isinstance(target, dict)]


def applied_at_once(index: SchemaIndex, schema: Schema) -> list[list[Schema]]:
    """Return what is applied to the same value as the schema: for each part of it, and for each reference, the choices.

    A part is the only choice. A reference may have several, of which one is applied.
    """
    return [*([part] for part in _parts_at_once(schema)), *_targets(index, schema)]


def index_schema(root: Schema) -> SchemaIndex:
    """Return where the references of a schema can lead."""
    index = SchemaIndex(root)
    pending: list[tuple[Any, str]] = [(root, "")]
    while pending:
        value, base = pending.pop()
        if isinstance(value, dict):
            base = _note_names(index, value, base)
            index.bases[id(value)] = base
        pending += [(child, base) for child in children(value)]
    index.resources.setdefault("", []).append(root)
    return index


def _note_names(index: SchemaIndex, schema: Schema, base: str) -> str:
    """Note the names of a schema, and return the base of the references in it."""
    for keyword in _ANCHORS:
        if isinstance(schema.get(keyword), str):
            index.anchors.setdefault(schema[keyword], []).append(schema)
    for keyword in _IDS:
        if isinstance(schema.get(keyword), str):
            uri, fragment = _split(base, schema[keyword])
            # The older drafts write an anchor as the `$id` "#name".
            if fragment:
                index.anchors.setdefault(unquote(fragment), []).append(schema)
            if not schema[keyword].startswith("#"):
                index.resources.setdefault(uri, []).append(schema)
                base = uri
    return base


def _split(base: str, reference: str) -> tuple[str, str]:
    """Return the URI that the reference leads to, in a form to compare, and its fragment."""
    try:
        uri, fragment = urldefrag(urljoin(base, reference))
    except ValueError:
        uri, _, fragment = reference.partition("#")
    return unquote(uri).casefold(), fragment


def _below(schema: Schema) -> Iterator[Any]:
    for value in schema.values():
        yield value
        yield from children(value)


def children(value: Any) -> Iterator[Any]:
    """Return the values of a mapping or a list; none of anything else."""
    if isinstance(value, dict):
        return iter(value.values())
    return iter(value if isinstance(value, list) else ())
