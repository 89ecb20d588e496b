"""What becomes of each part of an OpenAPI document."""

import json

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.actions.definitions.files import read_definition_files
from workflow_state.actions.definitions.yaml import write_definitions
from workflow_state.actions.openapi.document import read_openapi
from workflow_state.actions.openapi.importer import import_openapi
from workflow_state.actions.openapi.json_schema import MAX_BUNDLED_BYTES, SchemaReader, bundle_schema
from workflow_state.actions.openapi.report import describe_import, require_some
from workflow_state.errors import ActionDefinitionError
from workflow_state.json_schema.compiled import compile_schema
from workflow_state.json_schema.inputs import describe_wrong_inputs
from workflow_state.schema import ActionDefinition

OK = {"200": {"description": "fine"}}


def document(paths, version="3.0.3", **fields):
    return {
        "openapi": version,
        "info": {"title": "Shop", "version": "1"},
        "servers": [{"url": "https://shop.test/v1/"}],
        "paths": paths,
        **fields,
    }


def operation(**fields):
    return {"operationId": "op", "responses": OK, **fields}


def the_one(fields, method="post", path="/orders", version="3.0.3", **more):
    """Return the definition of one operation, and the whole report."""
    report = import_openapi(document({path: {method: operation(**fields)}}, version, **more))
    assert len(report.definitions) == 1, report
    return report.definitions[0], report


def refused(fields, method="post", path="/orders", **more):
    report = import_openapi(document({path: {method: operation(**fields)}}, **more))
    assert report.definitions == []
    [reason] = report.refused
    return reason


def body(schema, media_type="application/json", **fields):
    return {"requestBody": {"content": {media_type: {"schema": schema}}, **fields}}


def parameter(place, name, schema=None, **fields):
    return {"parameters": [{"in": place, "name": name, "schema": schema or {"type": "string"}, **fields}]}


# --- Parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "inputs"),
    [
        (parameter("query", "limit", {"type": "integer"}), {"query.limit": {"type": "integer"}}),
        (
            parameter("query", "a", {"type": "string"}, description="Which."),
            {"query.a": {"type": "string", "description": "Which."}},
        ),
        (parameter("header", "X-Trace"), {"header.X-Trace": {"type": "string"}}),
        (parameter("header", "Authorization"), {}),
        (parameter("cookie", "session"), {}),
        (parameter("header", "Connection"), {}),
        (
            parameter("query", "ids", {"type": "array", "items": {"type": "integer"}}),
            {"query.ids": {"type": "array", "items": {"type": "integer"}}},
        ),
        (
            parameter("query", "ids", {"type": "array"}, explode=False),
            {"query.ids": {"type": "string", "description": "several values are separated by commas"}},
        ),
        (
            parameter("query", "f", {"type": "object", "properties": {"a": {"type": "integer"}}}, style="deepObject"),
            {"query.f[a]": {"type": "integer"}},
        ),
        (
            parameter("query", "f", {"type": "object", "properties": {"a": {"type": "integer"}}}),
            {"query.a": {"type": "integer"}},
        ),
    ],
)
def test_parameters_become_inputs(raw, inputs):
    definition, _ = the_one(raw, method="get")
    assert definition["inputSchema"]["properties"] == inputs
    assert definition["inputSchema"]["additionalProperties"] is False


@pytest.mark.parametrize(("place", "name"), [("cookie", "session"), ("header", "Host"), ("query", "f")])
def test_an_operation_that_needs_what_cannot_be_sent_is_refused(place, name):
    schema = {"type": "object"} if place == "query" else {"type": "string"}
    assert name in refused(parameter(place, name, schema, required=True))


def test_parameters_of_the_path_are_overridden_by_those_of_the_operation():
    item = {
        "parameters": [
            {"in": "path", "name": "id", "required": True, "schema": {"type": "string"}},
            {"in": "query", "name": "a", "schema": {"type": "string"}},
        ],
        "get": operation(**parameter("query", "a", {"type": "integer"})),
    }
    [definition] = import_openapi(document({"/orders/{id}": item})).definitions
    assert definition["inputSchema"]["properties"] == {"id": {"type": "string"}, "query.a": {"type": "integer"}}
    assert definition["inputSchema"]["required"] == ["id"]


