"""The fields of the contract's models, as Markdown tables."""

import json
from enum import StrEnum
from typing import Any, Final

from writing import cell

from workflow_state import schema

_NAMES: Final = {
    "string": "text",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "object",
}
_FORMATS: Final = {"uuid": "UUID", "date-time": "time"}
# A choice of more words is a list of its own on the page.
_FEW_WORDS: Final = 6


def describe_model(name: str) -> str:
    """Return the table of a model's fields: name in JSON, type, default and description."""
    document = getattr(schema, name).model_json_schema(by_alias=True)
    required = document.get("required", [])
    lines = ["| field | type | default | |", "|---|---|---|---|"]
    for field_name, field in document["properties"].items():
        default = "**required**" if field_name in required else _default(field)
        lines.append(f"| `{field_name}` | {_type(field)} | {default} | {cell(field['description'])} |")
    return "\n".join(lines) + "\n"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value is None or value == "" else f"`{json.dumps(value)}`"


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return _reference(field["$ref"].rpartition("/")[2])
    branches = [item for item in field.get("anyOf", field.get("oneOf", [])) if item.get("type") != "null"]
    if branches:
        return " or ".join(_type(item) for item in branches)
    if words := field.get("enum") or ("const" in field and [field["const"]]):
        return " \\| ".join(f"`{word}`" for word in words)
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}" + (f", 1 to {field['maxItems']:,}" if "maxItems" in field else "")
    if isinstance(values := field.get("additionalProperties"), dict) and "$ref" in values:
        return f"object of {_type(values)}"
    return _FORMATS.get(field.get("format", "")) or _NAMES[field["type"]] + _bounds(field)


def _reference(name: str) -> str:
    words = getattr(schema, name, None)
    if isinstance(words, type) and issubclass(words, StrEnum) and len(words) <= _FEW_WORDS:
        return " \\| ".join(f"`{word}`" for word in words)
    return "any JSON" if name == "JsonValue" else f"[{name}](#{name.lower()})"


def _bounds(field: dict[str, Any]) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    if "exclusiveMinimum" in field:
        return f" above {field['exclusiveMinimum']:g}"
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    if least is not None and least > 0:
        return f", at least {least:,}"
    return f", at most {field['maxLength']:,} characters" if "maxLength" in field else ""
