"""A server that answers as an OpenAPI document says, and refuses what the document does not allow.

It reads the document by itself, and not as the import does: the two are to agree on what a request is.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import jsonschema_rs

_MAX_DEPTH = 5
_FORMATS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "email": "a@example.test",
    "uri": "https://example.test/",
}


def resolve(root, schema):
    while isinstance(schema, dict) and "$ref" in schema:
        node = root
        for token in schema["$ref"][2:].split("/"):
            node = node[token.replace("~1", "/").replace("~0", "~")]
        schema = node
    return schema


def sample(root, schema, depth=0):  # noqa: C901, PLR0911 - a case for each keyword
    """Return a value that fits the schema, with optional properties down to some depth."""
    schema = resolve(root, schema)
    if not isinstance(schema, dict):
        return "any"
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            rest = {name: value for name, value in schema.items() if name != keyword}
            options = [option for option in schema[keyword] if resolve(root, option).get("type") != "null"]
            return sample(
                root, {"allOf": [options[0], rest]} if rest.keys() & {"properties", "type"} else options[0], depth
            )
    if "allOf" in schema:
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        for raw in schema["allOf"]:
            part = resolve(root, raw)
            merged = {**part, **merged, "properties": {**part.get("properties", {}), **merged.get("properties", {})},
                      "required": [*part.get("required", []), *merged.get("required", [])]}  # fmt: skip
        if not merged["properties"]:
            del merged["properties"]
        return sample(root, merged, depth)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = next((kind for kind in kinds if kind != "null"), "null") if isinstance(kinds, list) else kinds
    if kind == "object":
        required = schema.get("required", [])
        chosen = {
            name: part
            for name, part in schema.get("properties", {}).items()
            if name in required or depth < _MAX_DEPTH - 1
        }
        return {name: sample(root, part, depth + 1) for name, part in chosen.items()}
    if kind == "array":
        count = max(schema.get("minItems", 0), 1 if depth < _MAX_DEPTH - 1 else 0)
        return [sample(root, schema.get("items", {}), depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        return 1 if low in (None, False, True) else low + 1 if "exclusiveMinimum" in schema else low
    if kind == "string":
        text = _FORMATS.get(schema.get("format"), "text")
        return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 99)]
    return {"boolean": True, "null": None}[kind]


@contextmanager
def mock_api(document) -> Iterator[tuple[str, list[str]]]:
    """Serve the document on loopback; yield the URL, and the list of what was wrong with the requests."""
    problems: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            status, body = answer(document, self, problems)
            data = b"" if body is None else json.dumps(body[0]).encode()
            self.send_response(status)
            if body is not None:
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the base class's names

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", problems
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(document, request, problems):
    """Return the status, and the body in a tuple or None."""
    url = urlsplit(request.path)
    method = request.command.lower()
    body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
    found = find_operation(document, method, url.path)
    if found is None:
        problems.append(f"{method} {url.path} is no operation")
        return 404, None
    item, operation = found
    for raw in [*item.get("parameters", []), *operation.get("parameters", [])]:
        parameter = resolve(document, raw)
        given = {"query": parse_qs(url.query), "header": request.headers}.get(parameter["in"], {parameter["name"]: 1})
        if parameter.get("required") and parameter["name"] not in given:
            problems.append(f"{method} {url.path} lacks the {parameter['in']} parameter {parameter['name']}")
    if "requestBody" in operation and body:
        problems += [f"{method} {url.path}: {problem}" for problem in check_body(document, operation, request, body)]
    successes = [(status, one) for status, one in operation["responses"].items() if status[0] in "2d"]
    status, response = (successes or [("200", {})])[0]
    content = resolve(document, response).get("content", {}).get("application/json")
    code = 200 if status == "default" else int(status)
    return code, None if content is None else (sample(document, content["schema"]),)


def find_operation(document, method, path):
    for template, item in document["paths"].items():
        pattern = re.sub(r"\\\{[^{}]+\\\}", "[^/]+", re.escape(template))
        if method in item and re.fullmatch(pattern, path):
            return item, item[method]
    return None


def check_body(document, operation, request, body):
    content = resolve(document, operation["requestBody"])["content"]
    media_type = request.headers["Content-Type"]
    if media_type not in content:
        return [f"the type {media_type} is not among {[*content]}"]
    if media_type != "application/json":
        return []
    schema = {**content[media_type]["schema"], "components": document["components"]}
    validator = (
        jsonschema_rs.Draft4Validator if document["openapi"].startswith("3.0") else jsonschema_rs.Draft202012Validator
    )
    return [
        error.message
        for error in validator(schema, offline=True).iter_errors(json.loads(body))
        if not (error.kind.name == "required" and is_read_only(document, error.kind.as_dict()["property"]))
    ]


def is_read_only(value, name):
    """Return whether any schema in the document calls the property read-only: a request is not to have it."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = value.get("properties", {}).get(name, {}) if isinstance(value, dict) else {}
    return own.get("readOnly") is True or any(is_read_only(part, name) for part in parts)
