"""From an OpenAPI 3.0 or 3.1 document to action definitions, and the list of what could not be expressed.

Pure: a document in, definitions out, in the document's order; the same document gives the same definitions. Each
operation is read by itself, so that one that is wrong costs no other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from openapi_pydantic.v3.v3_0 import Operation as Operation30
from openapi_pydantic.v3.v3_1 import Operation as Operation31
from pydantic import ValidationError

from workflow_state.actions.definitions.rules import find_definition_problems
from workflow_state.actions.http.request import (
    FORM_CONTENT_TYPE,
    IDEMPOTENCY_KEY,
    JSON_CONTENT_TYPE,
    find_header_problem,
)
from workflow_state.actions.http.url_template import RESERVED_NAMES
from workflow_state.actions.openapi.document import Json, follow
from workflow_state.actions.openapi.json_schema import SchemaReader, bundle_schema, property_schemas, shorten
from workflow_state.actions.openapi.security import Security, read_security
from workflow_state.errors import ActionDefinitionError
from workflow_state.json_schema.paths import types_of, view_part
from workflow_state.schema import ActionDefinition

METHODS: Final = ("get", "post", "put", "patch", "delete")
_OTHER_METHODS: Final = ("head", "options", "trace", "query")
_MAX_ID_CHARACTERS: Final = 128
_MAX_NAME_CHARACTERS: Final = 120
_MAX_DESCRIPTION_CHARACTERS: Final = 500
# These are the client's own (OpenAPI 3.1, Parameter Object).
_IGNORED_HEADERS: Final = frozenset({"accept", "content-type", "authorization"})
_NOT_TO_BE_TOLD: Final = frozenset({"schema", "Schema", "Reference"})
_NO_CONTENT: Final = frozenset({"204", "205"})


@dataclass(slots=True)
class ImportReport:
    """What came of a document.

    `refused` says of each operation that is not there why; `notes` what of one that is there was left out; `variables`
    are the names in the environment that the credentials are read from.
    """

    title: str
    definitions: list[Json] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)


class _NotExpressibleError(Exception):
    """An operation can't be a definition; the message says why."""


@dataclass(slots=True)
class _Inputs:
    """The inputs of one operation: their raw schemas by their names, and what must be there."""

    properties: Json = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    is_open: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    has_key: bool = False
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, schema: Any, *, required: bool) -> None:
        self.properties[name] = schema
        if required:
            self.required.append(name)


def import_openapi(
    document: Json, *, server: str | None = None, prefix: str = "", with_output_schemas: bool = True
) -> ImportReport:
    """Return the definitions of all operations that can be expressed; ids start with `prefix`.

    `server` replaces the servers of the document. Raises ActionDefinitionError where no URL is absolute.
    """
    info = document.get("info") if isinstance(document.get("info"), dict) else {}
    report = ImportReport(
        " ".join(str((info or {}).get(name, "")) for name in ("title", "version")).strip() or "untitled"
    )
    ids: set[str] = set()
    for path, item in document.get("paths", {}).items():
        shared = follow(document, item)
        if not isinstance(shared, dict):
            report.refused.append(f"{path}: is no path item, or a reference out of the document")
            continue
        report.refused += [
            f"{method.upper()} {path}: the method has no counterpart" for method in _OTHER_METHODS if method in shared
        ]
        for method in METHODS:
            if method in shared:
                _import_operation(document, report, ids, (path, method, shared), (server, prefix, with_output_schemas))
    report.variables = sorted(set(report.variables))
    report.notes = [*dict.fromkeys(report.notes)]
    return report


