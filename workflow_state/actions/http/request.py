"""Building the request of an action from its definition and its inputs. Pure functions.

The same inputs make the same bytes, so that a retry with the same Idempotency-Key is the same request. A plan is
written by a language model, and values come from other people's servers. So nothing here trusts them: a value stays the
value of its own path segment, parameter, header or property.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from workflow_state.actions.http.content_type import media_type_of
from workflow_state.actions.http.failures import make_detail
from workflow_state.actions.http.header_rules import find_header_problem
from workflow_state.actions.http.url_template import (
    TemplateValueError,
    encode_query_pair,
    fill_path,
    fill_query,
    find_url_problem,
    split_template,
)
from workflow_state.charsets import encode_text, find_charset_problem, name_charset
from workflow_state.errors import HttpActionError
from workflow_state.overrides import find_header_override, find_query_override, fold_header
from workflow_state.placement import find_placement_problem, split_input
from workflow_state.schema import ActionDefinition, ErrorCategory

IDEMPOTENCY_KEY = "Idempotency-Key"
FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"
JSON_CONTENT_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class BuiltRequest:
    """What is sent. Header values are text that goes out as UTF-8."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class _Inputs:
    """An action's inputs, by where they go."""

    path: dict[str, JsonValue]
    query: dict[str, JsonValue]
    headers: dict[str, JsonValue]
    properties: dict[str, JsonValue]
    body: JsonValue
    has_body: bool


