"""The contents of an operation: the body that is sent, and the output that a success answers."""

from collections.abc import Mapping
from typing import Any, Final

from workflow_state.actions.http.content_type import media_type_of
from workflow_state.actions.http.request import FORM_CONTENT_TYPE, JSON_CONTENT_TYPE
from workflow_state.actions.openapi.document import Json, follow
from workflow_state.actions.openapi.json_schema import SchemaReader, bundle_schema, property_schemas
from workflow_state.actions.openapi.parameters import Inputs, leave_out
from workflow_state.actions.openapi.report import NotExpressibleError

_NO_CONTENT: Final = frozenset({"204", "205"})


def read_body(document: Json, operation: Json, method: str, inputs: Inputs) -> None:
    """Add the request body to the inputs: a property each where it is an object, otherwise the whole as `body`.

    Raises NotExpressibleError for a body of a type that can't be written here, and for one that GET must have.
    """
    body = follow(document, operation.get("requestBody"))
    if body is None and "requestBody" in operation:
        raise NotExpressibleError("its request body is a reference that can't be followed")
    if not isinstance(body, dict):
        return
    required = body.get("required") is True
    content = body.get("content") if isinstance(body.get("content"), dict) else {}
    if method == "get":
        leave_out(inputs, "a request body, which GET does not have here", required=required)
        return
    media_type = _choose_media_type(content or {})
    if media_type is None:
        # Many documents forget to say that the body is required; without it nothing would be done.
        raise NotExpressibleError(f"a request body of type {', '.join(content or {}) or 'unknown'} has no counterpart")
    holder = (content or {})[media_type]
    schema = holder.get("schema", {}) if isinstance(holder, dict) else {}
    if media_type_of(media_type) not in (JSON_CONTENT_TYPE, "*/*"):
        inputs.headers["Content-Type"] = media_type
    if not (_is_json(media_type) or media_type_of(media_type) == FORM_CONTENT_TYPE):
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
    ranks = {name: rank for name in content if (rank := _rank(name)) is not None}
    return min(ranks, key=lambda name: ranks[name], default=None)


def _rank(media_type: str) -> int | None:
    bare = media_type_of(media_type)
    if bare == JSON_CONTENT_TYPE:
        return 0
    if _is_json(media_type):
        return 1
    if bare == FORM_CONTENT_TYPE:
        return 2
    return 3 if bare.startswith("text/") or bare == "application/xml" else None


def _is_json(media_type: str) -> bool:
    bare = media_type_of(media_type)
    return bare in (JSON_CONTENT_TYPE, "*/*") or (bare.endswith("+json") and "*" not in bare)


def _is_negotiable(media_type: str) -> bool:
    """Return whether a server gives this only to those that prefer it to JSON, which the client does not."""
    bare = media_type_of(media_type)
    return bare.endswith("xml") or bare in ("text/html", "text/plain", "text/csv")


def read_output(document: Json, operation: Json, notes: list[str]) -> Json | None:
    """Return the schema of what a success answers, or None where the document does not say.

    What had to be left out of the schema is added to `notes`.
    """
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