def test_placeholders_get_names_that_a_url_can_have():
    definition, report = the_one({}, method="get", path="/{body}/{order.id}/{1st}")
    assert definition["endpoint"]["url"] == "https://shop.test/v1/{body_}/{order_id}/{_1st}"
    assert definition["inputSchema"]["required"] == ["body_", "order_id", "_1st"]
    assert "op: the path parameter 'order.id' is the input 'order_id'" in report.notes


def test_an_idempotency_key_makes_an_operation_keyed():
    """The document says that the server honours it; the engine sends its own."""
    definition, _ = the_one(parameter("header", "Idempotency-Key", required=True))
    assert definition["effect"] == "keyed"
    assert definition["inputSchema"]["properties"] == {}


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-HTTP-Method-Override", "X_Original_URL"])
def test_a_header_that_no_plan_can_set_is_left_out(name):
    """An operator may add it by hand, with `allowedHeaders`."""
    definition, report = the_one(parameter("header", name))
    assert definition["inputSchema"]["properties"] == {}
    assert any(f"left out the header parameter '{name}'" in note for note in report.notes)
    assert f"it needs the header parameter '{name}'" in refused(parameter("header", name, required=True))


# --- Bodies ----------------------------------------------------------------------------------------------------

ORDER = {
    "type": "object",
    "properties": {"item": {"type": "string"}, "id": {"type": "integer", "readOnly": True}},
    "required": ["item", "id"],
}


def test_the_properties_of_a_body_become_inputs():
    definition, _ = the_one(body(ORDER, required=True))
    assert definition["inputSchema"] == {
        "type": "object",
        "properties": {"body.item": {"type": "string"}},
        "required": ["body.item"],
        "additionalProperties": False,
    }
    assert "headers" not in definition["endpoint"]


@pytest.mark.parametrize(
    ("schema", "media_type", "inputs", "headers"),
    [
        ({"type": "array"}, "application/json", {"body": {"type": "array"}}, None),
        ({"oneOf": [ORDER]}, "application/json", None, None),
        (ORDER, "application/merge-patch+json", {"body.item": {"type": "string"}}, "application/merge-patch+json"),
        (
            ORDER,
            "application/x-www-form-urlencoded",
            {"body.item": {"type": "string"}},
            "application/x-www-form-urlencoded",
        ),
        ({}, "text/plain", {"body": {"type": "string"}}, "text/plain"),
        (
            {"allOf": [{"$ref": "#/components/schemas/Order"}, {"properties": {"n": {}}}]},
            "application/json",
            {"body.item": {"type": "string"}, "body.n": {}},
            None,
        ),
    ],
)
def test_bodies_of_other_kinds(schema, media_type, inputs, headers):
    definition, _ = the_one(body(schema, media_type), components={"schemas": {"Order": ORDER}})
    properties = definition["inputSchema"]["properties"]
    assert properties == inputs if inputs is not None else [*properties] == ["body"]
    assert definition["endpoint"].get("headers") == (headers and {"Content-Type": headers})


def test_a_body_that_may_have_more_is_open():
    definition, _ = the_one(body({**ORDER, "additionalProperties": {"type": "integer"}}))
    checked = ActionDefinition.model_validate(definition)
    assert describe_wrong_inputs(checked, {"body.item": "x", "body.more": 1}) is None
    assert "must be text" in str(describe_wrong_inputs(checked, {"body.item": 1, "body.more": "y"}))
    assert "not among" in str(describe_wrong_inputs(checked, {"body.item": "x", "query.more": 1}))


def test_uploads_have_no_counterpart():
    assert "multipart/form-data has no counterpart" in refused(body({}, "multipart/form-data"))
    assert "GET" in refused(body({}, required=True), method="get")


# --- Answers ---------------------------------------------------------------------------------------------------


def answers(**responses):
    return {
        "responses": {
            status.removeprefix("s"): {"description": "", **({} if schema is None else {"content": schema})}
            for status, schema in responses.items()
        }
    }


def json_content(schema):
    return {"application/json": {"schema": schema}}


