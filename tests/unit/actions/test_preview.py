"""What a person is shown of a request: all that the plan decided, and nothing that hides in it."""

import json
from typing import Any

import pytest

from workflow_state.actions.execute import ActionContext, preview_http_action
from workflow_state.errors import HttpActionError
from workflow_state.schema import ActionDefinition

API_KEY = "k3y-of-the-definition"


def definition(**fields: Any) -> ActionDefinition:
    """Return a definition with a key in a header, another in its URL, and a header of its own."""
    endpoint = {
        "url": "https://api.example/pay/{account}?api_key=literal&region={region}",
        "method": "POST",
        "headers": {"X-Tenant": "acme", **fields.pop("headers", {})},
    }
    return ActionDefinition.model_validate(
        {
            "id": "pay",
            "endpoint": endpoint,
            "authentication": {"type": "api_key", "header": "X-Pass", "value": API_KEY},
            **fields,
        }
    )


def preview(inputs: dict[str, Any], **fields: Any):
    """Return the preview of a request of the execution `e`."""
    context = ActionContext(execution_id="e", action_id="pay")
    return preview_http_action(definition(**fields), {"account": "a", "region": "eu", **inputs}, context)


@pytest.mark.parametrize(
    "body",
    [
        {"text": "x" * 100_000 + "and pay Mallory"},
        {"tokenAmount": 1_000_000, "secretary": "bob", "authorizationLimit": 5, "token": {"to": "mallory"}},
        {"password": "chosen by the plan", "api_key": ["a", "b"]},
        {"big": 12_345_678_901_234_567_890, "float": 1e22, "zero": -0.0},
        {"deep": json.loads("[" * 60 + "]" * 60)},
        ["a", None, True],
    ],
)
def test_a_json_body_is_shown_whole(body):
    """However long it is, and whatever its names are like."""
    shown = preview({"body": body})
    assert shown.request.body == body
    assert json.loads(shown.body) == body


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", "x" * 100_000 + "the end"),
        ("text/plain; charset=utf-16", "Grüße"),
        ("text/plain; charset=latin-1", "Gr\xfc\xdfe \x85"),
        # A name that comes twice: the server may take the first.
        ("text/json", '{"to": "mallory", "to": "ada"}'),
        ("application/x-ndjson", '{"a": 1}\n\n{"a": 2}\n'),
        ("application/xml", "<password>chosen</password>"),
    ],
)
def test_a_text_is_shown_as_it_is(content_type, body):
    """It is never read as something else."""
    shown = preview({"header.Content-Type": content_type, "body": body})
    assert (shown.request.body, shown.body.decode()) == (body, body)


def test_what_no_reader_of_json_can_take_is_shown_as_text():
    """Nested too deeply for a state, or with an integer of a thousand digits."""
    deep = json.loads("[" * 200 + "]" * 200)
    assert preview({"body": deep}).request.body == "[" * 200 + "]" * 200
    assert preview({"body": {"n": 10**1000}}).request.body == '{"n":1' + "0" * 1000 + "}"


def test_a_form_is_shown_whole():
    shown = preview(
        {"header.Content-Type": "application/x-www-form-urlencoded", "body": {"tokenAmount": 5, "to": "a b"}}
    )
    assert shown.request.body == "tokenAmount=5&to=a%20b"


def test_all_headers_are_shown_those_of_the_plan_first():
    """A hundred of them, each whole; what the client adds stands apart."""
    headers = {f"header.X-{number}": f"{number}-" + "v" * 600 for number in range(100)}
    request = preview({"header.X-Token-Limit": "5", **headers, "body": 1}).request
    assert [*request.headers] == ["x-token-limit", *(f"x-{number}" for number in range(100)), "x-tenant", "x-pass"]
    assert request.headers["x-token-limit"] == "5"
    assert request.headers["x-99"] == "99-" + "v" * 600
    assert {
        "host",
        "user-agent",
        "content-length",
        "content-type",
        "idempotency-key",
    } <= request.transport_headers.keys()


def test_what_the_plan_sets_is_the_plans_even_where_the_client_has_a_default():
    request = preview({"header.Accept": "text/html", "header.Content-Type": "application/json", "body": 1}).request
    assert [*request.headers][:2] == ["accept", "content-type"]


def test_the_definitions_own_credentials_are_masked():
    """In its header, in its URL, and where the plan repeats their value; a name alone masks nothing of the plan."""
    request = preview(
        {
            "region": "x&token=5",
            "query.token": "1000000",
            "header.X-Secret-Santa": "bob",
            "body": {"a": f"-{API_KEY}-"},
        },
        headers={"X-Client-Secret": "written in the definition"},
    ).request
    assert request.url == ("https://api.example/pay/a?api_key=[redacted]&region=x%26token%3D5&token=1000000")
    assert request.headers == {
        "x-secret-santa": "bob",
        "x-tenant": "acme",
        "x-client-secret": "[redacted]",
        "x-pass": "[redacted]",
    }
    assert request.body == {"a": "-[redacted]-"}


def test_secrets_in_a_definitions_url_are_masked(monkeypatch):
    """In its path and in its query, whatever the parameter is called."""
    monkeypatch.setenv("HOOK_PATH", "T0/B0/s3cr3t-path")
    monkeypatch.setenv("HOOK_KEY", "s3cr3t-key")
    hook = ActionDefinition.model_validate(
        {
            "id": "hook",
            "endpoint": {"url": "https://api.example/${env.HOOK_PATH}/{room}?k=${env.HOOK_KEY}", "method": "POST"},
        }
    )
    context = ActionContext(execution_id="e", action_id="a")
    shown = preview_http_action(hook, {"room": "ops", "body": {"text": "hello"}}, context)
    assert "s3cr3t" not in shown.request.url
    assert "/ops?k=[redacted]" in shown.request.url


def test_headers_that_nobody_could_read_are_refused():
    """One clear error before anybody is asked."""
    with pytest.raises(HttpActionError, match=r"65,5\d\d bytes; they may take 65,536; nothing was sent"):
        preview({"header.X-Long": "v" * 65_530})


def test_the_digest_tells_every_request_from_every_other():
    """Whatever differs, a character that can't be seen as well."""
    inputs = [{"body": {"to": text}} for text in ("ada", "ada\u200b", "ada\U000e0041")]
    inputs += [{"header.X-A": "1"}, {"header.X-A": "2"}, {"query.a": 1}, {"account": "b"}]
    assert len({preview(each).digest for each in inputs}) == len(inputs)
