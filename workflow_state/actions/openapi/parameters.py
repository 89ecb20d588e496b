"""The parameters of an operation: what fills the URL, the query and the headers, as inputs of a definition."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from workflow_state.actions.http.header_rules import find_header_problem
from workflow_state.actions.http.request import IDEMPOTENCY_KEY
from workflow_state.actions.http.url_template import RESERVED_NAMES
from workflow_state.actions.openapi.document import Json, follow
from workflow_state.actions.openapi.json_schema import SchemaReader, property_schemas
from workflow_state.actions.openapi.report import NotExpressibleError
from workflow_state.json_schema.paths import types_of, view_part
from workflow_state.overrides import find_bending_header

# These are the client's own (OpenAPI 3.1, Parameter Object).
_IGNORED_HEADERS: Final = frozenset({"accept", "content-type", "authorization"})


@dataclass(slots=True)
class Inputs:
    """The inputs of one operation: their raw schemas by name, and which of them must be there.

    `is_open` says that the body may have properties that the document does not name. `headers` are fixed ones.
    `has_key` says that the server takes an Idempotency-Key. `notes` tell what was left out.
    """

    properties: Json = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    is_open: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    has_key: bool = False
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, schema: Any, *, required: bool) -> None:
        """Add one input."""
        self.properties[name] = schema
        if required:
            self.required.append(name)


def merge_parameters(document: Json, shared: Json, operation: Json) -> list[Json]:
    """Return the parameters of the path item and of the operation; of two with one name, the operation's.

    Raises NotExpressibleError for a parameter that is a reference out of the document.
    """
    merged: dict[tuple[str, str], Json] = {}
    for raw in [*(shared.get("parameters") or []), *(operation.get("parameters") or [])]:
        parameter = follow(document, raw)
        if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
            raise NotExpressibleError(f"the parameter {raw.get('$ref', '')} can't be read: it is not in the document")
        merged[str(parameter.get("in")), parameter["name"]] = parameter
    return [*merged.values()]


def read_url(document: Json, base: str, path: str, parameters: Sequence[Json], inputs: Inputs) -> str:
    """Return the definition's URL, and add the parameters to the inputs.

    A path parameter whose name can't be a placeholder gets another name, and a note. Raises NotExpressibleError for a
    path with a fragment, and for a parameter that the request needs and that can't be expressed.
    """
    if "#" in path:
        raise NotExpressibleError("the path has a fragment (#…), which is never sent")
    declared = {parameter["name"]: parameter for parameter in parameters if parameter.get("in") == "path"}
    renamed: dict[str, str] = {}
    for name in dict.fromkeys(re.findall(r"\{([^{}]+)\}", path)):
        renamed[name] = _name_placeholder(name, renamed)
        schema = _text_schema(document, _schema_of(declared.get(name, {})))
        inputs.add(renamed[name], _described(schema, declared.get(name, {})), required=True)
        if renamed[name] != name:
            inputs.notes.append(f"the path parameter '{name}' is the input '{renamed[name]}'")
    for parameter in parameters:
        _read_parameter(document, parameter, inputs)
    filled = re.sub(r"\{([^{}]+)\}", lambda match: f"{{{renamed[match.group(1)]}}}", path)
    return base.rstrip("/") + (filled if filled.startswith("/") else f"/{filled}")


def _name_placeholder(name: str, renamed: Mapping[str, str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    plain = plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"
    while plain in RESERVED_NAMES or plain in renamed.values():
        plain += "_"
    return plain


def _schema_of(parameter: Json) -> Any:
    content = parameter.get("content")
    if isinstance(content, dict) and content:
        return {"type": "string", "description": f"a text of type {next(iter(content))}"}
    return parameter.get("schema", {})


def _described(schema: Any, parameter: Json) -> Any:
    text = parameter.get("description")
    if not isinstance(text, str) or not isinstance(schema, dict):
        return schema
    # Beside a reference a description would be lost in OpenAPI 3.0.
    return {"allOf": [schema], "description": text} if "$ref" in schema else {**schema, "description": text}


def _text_schema(document: Json, schema: Any) -> Any:
    """Return the schema of a value that is one text: a list is written with commas."""
    if _kinds(document, schema) <= {"array", "object"}:
        return {"type": "string", "description": "several values are separated by commas"}
    return schema


def _kinds(document: Json, schema: Any) -> frozenset[str]:
    return types_of(view_part(document, schema)) - {"null"}


def _read_parameter(document: Json, parameter: Json, inputs: Inputs) -> None:
    place, name = parameter.get("in"), parameter["name"]
    required = parameter.get("required") is True
    if place == "query":
        _read_query(document, parameter, inputs, required=required)
    elif place == "header":
        if name.lower() in _IGNORED_HEADERS:
            return
        if name.lower() == IDEMPOTENCY_KEY.lower():
            # The engine sends one of its own, the same for each attempt.
            inputs.has_key = True
        elif problem := find_header_problem(name):
            leave_out(inputs, f"the header parameter '{name}': {problem}", required=required)
        elif override := find_bending_header(name):
            leave_out(inputs, f"the header parameter '{name}': {override.problem}", required=required)
        else:
            schema = _text_schema(document, _schema_of(parameter))
            inputs.add(f"header.{name}", _described(schema, parameter), required=required)
    elif place == "cookie":
        leave_out(inputs, f"the cookie parameter '{name}': cookies have no counterpart", required=required)
    elif place != "path":
        leave_out(inputs, f"the parameter '{name}' in {place}: there is no such place", required=required)


def leave_out(inputs: Inputs, what: str, *, required: bool) -> None:
    """Note that something is left out. Raises NotExpressibleError where the request needs it."""
    if required:
        raise NotExpressibleError(f"it needs {what}")
    inputs.notes.append(f"left out {what}")


def _read_query(document: Json, parameter: Json, inputs: Inputs, *, required: bool) -> None:
    name, schema = parameter["name"], _schema_of(parameter)
    kinds = _kinds(document, schema)
    style = parameter.get("style", "form")
    explode = parameter.get("explode", style == "form")
    reader = SchemaReader(document, is_request=True)
    if kinds == {"object"} or style == "deepObject":
        parts = property_schemas(reader, schema)
        if parts is None or not (style == "deepObject" or explode):
            leave_out(inputs, f"the query parameter '{name}': an object in a query of this form", required=required)
            return
        for part, part_schema in parts[0].items():
            written = f"{name}[{part}]" if style == "deepObject" else part
            inputs.add(f"query.{written}", part_schema, required=required and part in parts[1])
    elif kinds == {"array"} and not explode:
        separator = {"form": "commas", "spaceDelimited": "spaces", "pipeDelimited": "|"}.get(str(style), "commas")
        text = {"type": "string", "description": f"several values are separated by {separator}"}
        inputs.add(f"query.{name}", _described(text, parameter), required=required)
    else:
        inputs.add(f"query.{name}", _described(schema, parameter), required=required)