@pytest.mark.parametrize(
    ("responses", "schema"),
    [
        (answers(s200=json_content({"type": "object"})), {"type": "object"}),
        (answers(s200=json_content({"type": "object"}), s404=json_content({"type": "string"})), {"type": "object"}),
        (answers(s201=json_content({"type": "object"}), s204=None), {"anyOf": [{"type": "object"}, {"enum": [None]}]}),
        (answers(s200=None), None),
        (answers(s200={"text/html": {}}), None),
        (answers(s200={**json_content({"type": "object"}), "text/event-stream": {}}), None),
        (answers(default=json_content({"type": "object"})), None),
        (answers(s204=None), None),
    ],
)
def test_what_a_success_answers(responses, schema):
    """Nothing is said where the document leaves something open."""
    definition, _ = the_one(responses)
    assert definition.get("outputSchema") == schema
    report = import_openapi(document({"/a": {"get": operation(**responses)}}), with_output_schemas=False)
    assert "outputSchema" not in report.definitions[0]


# --- Schemas ---------------------------------------------------------------------------------------------------


def converted(schema, version="3.0.3", *, is_request=False, **schemas):
    reader = SchemaReader(document({}, version, components={"schemas": schemas}), is_request=is_request)
    return bundle_schema(reader, schema), reader.notes


@pytest.mark.parametrize(
    ("raw", "schema"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"enum": ["a"], "nullable": True}, {"anyOf": [{"enum": ["a"]}, {"type": "null"}]}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"oneOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}),
        ({"not": {"type": "string"}, "discriminator": {}, "xml": {}, "example": 1, "x-a": 1}, {}),
        ({"type": "string", "required": True}, {"type": "string"}),
        ({"pattern": "^(?!a)"}, {}),
        (
            {"properties": {"a": {"writeOnly": True}, "b": {}}, "required": ["a", "b"]},
            {"properties": {"a": {}, "b": {}}, "required": ["b"]},
        ),
        ({"type": "wrong"}, {}),
    ],
)
def test_the_dialect_of_openapi_becomes_json_schema(raw, schema):
    assert converted(raw)[0] == schema


def test_references_come_along_and_may_be_recursive():
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}}
    schema, notes = converted({"$ref": "#/components/schemas/Node"}, Node=node)
    assert schema == {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    assert notes == {}
    assert compile_schema(schema).find_mismatches({"next": {"next": 1}})


def test_a_reference_out_of_the_document_says_nothing():
    schema, notes = converted({"properties": {"a": {"$ref": "other.yaml#/A"}}})
    assert schema == {"properties": {"a": {}}}
    assert "the reference other.yaml#/A can't be followed; what it stands for was left out" in notes


def test_what_is_too_large_is_cut_and_stays_weaker():
    """A graph of schemas of megabytes; whatever fits the document's own schema fits ours."""
    schemas = {
        f"S{number}": {
            "type": "object",
            "properties": {
                f"p{field}": {"$ref": f"#/components/schemas/S{(number * 7 + field) % 300}"} for field in range(9)
            },
        }
        for number in range(300)
    }
    schema, notes = converted(
        {"oneOf": [{"$ref": "#/components/schemas/S0"}, {"$ref": "#/components/schemas/S1"}]}, **schemas
    )
    assert len(json.dumps(schema, separators=(",", ":"))) < MAX_BUNDLED_BYTES * 1.2
    assert len(notes) == 1
    assert compile_schema(schema).find_mismatches({"p0": {}}) == []
    wide = {
        "properties": {
            f"property{number}": {"properties": {"x": {"type": "string", "enum": ["y" * 99]}}} for number in range(99)
        }
    }
    schema, notes = converted(wide)
    assert schema["properties"]["property0"] != wide["properties"]["property0"]
    assert notes


NAMES = st.sampled_from("abc")
raw_schemas = st.recursive(
    st.sampled_from(
        [{"type": kind} for kind in ("string", "integer", "number", "boolean", "array", "object")]
        + [{"enum": ["a", 1, True]}, {"pattern": "^(?=a)"}, {"maximum": 3, "exclusiveMaximum": True}, {}]
        + [{"$ref": f"#/components/schemas/{name}"} for name in "AB"]
    ),
    lambda inner: st.one_of(
        *(
            inner.map(lambda schema, keyword=keyword: {keyword: schema})
            for keyword in ("not", "items", "additionalProperties")
        ),
        *(
            st.lists(inner, min_size=1, max_size=2).map(lambda schemas, keyword=keyword: {keyword: schemas})
            for keyword in ("allOf", "anyOf", "oneOf")
        ),
        st.dictionaries(NAMES, inner, max_size=2).map(lambda parts: {"properties": parts, "required": ["a"]}),
        st.dictionaries(NAMES, inner, max_size=2).map(
            lambda parts: {"properties": parts, "additionalProperties": False}
        ),
    ),
    max_leaves=8,
)
json_values = st.recursive(
    st.sampled_from(["a", "b", 1, 3, 1.5, True, None]),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=2)),
    max_leaves=6,
)