def _import_operation(
    document: Json,
    report: ImportReport,
    ids: set[str],
    place: tuple[str, str, Json],
    options: tuple[str | None, str, bool],
) -> None:
    path, method, shared = place
    server, prefix, with_output_schemas = options
    name = f"{method.upper()} {path}"
    operation = shared[method]
    notes: list[str] = []
    try:
        _check_form(document, operation)
        base = server or _find_server(document, shared, operation)
        security = read_security(document, operation, base)
        definition = _make_definition(document, place, base, security, notes)
        if with_output_schemas and (output := _read_output(document, operation, notes)):
            definition["outputSchema"] = output
        definition["id"] = _make_id(prefix, operation.get("operationId"), path, method, ids)
        _check_definition(definition, notes)
    except _NotExpressibleError as error:
        report.refused.append(f"{name}: {error}")
        return
    ids.add(definition["id"])
    if security.problem:
        notes.append(f"has no authentication: {security.problem}")
    report.definitions.append(definition)
    report.notes += [f"{definition['id']}: {note}" for note in dict.fromkeys(notes)]
    report.variables += security.variables


def _check_form(document: Json, operation: Any) -> None:
    is_3_0 = str(document["openapi"]).startswith("3.0")
    try:
        (Operation30 if is_3_0 else Operation31).model_validate(operation)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            where = [str(part) for part in problem["loc"]]
            # Schemas are read part by part, and that it is no reference either is no news.
            if not _NOT_TO_BE_TOLD.intersection(where):
                raise _NotExpressibleError(f"is no valid operation: {'.'.join(where)}: {problem['msg']}") from None


def _make_definition(
    document: Json, place: tuple[str, str, Json], base: str, security: Security, notes: list[str]
) -> Json:
    path, method, shared = place
    operation = shared[method]
    inputs = _Inputs(notes=notes)
    url = _read_path(document, base, path, _merge_parameters(document, shared, operation), inputs)
    _read_body(document, operation, method, inputs)
    headers = {**inputs.headers, **security.headers}
    definition: Json = {
        "id": "",
        "name": shorten(
            str(operation.get("summary") or operation.get("operationId") or f"{method} {path}"), _MAX_NAME_CHARACTERS
        ),
    }
    if text := shorten(str(operation.get("description") or ""), _MAX_DESCRIPTION_CHARACTERS):
        definition["description"] = text
    if operation.get("deprecated") is True:
        definition["description"] = f"Deprecated. {text}".strip()
    definition["endpoint"] = {"url": url, "method": method.upper(), **({"headers": headers} if headers else {})}
    if security.authentication:
        definition["authentication"] = security.authentication
    if inputs.has_key and method in ("post", "patch"):
        definition["effect"] = "keyed"
    definition["inputSchema"] = _close(document, inputs, notes)
    return definition


def _close(document: Json, inputs: _Inputs, notes: list[str]) -> Json:
    """Return the schema of all inputs; names that the operation does not have are none of it."""
    raw: Json = {"type": "object", "properties": inputs.properties}
    if inputs.required:
        raw["required"] = inputs.required
    if inputs.is_open:
        raw["patternProperties"] = {"^body[.]": True}
    raw["additionalProperties"] = False
    reader = SchemaReader(document, is_request=True)
    # That a required property is read-only was seen to; here they are inputs.
    schema = bundle_schema(reader, raw)
    notes += reader.notes
    return schema or {"type": "object", "required": inputs.required}


# --- Where it goes ---------------------------------------------------------------------------------------------


def _find_server(document: Json, shared: Json, operation: Json) -> str:
    """Return the nearest server with an absolute URL, its variables replaced by their defaults."""
    lists = [holder.get("servers") for holder in (operation, shared, document)]
    servers: list[Any] = next((servers for servers in lists if isinstance(servers, list) and servers), [])
    for server in servers:
        url = _fill_server(server) if isinstance(server, dict) else ""
        if re.match(r"https?://", url, re.IGNORECASE):
            return url
    raise _NotExpressibleError("the document names no server with an absolute URL; say --server URL")


def _fill_server(server: Json) -> str:
    variables = server.get("variables")
    known = variables if isinstance(variables, dict) else {}
    return re.sub(r"\{([^{}]+)\}", lambda match: _default_of(known, match), str(server.get("url", "")))


def _default_of(variables: Mapping[str, Any], match: re.Match[str]) -> str:
    variable = variables.get(match.group(1))
    default = variable.get("default") if isinstance(variable, dict) else None
    return match.group() if default is None else str(default)