def build_request(
    definition: ActionDefinition,
    inputs: Mapping[str, JsonValue],
    *,
    own_url: str | None = None,
    own_headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> BuiltRequest:
    """Return the request for these inputs.

    `own_url` and `own_headers` are the definition's with credentials in them, by default as they are written. No input
    can replace one of these headers. Raises HttpActionError (validation_failed, not retryable) for an input that has no
    place in the request, for a placeholder without a value, and for a value that can't stand where it belongs.
    """
    try:
        return _build(definition, inputs, own_url or definition.endpoint.url, own_headers, idempotency_key)
    except TemplateValueError as error:
        raise reject_inputs(definition, str(error)) from None


def reject_inputs(definition: ActionDefinition, message: str, suggestion: str | None = None) -> HttpActionError:
    """Return the error for inputs from which no request can be made."""
    return HttpActionError(
        make_detail(
            ErrorCategory.VALIDATION_FAILED,
            "bad_input",
            f"{message}; nothing was sent",
            context={"actionDefinitionId": definition.id, "method": definition.endpoint.method},
            suggestion=suggestion,
        )
    )


def _build(
    definition: ActionDefinition,
    inputs: Mapping[str, JsonValue],
    own_url: str,
    own_headers: Mapping[str, str] | None,
    idempotency_key: str | None,
) -> BuiltRequest:
    sorted_inputs = _sort_inputs(definition, inputs)
    headers = _build_headers(definition, own_headers, sorted_inputs)
    names = {name.lower() for name in headers}
    if idempotency_key and definition.endpoint.method != "GET" and IDEMPOTENCY_KEY.lower() not in names:
        headers[IDEMPOTENCY_KEY] = idempotency_key
    body = _build_body(sorted_inputs, headers)
    return BuiltRequest(definition.endpoint.method, _build_url(definition, own_url, sorted_inputs), headers, body)


def _sort_inputs(definition: ActionDefinition, inputs: Mapping[str, JsonValue]) -> _Inputs:
    places: dict[str, dict[str, JsonValue]] = {"query": {}, "header": {}, "body": {}, "": {}}
    for key, value in inputs.items():
        if problem := find_placement_problem(key, definition):
            raise reject_inputs(definition, problem.problem, problem.suggestion)
        place, name = split_input(key)
        if name:
            places[place][name] = value
    missing = [name for name in definition.endpoint.placeholders if places[""].get(name) is None]
    if missing:
        raise reject_inputs(
            definition,
            f"the URL needs a value for {_listed(missing)}",
            f"add {_listed(missing)} to the action's inputs",
        )
    return _Inputs(
        path=places[""],
        query=places["query"],
        headers=places["header"],
        properties=places["body"],
        body=inputs.get("body"),
        has_body="body" in inputs,
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _build_url(definition: ActionDefinition, own_url: str, inputs: _Inputs) -> str:
    template = split_template(own_url)
    values = {name: _scalar_text(name, value) for name, value in inputs.path.items()}
    for name in inputs.query:
        if override := find_query_override(name, definition):
            raise reject_inputs(definition, override.problem, override.suggestion)
    pairs = [encode_query_pair(name, text) for name, value in inputs.query.items() for text in _texts(name, value)]
    query = "&".join([fill_query(template.query, values), *pairs] if template.query else pairs)
    url = template.origin + fill_path(template.path, values) + (f"?{query}" if query else "")
    if problem := find_url_problem(url):
        raise reject_inputs(definition, f"the URL can't be built: {problem}")
    return url


def _build_headers(
    definition: ActionDefinition, own_headers: Mapping[str, str] | None, inputs: _Inputs
) -> dict[str, str]:
    headers = dict(definition.endpoint.headers if own_headers is None else own_headers)
    taken: set[str] = set()
    for name, value in inputs.headers.items():
        if value is None:
            continue
        text = _scalar_text(f"header.{name}", value).strip(" \t")
        if problem := find_header_problem(name, text):
            raise TemplateValueError(problem)
        if override := find_header_override(name, definition):
            raise reject_inputs(definition, override.problem, override.suggestion)
        if fold_header(name) in taken:
            raise TemplateValueError(f"the header {name} is set twice")
        taken.add(fold_header(name))
        headers[name] = text
    return headers


def _build_body(inputs: _Inputs, headers: dict[str, str]) -> bytes | None:
    """Return the body, and set the Content-Type where the definition has none."""
    if not inputs.has_body and not inputs.properties:
        return None
    body = inputs.body
    if inputs.properties:
        if inputs.has_body and not isinstance(body, dict):
            raise TemplateValueError("'body' is no object, so that body.NAME can't be added to it")
        body = {**(body if isinstance(body, dict) else {}), **inputs.properties}
    declared = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
    if declared is None:
        headers["Content-Type"] = declared = JSON_CONTENT_TYPE
    return _encode_body(body, declared)


def _encode_body(body: JsonValue, content_type: str) -> bytes:
    if is_written_as_json(content_type):
        return encode_json(body)
    media_type = media_type_of(content_type)
    if media_type == FORM_CONTENT_TYPE:
        if not isinstance(body, dict):
            raise TemplateValueError("a form body must be an object of fields")
        pairs = [encode_query_pair(name, text) for name, value in body.items() for text in _texts(name, value)]
        return "&".join(pairs).encode()
    if not isinstance(body, str):
        raise TemplateValueError(f"a body of type {media_type} must be a string")
    if problem := find_charset_problem(content_type):
        raise TemplateValueError(problem)
    charset = name_charset(content_type) or "utf-8"
    try:
        return encode_text(body, charset)
    except UnicodeError:
        raise TemplateValueError(f"the value of 'body' can't be written as {charset}") from None


def is_written_as_json(content_type: str) -> bool:
    """Return whether a body of this type is any JSON value, which is written here; it is a text otherwise."""
    media_type = media_type_of(content_type)
    return media_type == JSON_CONTENT_TYPE or media_type.endswith("+json")


def encode_json(body: JsonValue) -> bytes:
    """Return the bytes that a JSON body is sent as; TemplateValueError where there are none."""
    try:
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise TemplateValueError("the body contains half a character (a lone surrogate)") from None
    except (ValueError, TypeError, RecursionError):
        raise TemplateValueError("the body can't be written as JSON (NaN, infinite, or nested too deeply)") from None


def _texts(name: str, value: JsonValue) -> list[str]:
    """Return the values of a repeated parameter: a list's elements, nothing for null."""
    values = value if isinstance(value, list) else [value]
    return [_scalar_text(name, item) for item in values if item is not None]


def _scalar_text(name: str, value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateValueError(f"the value of '{name}' is not a finite number")
    if isinstance(value, list | dict) or value is None:
        raise TemplateValueError(f"the value of '{name}' must be a string, a number or a boolean")
    return json.dumps(value)