@given(raw_schemas, raw_schemas, raw_schemas, json_values, st.sampled_from([40, 100, MAX_BUNDLED_BYTES]))
def test_no_schema_becomes_stricter(raw, first, second, value, budget_bytes):
    """Whatever fits the document's schema, in the dialect of OpenAPI 3.0, fits what is made of it, cut or not."""
    source = document({}, components={"schemas": {"A": first, "B": second}})
    whole = {"allOf": [raw], "components": source["components"]}
    if not jsonschema_rs.Draft4Validator(whole, offline=True).is_valid(value):
        return
    ours = bundle_schema(SchemaReader(source, is_request=False), raw, budget_bytes)
    assert compile_schema(ours).find_mismatches(value) == []


# --- Security --------------------------------------------------------------------------------------------------

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "Basic"},
    "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "second": {"type": "apiKey", "in": "header", "name": "X-Second"},
    "inQuery": {"type": "apiKey", "in": "query", "name": "key"},
    "machine": {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "/token", "scopes": {}}}},
    "person": {"type": "oauth2", "flows": {"implicit": {"authorizationUrl": "https://a", "scopes": {}}}},
}


@pytest.mark.parametrize(
    ("security", "authentication", "headers"),
    [
        ([{"bearer": []}], {"type": "bearer", "token": "${env.SHOP_BEARER_TOKEN}"}, None),
        (
            [{"basic": []}],
            {"type": "basic", "username": "${env.SHOP_BASIC_USERNAME}", "password": "${env.SHOP_BASIC_PASSWORD}"},
            None,
        ),
        ([{"key": []}], {"type": "api_key", "header": "X-Key", "value": "${env.SHOP_KEY}"}, None),
        (
            [{"key": [], "second": []}],
            {"type": "api_key", "header": "X-Key", "value": "${env.SHOP_KEY}"},
            {"X-Second": "${env.SHOP_SECOND}"},
        ),
        (
            [{"key": [], "bearer": []}],
            {"type": "bearer", "token": "${env.SHOP_BEARER_TOKEN}"},
            {"X-Key": "${env.SHOP_KEY}"},
        ),
        ([{"inQuery": []}, {"bearer": []}], {"type": "bearer", "token": "${env.SHOP_BEARER_TOKEN}"}, None),
        (
            [{"machine": ["read"]}],
            {
                "type": "oauth2_client_credentials",
                "clientId": "${env.SHOP_MACHINE_CLIENT_ID}",
                "clientSecret": "${env.SHOP_MACHINE_CLIENT_SECRET}",
                "tokenUrl": "https://shop.test/token",
                "scope": ["read"],
            },
            None,
        ),
        ([{"person": []}], {"type": "bearer", "token": "${env.SHOP_PERSON_TOKEN}"}, None),
        ([], None, None),
        ([{}], None, None),
    ],
)
def test_security_becomes_authentication(security, authentication, headers):
    """The secrets are names in the environment, and all of them are listed."""
    definition, report = the_one({"security": security}, components={"securitySchemes": SCHEMES})
    assert definition.get("authentication") == authentication
    assert definition["endpoint"].get("headers") == headers
    text = json.dumps(definition)
    assert report.variables == sorted({part.partition("}")[0] for part in text.split("${env.")[1:]})