def _merge_parameters(document: Json, shared: Json, operation: Json) -> list[Json]:
    merged: dict[tuple[str, str], Json] = {}
    for raw in [*(shared.get("parameters") or []), *(operation.get("parameters") or [])]:
        parameter = follow(document, raw)
        if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
            raise _NotExpressibleError(f"the parameter {raw.get('$ref', '')} can't be read: it is not in the document")
        merged[str(parameter.get("in")), parameter["name"]] = parameter
    return [*merged.values()]


def _read_path(document: Json, base: str, path: str, parameters: Sequence[Json], inputs: _Inputs) -> str:
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
    filled = re.sub(
        r"\{([^{}]+)\}", lambda match: f"{{{renamed[match.group(1)]}}}", path.partition("#")[0] if "#" in path else path
    )
    if "#" in path:
        raise _NotExpressibleError("the path has a fragment (#…), which is never sent")
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


def _read_parameter(document: Json, parameter: Json, inputs: _Inputs) -> None:
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
            _leave_out(inputs, f"the header parameter '{name}': {problem}", required=required)
        else:
            schema = _text_schema(document, _schema_of(parameter))
            inputs.add(f"header.{name}", _described(schema, parameter), required=required)
    elif place == "cookie":
        _leave_out(inputs, f"the cookie parameter '{name}': cookies have no counterpart", required=required)
    elif place != "path":
        _leave_out(inputs, f"the parameter '{name}' in {place}: there is no such place", required=required)


def _leave_out(inputs: _Inputs, what: str, *, required: bool) -> None:
    if required:
        raise _NotExpressibleError(f"it needs {what}")
    inputs.notes.append(f"left out {what}")


def _read_query(document: Json, parameter: Json, inputs: _Inputs, *, required: bool) -> None:
    name, schema = parameter["name"], _schema_of(parameter)
    kinds = _kinds(document, schema)
    style = parameter.get("style", "form")
    explode = parameter.get("explode", style == "form")
    reader = SchemaReader(document, is_request=True)
    if kinds == {"object"} or style == "deepObject":
        parts = property_schemas(reader, schema)
        if parts is None or not (style == "deepObject" or explode):
            _leave_out(inputs, f"the query parameter '{name}': an object in a query of this form", required=required)
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


# --- What is sent and answered ---------------------------------------------------------------------------------


def _read_body(document: Json, operation: Json, method: str, inputs: _Inputs) -> None:
    body = follow(document, operation.get("requestBody"))
    if body is None and "requestBody" in operation:
        raise _NotExpressibleError("its request body is a reference that can't be followed")
    if not isinstance(body, dict):
        return
    required = body.get("required") is True
    content = body.get("content") if isinstance(body.get("content"), dict) else {}
    if method == "get":
        _leave_out(inputs, "a request body, which GET does not have here", required=required)
        return
    media_type = _choose_media_type(content or {})
    if media_type is None:
        # Many documents forget to say that the body is required; without it nothing would be done.
        raise _NotExpressibleError(f"a request body of type {', '.join(content or {}) or 'unknown'} has no counterpart")
    holder = (content or {})[media_type]
    schema = holder.get("schema", {}) if isinstance(holder, dict) else {}
    if _bare(media_type) not in (JSON_CONTENT_TYPE, "*/*"):
        inputs.headers["Content-Type"] = media_type
    if not (_is_json(media_type) or _bare(media_type) == FORM_CONTENT_TYPE):
        inputs.add("body", {"type": "string"}, required=required)
        return
    parts = property_schemas(SchemaReader(document, is_request=True), schema)
    if parts is None:
        inputs.add("body", schema, required=required)
        return
    properties, names, rest = parts
    for name, part in properties.items():
        inputs.add(f"body.{name}", part, required=required and name in names)
    # Without a word about others, others are taken for a mistake.
    inputs.is_open = rest not in (None, False)


