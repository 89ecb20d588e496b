"""Write the tables of fields into the pages, from the models of the contract: `make docs`.

A table stands between `<!-- table: Model -->` and `<!-- end of table -->`.
"""

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from workflow_state import schema

PAGES = sorted(Path(__file__).parents[1].rglob("*.md"))

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_NAMES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "object",
}

_FORMATS = {"uuid": "UUID", "date-time": "time"}


def with_tables(page: str) -> str:
    """Return the text of a page with its tables as they should be."""
    return _TABLE.sub(lambda found: f"{found[1]}{_table(getattr(schema, found[2]))}{found[3]}", page)


def _table(model: type[BaseModel]) -> str:
    document = model.model_json_schema(by_alias=True)
    required = document.get("required", [])
    lines = ["| field | type | default | |", "|---|---|---|---|"]
    for name, field in document["properties"].items():
        default = "**required**" if name in required else _default(field)
        lines.append(f"| `{name}` | {_type(field)} | {default} | {_cell(field['description'])} |")
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
    return _FORMATS.get(field.get("format", "")) or _NAMES[field["type"]] + _bounds(field)


def _reference(name: str) -> str:
    if name == "Effect":
        return " \\| ".join(f"`{item}`" for item in schema.Effect)
    return "any JSON" if name == "JsonValue" else f"[{name}](#{name.lower()})"


def _bounds(field: dict[str, Any]) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    if "exclusiveMinimum" in field:
        return f" above {field['exclusiveMinimum']:g}"
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    if least is not None and least > 0:
        return f", at least {least:,}"
    return f", at most {field['maxLength']} characters" if "maxLength" in field else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_tables(path.read_text()))
