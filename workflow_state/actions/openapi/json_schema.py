"""Making JSON Schema 2020-12 of the schemas in an OpenAPI document: each is complete, and of a bounded size. Pure.

OpenAPI 3.1 has JSON Schema already. OpenAPI 3.0 has a dialect of it, with `nullable` and a boolean `exclusiveMinimum`.
Schemas that are referred to are copied under `$defs`, the nearest first, as far as the size allows. Where it does not,
they become `{}`, which allows everything.

A schema that is made so may allow more than the document's, and never less. So `oneOf` becomes `anyOf`. `not` and `if`
are left out, because with a weaker part in them they would allow less.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workflow_state.actions.openapi.document import Json, follow
from workflow_state.json_schema.compiled import find_schema_problem
from workflow_state.json_schema.local_references import resolve_local

MAX_BUNDLED_BYTES: Final = 8 * 1024
_MAX_DESCRIPTION_CHARACTERS: Final = 160
_MAX_NESTING: Final = 40
_MAX_PATTERN_CHARACTERS: Final = 80

_SCHEMA_KEYWORDS: Final = frozenset({"items", "additionalProperties", "contains", "propertyNames"})
_LIST_KEYWORDS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP_KEYWORDS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_PLAIN_KEYWORDS: Final = frozenset(
    {"type", "enum", "const", "format", "default", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"multipleOf", "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minContains"}
    | {"minProperties", "maxProperties", "required", "dependentRequired"}
)
_WORTHLESS: Final = frozenset({"default", "format"})


@dataclass(slots=True)
class SchemaReader:
    """What is needed to convert the schemas of one document, of requests or of answers.

    In a request, read-only properties are left out; in an answer, write-only ones. `notes` collects texts about what
    was left out.
    """

    document: Json
    is_request: bool
    notes: dict[str, None] = field(default_factory=dict)

    @property
    def ignores_siblings(self) -> bool:
        """Whether what stands beside a reference does not count, as in OpenAPI 3.0."""
        return str(self.document["openapi"]).startswith("3.0")


def bundle_schema(reader: SchemaReader, raw: Any, budget_bytes: int = MAX_BUNDLED_BYTES) -> Json:
    """Return the schema complete in itself, in about `budget_bytes` of JSON at most; `{}` allows everything."""
    names: dict[str, str] = {}
    for depth in (_MAX_NESTING, 6, 4, 3, 2, 1):
        names = {}
        schema = _convert(reader, raw, names, depth)
        size = _size(schema)
        if size <= budget_bytes:
            break
    else:
        reader.notes["a schema was too large, and was left out"] = None
        return {}
    if depth != _MAX_NESTING:
        reader.notes[f"the deeper parts of schemas of more than {budget_bytes} bytes were left out"] = None
    definitions: Json = {}
    pending = [*names]
    while pending:
        reference = pending.pop(0)
        known = len(names)
        part = _convert(reader, resolve_local(reader.document, reference), names, _MAX_NESTING)
        size += _size(part) + len(names[reference]) + 6
        if size > budget_bytes:
            size -= _size(part)
            part = {}
            names = dict([*names.items()][:known])
            reader.notes[f"what schemas of more than {budget_bytes} bytes refer to was left out in part"] = None
        definitions[names[reference]] = part
        pending += [*names][known:]
    if definitions:
        schema = {**schema, "$defs": definitions}
    return _without_what_is_wrong(reader, schema)


def property_schemas(reader: SchemaReader, raw: Any) -> tuple[Json, list[str], Any] | None:
    """Return the raw properties of an object, the required names, and `additionalProperties`; None for anything else.

    `allOf` is joined. An object with alternatives (`oneOf`, `anyOf`) gives None: its properties depend on each other.
    """
    properties: Json = {}
    required: dict[str, None] = {}
    rest: Any = None
    pending = [raw]
    for _ in range(50):
        if not pending:
            break
        schema = follow(reader.document, pending.pop(0))
        if not isinstance(schema, dict) or {"oneOf", "anyOf", "not", "if", "patternProperties"} & schema.keys():
            return None
        if schema.get("type", "object") not in ("object", ["object", "null"]) or not isinstance(
            schema.get("properties", {}), dict
        ):
            return None
        # If there are two schemas for one property, both apply.
        for name, part in schema.get("properties", {}).items():
            properties[name] = {"allOf": [properties[name], part]} if name in properties else part
        required |= dict.fromkeys(_names(schema.get("required")))
        rest = schema.get("additionalProperties", rest)
        parts = schema.get("allOf", [])
        pending += parts if isinstance(parts, list) else []
    if pending or not properties:
        return None
    kept = {name: part for name, part in properties.items() if not _is_hidden(reader, part)}
    return kept, [name for name in required if name in kept], rest


def _convert(reader: SchemaReader, raw: Any, names: dict[str, str], depth: int) -> Any:
    """Return the schema in 2020-12; `names` maps each reference to its name under `$defs`."""
    if not isinstance(raw, dict):
        return raw if isinstance(raw, bool) else {}
    if depth <= 0:
        return {}
    schema: Json = {}
    if isinstance(raw.get("$ref"), str):
        if not isinstance(resolve_local(reader.document, raw["$ref"]), dict):
            reader.notes[f"the reference {raw['$ref']} can't be followed; what it stands for was left out"] = None
        else:
            schema["$ref"] = f"#/$defs/{_name_reference(raw['$ref'], names)}"
        if reader.ignores_siblings:
            return _read_nullable(raw, schema)
    for keyword, value in raw.items():
        if (converted := _convert_keyword(reader, keyword, value, names, depth - 1)) is not None:
            schema[keyword] = converted
    _drop_hidden(reader, raw, schema)
    if "oneOf" in schema:
        alternatives = {"anyOf": schema.pop("oneOf")}
        schema |= alternatives if "anyOf" not in schema else {"allOf": [*schema.get("allOf", []), alternatives]}
    schema = _read_nullable(raw, schema)
    if reader.is_request and isinstance(raw.get("description"), str):
        schema["description"] = shorten(raw["description"], _MAX_DESCRIPTION_CHARACTERS)
    return schema


def _convert_keyword(reader: SchemaReader, keyword: str, value: Any, names: dict[str, str], depth: int) -> Any:
    """Return the keyword's value, or None where it does not belong into the schema."""
    if keyword in _SCHEMA_KEYWORDS:
        return _convert(reader, value, names, depth) if isinstance(value, dict | bool) else None
    if keyword in _LIST_KEYWORDS and isinstance(value, list) and value:
        return [_convert(reader, part, names, depth) for part in value]
    if keyword in _MAP_KEYWORDS and isinstance(value, dict):
        return {name: _convert(reader, part, names, depth) for name, part in value.items()}
    if keyword == "required":
        # Documents have `required: true` on a property, which is no JSON Schema.
        return _names(value) or None
    if keyword not in _PLAIN_KEYWORDS or (keyword in _WORTHLESS and not reader.is_request):
        return None
    return None if keyword == "pattern" and _is_refused_pattern(reader, value) else value