def _choose_media_type(content: Mapping[str, Any]) -> str | None:
    """Return JSON before forms before text; None where there is nothing that can be written."""
    ranks = {
        name: 0
        if _bare(name) == JSON_CONTENT_TYPE
        else 1
        if _is_json(name)
        else 2
        if _bare(name) == FORM_CONTENT_TYPE
        else 3
        for name in content
        if _is_json(name)
        or _bare(name) == FORM_CONTENT_TYPE
        or _bare(name).startswith("text/")
        or _bare(name) == "application/xml"
    }
    return min(ranks, key=lambda name: ranks[name], default=None)


def _bare(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    bare = _bare(media_type)
    return bare in (JSON_CONTENT_TYPE, "*/*") or (bare.endswith("+json") and "*" not in bare)


def _is_negotiable(media_type: str) -> bool:
    """Return whether a server gives this only to those that prefer it to JSON, which the client does not."""
    bare = _bare(media_type)
    return bare.endswith("xml") or bare in ("text/html", "text/plain", "text/csv")


def _read_output(document: Json, operation: Json, notes: list[str]) -> Json | None:
    """Return the schema of what a success answers, or None where the document does not say."""
    schemas: list[Any] = []
    responses = operation.get("responses")
    for status, raw in responses.items() if isinstance(responses, dict) else ():
        if not str(status).startswith("2"):
            continue
        response = follow(document, raw)
        content = response.get("content") if isinstance(response, dict) else None
        if status in _NO_CONTENT:
            schemas.append({"enum": [None]})
            continue
        # Where a success has no content that is described, nobody knows what comes.
        if not isinstance(content, dict) or not content:
            return None
        for media_type, holder in content.items():
            if len(content) > 1 and _is_negotiable(media_type):
                continue
            if not _is_json(media_type) or not isinstance(holder, dict) or not isinstance(holder.get("schema"), dict):
                return None
            schemas.append(holder["schema"])
    unique = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    if not unique or unique == [{"enum": [None]}]:
        return None
    reader = SchemaReader(document, is_request=False)
    schema = bundle_schema(reader, unique[0] if len(unique) == 1 else {"anyOf": unique})
    notes += reader.notes
    return schema or None


# --- Names and the last check ----------------------------------------------------------------------------------


def _make_id(prefix: str, operation_id: Any, path: str, method: str, taken: set[str]) -> str:
    named = operation_id if isinstance(operation_id, str) and operation_id.strip() else f"{method}{path}"
    base = re.sub(r"[^A-Za-z0-9_.-]+", "_", re.sub(r"\s*/\s*", ".", re.sub(r"[{}]", "", named.strip()))).strip("._-")
    base = f"{prefix}{base or method}"[:_MAX_ID_CHARACTERS]
    return next(name for name in _numbered(base) if name not in taken)


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base}-{number}"
        number += 1


def _check_definition(definition: Json, notes: list[str]) -> None:
    """Raise where the definition could not be loaded; a schema that is wrong is left out."""
    for _ in range(3):
        try:
            problems = find_definition_problems(ActionDefinition.model_validate(definition))
        except ValidationError as error:
            raise _NotExpressibleError(str(error.errors(include_url=False, include_input=False)[0]["msg"])) from None
        if not problems:
            return
        name = problems[0].path[0]
        if name not in ("inputSchema", "outputSchema"):
            raise _NotExpressibleError(f"{'.'.join(map(str, problems[0].path))} {problems[0].message}")
        notes.append(f"the {name} was left out: {problems[0].message}")
        del definition[name]


def require_some(report: ImportReport) -> None:
    """Raise ActionDefinitionError where nothing was imported, saying why."""
    if report.definitions:
        return
    why = report.refused or ["it has no operations"]
    raise ActionDefinitionError("\n  ".join(["nothing was imported", *why[:20]]))


def describe_import(report: ImportReport) -> list[str]:
    """Return what a person has to know of the import, line by line."""
    lines = [f"imported {len(report.definitions)} operations"]
    if report.refused:
        lines += [f"not imported ({len(report.refused)}):", *(f"  {reason}" for reason in report.refused)]
    if report.notes:
        lines += [f"imported in part ({len(report.notes)}):", *(f"  {note}" for note in report.notes)]
    if report.variables:
        lines += ["set in the environment of the workers:", *(f"  {name}" for name in report.variables)]
    return lines
