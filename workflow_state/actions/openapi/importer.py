"""Making action definitions of an OpenAPI 3.0 or 3.1 document, and the list of what could not be expressed. Pure.

The definitions are in the document's order, and the same document gives the same definitions. Each operation is read by
itself, so that a wrong one does not affect the others.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from openapi_pydantic.v3.v3_0 import Operation as Operation30
from openapi_pydantic.v3.v3_1 import Operation as Operation31
from pydantic import ValidationError

from workflow_state.actions.definitions.rules import find_definition_problems
from workflow_state.actions.openapi.contents import read_body, read_output
from workflow_state.actions.openapi.document import Json, follow
from workflow_state.actions.openapi.json_schema import SchemaReader, bundle_schema, shorten
from workflow_state.actions.openapi.parameters import Inputs, merge_parameters, read_url
from workflow_state.actions.openapi.report import ImportReport, NotExpressibleError
from workflow_state.actions.openapi.security import Security, read_security
from workflow_state.schema import ENV_REFERENCE, ActionDefinition

METHODS: Final = ("get", "post", "put", "patch", "delete")
_OTHER_METHODS: Final = ("head", "options", "trace", "query")
_MAX_ID_CHARACTERS: Final = 128
_MAX_NAME_CHARACTERS: Final = 120
_MAX_DESCRIPTION_CHARACTERS: Final = 500
_NOT_TO_BE_TOLD: Final = frozenset({"schema", "Schema", "Reference"})


def import_openapi(
    document: Json, *, server: str | None = None, prefix: str = "", with_output_schemas: bool = True
) -> ImportReport:
    """Return the definitions of all operations that can be expressed, and what was left out.

    Ids start with `prefix`. `server` is used in place of the document's servers. An operation that can't be expressed
    is among the report's `refused`; one without an absolute URL is too.
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
        base = server or find_server(document, shared, operation)
        security = read_security(document, operation, base)
        definition = _make_definition(document, place, base, security, notes)
        if with_output_schemas and (output := read_output(document, operation, notes)):
            definition["outputSchema"] = output
        definition["id"] = _make_id(prefix, operation.get("operationId"), path, method, ids)
        _check_definition(definition, notes)
    except NotExpressibleError as error:
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
            # Schemas are read part by part elsewhere. That the operation is not a reference is no problem.
            if not _NOT_TO_BE_TOLD.intersection(where):
                raise NotExpressibleError(f"is no valid operation: {'.'.join(where)}: {problem['msg']}") from None


def _make_definition(
    document: Json, place: tuple[str, str, Json], base: str, security: Security, notes: list[str]
) -> Json:
    path, method, shared = place
    operation = shared[method]
    inputs = Inputs(notes=notes)
    url = read_url(document, base, path, merge_parameters(document, shared, operation), inputs)
    read_body(document, operation, method, inputs)
    _refuse_variables(url, inputs.headers)
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


def _refuse_variables(url: str, headers: Mapping[str, str]) -> None:
    """Raise NotExpressibleError where the document itself names a variable, which would be sent to its server."""
    for text in (url, *headers.values()):
        if ENV_REFERENCE.search(text):
            raise NotExpressibleError("it has ${env.NAME} in it: only you may say which variable is sent to its server")


def _close(document: Json, inputs: Inputs, notes: list[str]) -> Json:
    """Return the schema of all inputs, which allows no other names."""
    raw: Json = {"type": "object", "properties": inputs.properties}
    if inputs.required:
        raw["required"] = inputs.required
    if inputs.is_open:
        raw["patternProperties"] = {"^body[.]": True}
    raw["additionalProperties"] = False
    reader = SchemaReader(document, is_request=True)
    # Read-only properties are left out already: `required` has inputs only.
    schema = bundle_schema(reader, raw)
    notes += reader.notes
    return schema or {"type": "object", "required": inputs.required}


def find_server(document: Json, shared: Json, operation: Json) -> str:
    """Return the nearest server with an absolute URL, its variables replaced by their defaults."""
    lists = [holder.get("servers") for holder in (operation, shared, document)]
    servers: list[Any] = next((servers for servers in lists if isinstance(servers, list) and servers), [])
    for server in servers:
        url = _fill_server(server) if isinstance(server, dict) else ""
        if re.match(r"https?://", url, re.IGNORECASE):
            return url
    raise NotExpressibleError("the document names no server with an absolute URL; say --server URL")


def _fill_server(server: Json) -> str:
    variables = server.get("variables")
    known = variables if isinstance(variables, dict) else {}
    return re.sub(r"\{([^{}]+)\}", lambda match: _default_of(known, match), str(server.get("url", "")))


def _default_of(variables: Mapping[str, Any], match: re.Match[str]) -> str:
    variable = variables.get(match.group(1))
    default = variable.get("default") if isinstance(variable, dict) else None
    return match.group() if default is None else str(default)


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
    """Raise NotExpressibleError where the definition could not be loaded. A schema that is wrong is left out."""
    for _ in range(3):
        try:
            problems = find_definition_problems(ActionDefinition.model_validate(definition))
        except ValidationError as error:
            raise NotExpressibleError(str(error.errors(include_url=False, include_input=False)[0]["msg"])) from None
        if not problems:
            return
        name = problems[0].path[0]
        if name not in ("inputSchema", "outputSchema"):
            raise NotExpressibleError(f"{'.'.join(map(str, problems[0].path))} {problems[0].message}")
        notes.append(f"the {name} was left out: {problems[0].message}")
        del definition[name]