def _is_refused_pattern(reader: SchemaReader, pattern: Any) -> bool:
    if find_schema_problem({"pattern": pattern}) is None:
        return False
    shown = json.dumps(pattern, ensure_ascii=False)[:_MAX_PATTERN_CHARACTERS]
    reader.notes[f"the pattern {shown} was left out: it can't be run in linear time"] = None
    return True


def _read_nullable(raw: Mapping[str, Any], schema: Json) -> Json:
    """Return the schema without the dialect of OpenAPI 3.0, which is met in documents of 3.1 as well."""
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and limit in schema:
            schema[exclusive] = schema.pop(limit)
    if raw.get("nullable") is not True or not schema:
        return schema
    if isinstance(schema.get("type"), str) and not {"$ref", "allOf", "anyOf", "enum", "const"} & schema.keys():
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _is_hidden(reader: SchemaReader, raw: Any) -> bool:
    """Return whether the property is not part of what goes in this direction."""
    schema = follow(reader.document, raw)
    return isinstance(schema, dict) and schema.get("readOnly" if reader.is_request else "writeOnly") is True


def _drop_hidden(reader: SchemaReader, raw: Mapping[str, Any], schema: Json) -> None:
    properties = raw.get("properties")
    if not isinstance(properties, dict):
        return
    hidden = {name for name, part in properties.items() if _is_hidden(reader, part)}
    if hidden and isinstance(schema.get("required"), list):
        schema["required"] = [name for name in schema["required"] if name not in hidden]
        if not schema["required"]:
            del schema["required"]


def _name_reference(reference: str, names: dict[str, str]) -> str:
    if reference not in names:
        base = re.sub(r"[^A-Za-z0-9_.-]", "_", reference.rpartition("/")[2])[:80] or "schema"
        name, taken = base, set(names.values())
        number = 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        names[reference] = name
    return names[reference]


def _without_what_is_wrong(reader: SchemaReader, schema: Json) -> Json:
    """Return the schema, or one that allows everything where the document's own is not valid."""
    problem = find_schema_problem(schema)
    if problem is None:
        return schema
    reader.notes[f"a schema was left out: {'.'.join(map(str, problem.path)) or 'it'} {problem.message}"] = None
    return {}


def _names(value: Any) -> list[str]:
    return [*dict.fromkeys(name for name in value if isinstance(name, str))] if isinstance(value, list) else []


def _size(schema: Any) -> int:
    return len(json.dumps(schema, separators=(",", ":")))


def shorten(text: str, limit_characters: int) -> str:
    """Return the text in one line, and cut at a word where it is longer."""
    line = " ".join(text.split())
    if len(line) <= limit_characters:
        return line
    return f"{line[:limit_characters].rsplit(' ', 1)[0]}…"
