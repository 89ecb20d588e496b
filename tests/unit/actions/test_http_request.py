"""Building a request: a value stays where it belongs, and the same inputs make the same bytes."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.actions.http.request import BuiltRequest, build_request
from workflow_state.actions.network.library import httpx
from workflow_state.errors import HttpActionError
from workflow_state.schema import ActionDefinition

json_scalars = st.one_of(st.text(max_size=20), st.integers(), st.booleans(), st.none())


def definition(url: str = "https://api.test/items", method: str = "POST", **endpoint: Any) -> ActionDefinition:
    return ActionDefinition.model_validate({"id": "test", "endpoint": {"url": url, "method": method, **endpoint}})


def build(inputs: Mapping[str, Any], url: str = "https://api.test/items", **options: Any) -> BuiltRequest:
    return build_request(definition(url, **options), inputs)


def refusal(inputs: Mapping[str, Any], **options: Any) -> str:
    with pytest.raises(HttpActionError) as caught:
        build(inputs, **options)
    detail = caught.value.detail
    assert detail.category == "validation_failed"
    assert not detail.retryable
    assert caught.value.http_trace == []
    return f"{detail.message} {detail.suggestion}"


# --- The path


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("plain", "/users/plain/posts"),
        (42, "/users/42/posts"),
        (1.5, "/users/1.5/posts"),
        (True, "/users/true/posts"),
        ("a b", "/users/a%20b/posts"),
        ("a/b", "/users/a%2Fb/posts"),
        ("a\\b", "/users/a%5Cb/posts"),
        ("a?b#c", "/users/a%3Fb%23c/posts"),
        ("100%", "/users/100%25/posts"),
        ("é", "/users/%C3%A9/posts"),
        ("{id}", "/users/%7Bid%7D/posts"),
        ("v1.2..3", "/users/v1.2..3/posts"),
    ],
)
def test_a_path_value_is_percent_encoded(value, path):
    request = build({"id": value}, url="https://api.test/users/{id}/posts")
    assert urlsplit(request.url).path == path
    assert httpx.URL(request.url).raw_path == path.encode()


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "../admin",
        "a/../b",
        "..\\admin",
        "%2e%2e",
        "%2E%2e%2fadmin",
        "%252e%252e",
        "%25252e%25252e",
        "..;",
        "..;jsessionid=1/admin",
        ".;x",
        "%2e%2e;",
        "..%3b",
        "%2e.%2f",
        "..%5cadmin",
        ".. ",
        "..%00",
        "..%09/x",
        "\uff0e\uff0e",
        "\u2025",
        "a\uff0f..\uff0fb",
        "%c0%ae%c0%ae",
        "x%c0%af..%c1%9cy",
        "%u002e%u002e",
        "a\nb",
        "a\x00",
        "\x7f",
        "\ud800",
        None,
        [],
        {},
        ["x"],
        float("nan"),
    ],
)
def test_a_path_value_that_could_leave_its_segment_is_refused(value):
    assert "'id'" in refusal({"id": value}, url="https://api.test/users/{id}/posts")


def test_two_dots_in_two_placeholders_are_refused():
    assert "'.'" in refusal({"a": ".", "b": "x"}, url="https://api.test/{a}{b}")


@pytest.mark.parametrize(("a", "b"), [(".", ";"), (".", ".;x"), (".", " ")])
def test_a_dot_segment_with_a_parameter_is_not_made_of_two_values(a, b):
    """Each of the two may be harmless by itself."""
    assert "'.'" in refusal({"a": a, "b": b}, url="https://api.test/{a}{b}")
    assert "'.'" in refusal({"b": b}, url="https://api.test/.{b}")


@pytest.mark.parametrize(
    "value", ["a;b", "..a", "...", "a..b", "a..", ".well-known", "1.5", "a%2", "%zz", "100%2e", "x;..", "…", "ﬁne"]
)
def test_a_path_value_with_dots_and_semicolons_that_leads_nowhere_is_sent(value):
    request = build({"id": value}, url="https://api.test/users/{id}")
    assert unquote(urlsplit(request.url).path) == f"/users/{value}"


def test_a_dot_beside_a_literal_dot_is_refused():
    assert "'.'" in refusal({"a": "."}, url="https://api.test/.{a}/x")


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_whatever_the_values_the_path_has_the_same_segments(first, second):
    try:
        request = build({"a": first, "b": second}, url="https://api.test/v1/{a}/x-{b}/end?fixed=1")
    except HttpActionError:
        return
    url = httpx.URL(request.url)
    assert (url.scheme, url.host, url.port) == ("https", "api.test", None)
    path, _, query = url.raw_path.decode().partition("?")
    assert query == "fixed=1"
    segments = path.split("/")
    assert segments[:2] == ["", "v1"]
    assert segments[4:] == ["end"]
    assert unquote(segments[2]) == first
    assert unquote(segments[3]) == f"x-{second}"


def test_a_placeholder_without_a_value_is_named():
    assert "'b'" in refusal({"a": "1"}, url="https://api.test/{a}/{b}")


def test_an_input_without_a_place_is_named_with_the_placeholders_there_are():
    message = refusal({"userid": "1", "userId": "2"}, url="https://api.test/{userId}")
    assert "'userid' has no place" in message
    assert "did you mean 'userId'?" in message
    assert "query.userid" in message


# --- The query


def test_query_inputs_are_added_to_the_url_query():
    request = build(
        {"query.q": "a&admin=true#x", "query.tag": ["x", None, "y z"], "query.flag": False, "query.none": None},
        url="https://api.test/search?version=2",
        method="GET",
    )
    parts = urlsplit(request.url)
    assert parse_qsl(parts.query) == [
        ("version", "2"),
        ("q", "a&admin=true#x"),
        ("tag", "x"),
        ("tag", "y z"),
        ("flag", "false"),
    ]
    assert parts.fragment == ""


def test_a_placeholder_in_the_query_stays_one_value():
    request = build({"q": "1&admin=true"}, url="https://api.test/search?q={q}&x=1", method="GET")
    assert urlsplit(request.url).query == "q=1%26admin%3Dtrue&x=1"


def test_a_parameter_that_the_definition_sets_can_not_be_set_again():
    assert "'admin'" in refusal({"query.admin": "true"}, url="https://api.test/?admin=false")


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("admin", "Admin"),
        ("admin", "ADMIN"),
        ("admin", "admin "),
        ("admin", "admin[]"),
        ("admin", "admin[0]"),
        ("admin[a]", "admin"),
        ("filter[status]", "Filter[Status]"),
        ("filter[status]", "filter[status][]"),
        ("api_key", "api.key"),
        ("admin", "\uff41dmin"),
        ("admin", "admin\x00x"),
    ],
)
def test_a_parameter_that_a_server_takes_for_the_definitions_is_refused(own, name):
    said = refusal({f"query.{name}": "true"}, url=f"https://api.test/?{own}=false")
    assert f"the query parameter '{name}', which is '{own}' for some servers, is the definition's own" in said
    assert "leave it out" in said


def test_a_parameter_beside_the_definitions_is_sent():
    request = build(
        {"query.filter[owner]": "me", "query.administrator": 1}, url="https://h.test/?filter[status]=a&admin=0"
    )
    assert urlsplit(request.url).query == "filter[status]=a&admin=0&filter%5Bowner%5D=me&administrator=1"


@pytest.mark.parametrize("name", ["_method", "_METHOD", "X-HTTP-Method-Override"])
def test_a_parameter_that_makes_another_method_is_refused(name):
    assert "makes another method" in refusal({f"query.{name}": "DELETE"})


def test_a_nested_query_value_is_refused():
    assert "'q'" in refusal({"query.q": {"a": 1}})


# --- Headers


def test_header_inputs_become_headers():
    request = build({"header.X-Count": 3, "header.X-Name": " Zoë ", "header.X-None": None})
    assert request.headers == {"X-Count": "3", "X-Name": "Zoë"}


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "\x7f", "\ud800"])
def test_a_control_character_in_a_header_is_refused(value):
    assert "control character" in refusal({"header.X-A": value})


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "CONNECTION",
        "Cookie",
        "Proxy-Authorization",
        "TE",
        "HTTP2-Settings",
        "X A",
        "X:",
        "é",
    ],
)
def test_a_header_that_frames_or_routes_the_message_is_refused(name):
    assert name in refusal({f"header.{name}": "x"})


@pytest.mark.parametrize(
    ("name", "authentication"),
    [
        ("Authorization", None),
        ("authorization", {"type": "bearer", "token": "t0ken"}),
        ("AUTHORIZATION", {"type": "basic", "username": "u", "password": "p"}),
        ("Authorization", {"type": "api_key", "header": "X-Key", "value": "k"}),
        ("x-key", {"type": "api_key", "header": "X-Key", "value": "k"}),
    ],
)
def test_a_header_with_credentials_is_the_definitions_alone(name, authentication):
    document = definition().to_json_data() | ({"authentication": authentication} if authentication else {})
    with pytest.raises(HttpActionError) as caught:
        build_request(ActionDefinition.model_validate(document), {f"header.{name}": "Bearer s3cret"})
    detail = caught.value.detail
    assert detail.code == "bad_input"
    assert (
        detail.message == f"the header {name} carries credentials, which only the definition can set; nothing was sent"
    )
    assert "s3cret" not in detail.model_dump_json()


def test_a_header_of_the_definition_can_not_be_replaced():
    assert "X-Tenant" in refusal({"header.X-Tenant": "other"}, headers={"x-tenant": "mine"})


@pytest.mark.parametrize(
    "name",
    [
        "X_Tenant",
        "x_tenant",
        "X_Key",
        "X.Tenant",
        "x~key",
        "x-key",
        "AUTHORIZATION_",
        "Content_Length",
        "Transfer_Encoding",
    ],
)
def test_a_header_that_a_server_takes_for_the_definitions_is_refused(name):
    """Behind CGI, WSGI and many proxies `_` and `-` are one character."""
    key = {"type": "api_key", "header": "X-Key", "value": "k"}
    document = definition(headers={"X-Tenant": "mine", "Authorization_": "x"}).to_json_data() | {"authentication": key}
    with pytest.raises(HttpActionError) as caught:
        build_request(ActionDefinition.model_validate(document), {f"header.{name}": "other"})
    assert f"the header {name}" in caught.value.detail.message
    assert "nothing was sent" in caught.value.detail.message
    assert caught.value.detail.suggestion


BENDING = [
    *("Idempotency-Key", "idempotency_key", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"),
    *("X-Original-URL", "X-Rewrite-URL", "X_Original_Url", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host"),
    *("x-forwarded-anything", "X-Real-IP", "True-Client-IP", "Via"),
    *("X-Auth-Request-User", "X-Authenticated-User", "X-Goog-Authenticated-User-Email", "Cf-Access-Jwt-Assertion"),
    *("X-Middleware-Subrequest", "X-HTTP-Host-Override", "Wl-Proxy-Client-IP", "X-Forward-For"),
]


@pytest.mark.parametrize("name", BENDING)
def test_a_header_that_bends_the_definition_is_refused_unless_that_allows_it(name):
    said = refusal({f"header.{name}": "x"})
    assert f"the header {name} " in said
    assert f"allowedHeaders: [{name}]" in said
    allowing = ActionDefinition.model_validate(definition().to_json_data() | {"allowedHeaders": [name.upper()]})
    assert build_request(allowing, {f"header.{name}": "x"}, idempotency_key="own").headers[name] == "x"
    other = name.replace("-", "_") if "-" in name else f"X-Forwarded-{name}"
    with pytest.raises(HttpActionError):
        build_request(allowing, {f"header.{other}": "x"})


def test_a_definition_may_allow_the_authorization_of_a_login_before():
    allowing = ActionDefinition.model_validate(definition().to_json_data() | {"allowedHeaders": ["Authorization"]})
    assert build_request(allowing, {"header.authorization": "Bearer t"}).headers == {"authorization": "Bearer t"}


def test_an_allowed_key_is_in_place_of_the_engines_own():
    allowing = ActionDefinition.model_validate(definition().to_json_data() | {"allowedHeaders": ["Idempotency-Key"]})
    for name in ("Idempotency-Key", "idempotency-key"):
        headers = build_request(allowing, {f"header.{name}": "order-17"}, idempotency_key="run.a").headers
        assert headers == {name: "order-17"}


def test_a_header_of_the_client_is_set_by_its_very_name_or_not():
    assert build({"header.accept": "text/csv"}).headers == {"accept": "text/csv"}
    assert "content-type for some servers" in refusal({"header.Content_Type": "text/csv"})


def test_requests_other_than_get_carry_an_idempotency_key():
    assert build_request(definition(), {}, idempotency_key="run.a").headers == {"Idempotency-Key": "run.a"}
    assert build_request(definition(method="GET"), {}, idempotency_key="run.a").headers == {}
    own = definition(headers={"idempotency-key": "mine"})
    assert build_request(own, {}, idempotency_key="run.a").headers == {"idempotency-key": "mine"}


# --- The body


def test_body_properties_make_a_json_body_and_keep_their_types():
    request = build({"body.name": "Zoë", "body.n": 1, "body.ok": True, "body.none": None, "body.list": [1, {"a": []}]})
    assert request.body == '{"name":"Zoë","n":1,"ok":true,"none":null,"list":[1,{"a":[]}]}'.encode()
    assert request.headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize("body", [None, [1, 2], "text", 0, {"b": 1, "a": 2}])
def test_the_whole_body_is_any_json(body):
    assert json.loads(build({"body": body}).body or b"") == body


def test_a_property_is_added_to_an_object_and_to_nothing_else():
    assert build({"body": {"a": 1}, "body.b": 2}).body == b'{"a":1,"b":2}'
    assert "no object" in refusal({"body": [1], "body.b": 2})


def test_without_a_body_nothing_is_sent():
    request = build({})
    assert request.body is None
    assert request.headers == {}


def test_a_body_on_get_is_refused():
    assert "GET" in refusal({"body.a": 1}, method="GET")


def test_a_form_body_is_encoded_by_the_definitions_content_type():
    headers = {"content-type": "application/x-www-form-urlencoded"}
    request = build({"body.a": "1&b=2", "body.list": ["x", "y"], "body.none": None, "body.yes": True}, headers=headers)
    assert request.body == b"a=1%26b%3D2&list=x&list=y&yes=true"
    assert "object" in refusal({"body": "a=1"}, headers=headers)
    assert "'a'" in refusal({"body.a": {"b": 1}}, headers=headers)


def test_a_text_body_is_sent_as_it_is():
    assert build({"body": "é"}, headers={"Content-Type": "text/plain; charset=latin-1"}).body == b"\xe9"
    assert build({"body": "<a/>"}, headers={"Content-Type": "application/xml"}).body == b"<a/>"
    assert "must be a string" in refusal({"body": {"a": 1}}, headers={"Content-Type": "text/plain"})
    assert "latin-1" in refusal({"body": "€"}, headers={"Content-Type": "text/plain; charset=latin-1"})


@pytest.mark.parametrize("body", [float("nan"), {"a": float("inf")}, "\ud800"])
def test_a_body_that_is_no_json_is_refused(body):
    assert "body" in refusal({"body": body})


def test_a_body_nested_too_deeply_is_refused():
    body: Any = []
    for _ in range(100_000):
        body = [body]
    assert "nested" in refusal({"body": body})


@given(st.dictionaries(st.text(min_size=1, max_size=10), json_scalars, max_size=5))
def test_the_same_inputs_make_the_same_bytes(properties):
    inputs = {f"body.{name}": value for name, value in properties.items()}
    assert build(inputs) == build(json.loads(json.dumps(inputs)))