@pytest.mark.parametrize(
    ("title", "scheme", "name"),
    [
        ("Workflow State", "redis url", "API_WORKFLOW_STATE_REDIS_URL"),
        ("AWS", "secret access key", "API_AWS_SECRET_ACCESS_KEY"),
        ("", "PATH", "API_PATH"),
        ("CRM", "key", "CRM_KEY"),
    ],
)
def test_no_name_of_a_variable_is_one_by_which_workers_run(title, scheme, name):
    """A document may come from anybody, and what it names is sent to its own server."""
    api_key = {"type": "apiKey", "in": "header", "name": "X-Key"}
    fields = {"components": {"securitySchemes": {scheme: api_key}}, "info": {"title": title, "version": "1"}}
    definition, report = the_one({"security": [{scheme: []}]}, **fields)
    assert definition["authentication"]["value"] == f"${{env.{name}}}"
    assert report.variables == [name]


def test_a_variable_that_is_set_already_is_told():
    """It may be another service's: the document's title is what makes its name."""
    _, report = the_one({"security": [{"key": []}]}, components={"securitySchemes": SCHEMES})
    assert report.variables == ["SHOP_KEY"]
    told = describe_import(report, {"SHOP_KEY": "s", "HOME": "h"})
    assert told[-2:] == ["set here already, and sent to this document's server from now on:", "  SHOP_KEY"]
    assert not any("set here already" in line for line in describe_import(report))


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({}, {"servers": [{"url": "https://evil.test/${env.MAIL_KEY}"}]}),
        ({}, {"servers": [{"url": "https://evil.test/${v}", "variables": {"v": {"default": "{env.MAIL_KEY}"}}}]}),
        (body({"type": "string"}, "text/plain; x=${env.MAIL_KEY}"), {}),
    ],
)
def test_a_document_can_not_name_a_variable_itself(fields, more):
    assert "${env.NAME}" in refused(fields, **more)


def test_security_without_a_counterpart_is_told():
    definition, report = the_one({"security": [{"inQuery": []}]}, components={"securitySchemes": SCHEMES})
    assert "authentication" not in definition
    [note] = report.notes
    assert note == "op: has no authentication: the security scheme 'inQuery' (apiKey in query) has no counterpart"


# --- Names, servers, and the whole -----------------------------------------------------------------------------


def test_ids_are_made_to_fit_and_unique():
    paths = {
        "/a": {"get": operation(operationId="repos/list for"), "post": operation(operationId="repos/list for")},
        "/b/{id}": {"delete": {"responses": OK}},
        "/c": {"get": operation(operationId="  ")},
    }
    report = import_openapi(document(paths), prefix="gh.")
    assert [definition["id"] for definition in report.definitions] == [
        "gh.repos.list_for",
        "gh.repos.list_for-2",
        "gh.delete.b.id",
        "gh.get.c",
    ]


@pytest.mark.parametrize(
    ("servers", "server", "url"),
    [
        (
            [{"url": "https://{region}.test", "variables": {"region": {"default": "eu"}}}],
            None,
            "https://eu.test/orders",
        ),
        ([{"url": "/v2"}, {"url": "https://b.test"}], None, "https://b.test/orders"),
        ([{"url": "https://a.test"}], "http://127.0.0.1:9/x/", "http://127.0.0.1:9/x/orders"),
        ([{"url": "/v2"}], "https://c.test", "https://c.test/orders"),
    ],
)
def test_servers(servers, server, url):
    report = import_openapi(document({"/orders": {"get": operation()}}, servers=servers), server=server)
    assert report.definitions[0]["endpoint"]["url"] == url


def test_a_document_without_a_server_asks_for_one():
    report = import_openapi(document({"/orders": {"get": operation()}}, servers=[{"url": "/v2"}]))
    with pytest.raises(ActionDefinitionError, match=r"nothing was imported\n.*say --server URL"):
        require_some(report)


def test_what_cannot_be_expressed_is_listed_and_the_rest_imported():
    paths = {
        "/a": {"get": operation(), "head": operation(), "trace": operation()},
        "/b": {"$ref": "other.yaml"},
        "/c#x": {"get": operation()},
        "/d": {"get": operation(parameters=[{"$ref": "#/components/parameters/Gone"}])},
        "/e": {"get": {"responses": OK, "parameters": {}}},
    }
    report = import_openapi(document(paths))
    assert len(report.definitions) == 1
    assert [line.partition(":")[0] for line in report.refused] == [
        "HEAD /a",
        "TRACE /a",
        "/b",
        "GET /c#x",
        "GET /d",
        "GET /e",
    ]
    assert describe_import(report)[:2] == ["imported 1 operations", "not imported (6):"]


# Nine lists, each of eight times the one before.
DOUBLING = "\n".join(
    ["a0: &a0 [x]", *(f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 8)}]" for number in range(1, 10))]
)


# Each mapping has the pairs of the one before it, and one more: thousands of lines stand for millions of pairs.
GROWING = "\n".join(
    ["a0: &a0 {k0: 1}", *(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}" for n in range(1, 2_000))]
)  # fmt: skip
MERGED_TWICE = "\n".join(
    ["a0: &a0 {k: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 8)}], k{n}: 1}}" for n in range(1, 9))]
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("swagger: '2.0'\npaths: {}", "Swagger 2.0; convert it"),
        ("[]", "no mapping"),
        ("openapi: 4.0.0", "version 3.x.y"),
        ("{", "is not JSON: line 1"),
        ("a: [", "is not YAML"),
        ("openapi: 3.0.0\npaths: []", "'paths' is no mapping"),
        (b"\xff", "not UTF-8"),
        (DOUBLING, "more than 5000000"),
        ("openapi: 3.0.0\nx: &a [*a]", "contains itself"),
        ("a: &a\n  b: *a", "can't be read"),
        (GROWING, "merges more than 500000 values"),
        ("a: &a\n  <<: *a", "contains itself"),
        ("openapi: 3.0.0\nx:\n  y: " + "9" * 5_000, "an integer has thousands of digits; write it as text at line 3"),
        ("openapi: 3.0.0\nx: 0x" + "f" * 5_000, "an integer has thousands of digits"),
        ('{"openapi": "3.0.0", "x": ' + "9" * 5_000 + "}", "an integer has thousands of digits"),
        ('openapi: 3.0.0\ninfo: {title: "a\\e[31m"}', r"info\.title contains the control character U\+001B"),
        ('{"openapi": "3.0.0", "info": {"title": "a", "version": "\\u0000"}}', r"info\.version .* U\+0000"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused(text, words):
    with pytest.raises(ActionDefinitionError, match=words):
        read_openapi(text if isinstance(text, bytes) else text.encode())


def test_merges_within_merges_take_no_memory():
    """PyYAML before 6.0.4 made 16 million pairs of these nine lines."""
    assert len(read_openapi(f"openapi: 3.0.0\n{MERGED_TWICE}".encode())["a8"]) == 9


def test_an_operation_with_a_control_character_is_refused_alone():
    report = import_openapi(
        read_openapi(
            b"""{"openapi": "3.0.0", "servers": [{"url": "https://x.example"}], "paths": {
            "/a": {"get": {"summary": "a\\u001b[31m", "responses": {}}}, "/b": {"get": {"responses": {}}}}}"""
        )
    )
    assert report.refused == ["GET /a: name contains the control character U+001B"]
    assert [definition["id"] for definition in report.definitions] == ["get.b"]


def test_yaml_is_read_by_the_core_schema_with_anchors():
    read = read_openapi(
        b"openapi: 3.0.0\npaths:\n  /a: &a\n    get: {responses: {200: {description: no}}}\n  /b:\n    <<: *a\n"
    )
    assert read["paths"]["/b"] == {"get": {"responses": {"200": {"description": "no"}}}}


def test_what_is_written_reads_back(tmp_path):
    """Also text that either version of YAML takes for a number, a date or a truth value."""
    odd = ["no", "1e3", "0o17", "017", "2024-01-01", "~", "=", "<<", "1_000", "12:30:00", "a: b #c", "\u2028", " x\n"]
    definition, _ = the_one(body({"type": "object", "properties": {"odd": {"enum": [*odd, 1e3, True, None]}}}))
    path = tmp_path / "out.yaml"
    path.write_text(write_definitions([definition], "from\na document"), encoding="utf-8")
    [read] = read_definition_files([path]).values()
    assert read == ActionDefinition.model_validate(definition)
