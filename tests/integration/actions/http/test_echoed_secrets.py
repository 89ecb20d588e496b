"""A secret is in nothing that is kept, even where the server echoes it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.http_calls import call, definition, failure
from helpers.secret_forms import find_traces, forms_of

from workflow_state.actions.execute import ActionContext, preview_http_action
from workflow_state.actions.network.client import close_client
from workflow_state.errors import HttpActionError


@pytest.mark.parametrize(
    "authentication",
    [
        {"type": "bearer", "token": "${env.TEST_SECRET}"},
        {"type": "api_key", "header": "X-Weird", "value": "${env.TEST_SECRET}"},
        {"type": "basic", "username": "user", "password": "${env.TEST_SECRET}"},
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "500 Oh"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_secret_that_is_echoed_is_in_nothing_that_is_kept(
    server, authentication, status, content_type, monkeypatch, caplog
):
    secret = "s3cret/välue+1"
    encoded = base64.b64encode(secret.encode()).decode()
    is_basic = authentication["type"] == "basic"
    pair = base64.b64encode(f"user:{secret}".encode()).decode() if is_basic else encoded
    monkeypatch.setenv("TEST_SECRET", secret)
    caplog.set_level("DEBUG")
    echo = {"echo": f"<{secret}>", secret: [encoded, pair], "url": "https://h/?q=s3cret%2Fv%c3%a4lue%2B1"}
    server.respond(
        status,
        json.dumps(echo, ensure_ascii=False).encode(),
        content_type=content_type + "; charset=utf-8",
        x_echo=pair,
    )
    close_client()
    kept: Any
    if status.startswith("200"):
        result = call(server, authentication=authentication)
        assert "[redacted]" in json.dumps(result.output)
        kept = result.to_json_data()
    else:
        error = failure(server, authentication=authentication)
        kept = [error.detail.to_json_data(), error.http_trace, str(error)]
    sent = server.received[0].decode()
    assert secret in sent or pair in sent
    everything = json.dumps(kept, ensure_ascii=False) + caplog.text
    for form in (secret, encoded, pair, "s3cret%2F"):
        assert form not in everything


@pytest.mark.parametrize("status", ["200 OK", "500 Oh", "302 Found"])
def test_a_secret_in_the_url_is_sent_and_is_in_nothing_that_is_kept(server, status, monkeypatch, caplog):
    """Neither in the trace, the error, the confirmation's view nor the log."""
    monkeypatch.setenv("TEST_HOOK", "T01/B02/x3Yz:9é")
    monkeypatch.setenv("TEST_KEY", "k/y+1 23")
    caplog.set_level("DEBUG")
    server.respond(status, b'{"asked": "/hooks/T01/B02/x3Yz:9%C3%A9?key=k%2Fy%2B1%2023"}', location="/T01/B02/x3Yz:9é")
    close_client()
    fields: dict[str, Any] = {"path": "/hooks/${env.TEST_HOOK}/{room}?key=${env.TEST_KEY}", "method": "POST"}
    made = definition(server, **fields)
    context = ActionContext(execution_id="e", action_id="a")
    preview = preview_http_action(made, {"room": "9"}, context)
    shown = preview.request
    kept: Any
    if status.startswith("200"):
        kept = call(server, {"room": "9"}, **fields).to_json_data()
    else:
        error = failure(server, {"room": "9"}, **fields)
        kept = [error.detail.to_json_data(), error.http_trace, str(error)]
    path = server.received[0].decode().split(" ")[1]
    assert path == "/hooks/T01/B02/x3Yz:9%C3%A9/9?key=k%2Fy%2B1%2023"
    assert shown.url == f"{server.url}/hooks/[redacted]/9?key=[redacted]"
    everything = json.dumps([kept, shown.to_json_data()], ensure_ascii=False) + caplog.text
    for form in ("x3Yz", "k/y+1", "k%2Fy"):
        assert form not in everything
    monkeypatch.setenv("TEST_KEY", "another one")
    assert preview_http_action(made, {"room": "9"}, context).digest == preview.digest


def test_a_variable_can_not_lead_out_of_its_place_in_the_path(server, monkeypatch):
    monkeypatch.setenv("TEST_HOOK", "a/../admin")
    error = failure(server, path="/hooks/${env.TEST_HOOK}")
    assert "'..' segment" in error.detail.message
    assert server.connections == 0


def test_a_secret_in_an_output_that_is_stored_is_scrubbed_too(server, monkeypatch):
    monkeypatch.setenv("TEST_SECRET", "hunter2hunter2")
    server.respond_json(["hunter2hunter2"] * 200)
    result = call(server, authentication={"type": "bearer", "token": "${env.TEST_SECRET}"})
    assert result.output_location
    assert json.loads(Path(result.output_location.path).read_bytes()) == ["[redacted]"] * 200


def test_a_token_that_comes_with_the_inputs_is_not_in_the_trace(server):
    server.respond_json({"youSent": "Bearer tok-123456"})
    result = call(server, {"header.X-Auth-Token": "Bearer tok-123456", "query.api_key": "key-123456"})
    assert result.output == {"youSent": "Bearer tok-123456"}
    trace = json.dumps([entry.to_json_data() for entry in result.http_trace])
    assert "tok-123456" not in trace
    assert "key-123456" not in trace


def test_a_missing_variable_is_named_and_nothing_is_sent(server, monkeypatch):
    monkeypatch.delenv("TEST_SECRET", raising=False)
    error = failure(server, authentication={"type": "bearer", "token": "${env.TEST_SECRET}"})
    assert error.detail.category == "auth_invalid"
    assert "TEST_SECRET" in error.detail.message
    assert server.connections == 0


def test_a_credential_longer_than_any_header_is_refused_before_anything_is_sent(server, monkeypatch):
    monkeypatch.setenv("TEST_SECRET", "x" * 8_193)
    error = failure(server, authentication={"type": "bearer", "token": "${env.TEST_SECRET}"})
    assert (error.detail.category, server.connections) == ("auth_invalid", 0)
    assert "8192 characters" in error.detail.message


def test_many_inputs_with_names_of_secrets_are_refused_before_anything_is_sent(server):
    inputs = {f"query.token{number}": f"value-{number}" for number in range(101)}
    error = failure(server, inputs)
    assert (error.detail.category, server.connections) == ("validation_failed", 0)
    server.respond_json({})
    assert call(server, dict(list(inputs.items())[:100])).output == {}


# With letters of either case, and characters that are written in other ways in URLs, JSON and HTML.
TOKEN = "Tok3n-S3cret/+v%lue&=Zq9"
# One that can be the name of a header, or of a host.
NAME = "Nam3-0fSecret-ZyXw9"
BODIES = [
    *(
        (content_type, "200 OK", size)
        for content_type in ("application/json", "text/html", "image/png", "")
        for size in (1, 80)
    ),
    ("application/x-ndjson", "200 OK", 80),
    *((content_type, "500 Oh", 1) for content_type in ("application/json", "text/html", "image/png")),
]


def echoes() -> dict[str, bytes]:
    """Return answers with the token in each place that an answer has, in each form."""
    forms = forms_of(TOKEN)
    answers = {}
    names = {kind: form.rstrip("=") for kind, form in forms_of(NAME).items()}
    for name, form in forms.items():
        plain = f"X-Form: {form}".encode()
        answers[f"values of headers, {name}"] = (
            b"HTTP/1.1 200 " + form.encode() + b"\r\n" + plain + b"\r\nETag: " + form.encode() + b"\r\n"
            b"Content-Type: text/plain; charset=" + form.encode() + b"; x=" + form.encode() + b"\r\n"
            b"Retry-After: " + form.encode() + b"\r\nContent-Length: 2\r\n\r\nok"
        )
        answers[f"names of headers, {name}"] = (
            f"HTTP/1.1 500 Oh\r\n{names[name]}: 1\r\nX-{names[name]}: 1\r\nContent-Length: 0\r\n\r\n".encode()
        )
        for kind, location in (("a redirect elsewhere", f"ftp://{names[name]}.example/"), ("a redirect", "/")):
            answers[f"{kind}, {name}"] = (
                f"HTTP/1.1 302 Found\r\nLocation: {location}{form}?q={form}#{form}\r\nContent-Length: 0\r\n\r\n"
            ).encode()
        answers[f"no HTTP, {name}"] = b"HTTP/1.1 " + form.encode() + b"\r\n\r\n"
        answers[f"a header that is none, {name}"] = b"HTTP/1.1 200 OK\r\n" + form.encode() + b"\r\n\r\n"
        answers[f"a length that is none, {name}"] = b"HTTP/1.1 200 OK\r\nContent-Length: " + form.encode() + b"\r\n\r\n"
        answers[f"a chunk that is none, {name}"] = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + form.encode() + b"\r\n"
        )
        answers[f"codings, {name}"] = (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: br, " + form.encode() + b"\r\nContent-Length: 2\r\n\r\nok"
        )
        for content_type, status, size in BODIES:
            value = json.dumps([form, {form: f"a{form}b"}, "x" * 500] * size)
            body = (value if "json" in content_type else f"\0\xff{value}").encode("latin-1")
            head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}; x={form}\r\nContent-Length: {len(body)}\r\n\r\n"
            answers[f"{size} of {content_type}, {status}, {name}"] = head.encode() + body
    return answers


@pytest.mark.parametrize("kind", sorted({name.rpartition(",")[0] for name in echoes()}))
def test_a_token_is_in_nothing_that_is_kept_wherever_a_server_puts_it(server, kind, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("TEST_SECRET", TOKEN)
    monkeypatch.setenv("TEST_NAME", NAME)
    caplog.set_level("DEBUG")
    kept = {}
    for name, answer in echoes().items():
        if name.rpartition(",")[0] == kind:
            server.respond_raw(answer, then_close=True)
            kept[name] = result_or_error(server, authentication={"type": "bearer", "token": "${env.TEST_SECRET}"})
    assert len(kept) == len(forms_of(TOKEN))
    stored = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert find_traces({**kept, **stored, "log": caplog.text}, [TOKEN, NAME]) == []


def result_or_error(server, **fields):
    """Return all that a call tells: its result, or its error with the trace."""
    endpoint = {"followRedirects": True, "headers": {"X-Name": "${env.TEST_NAME}"}}
    try:
        return json.dumps(call(server, endpoint=endpoint, **fields).to_json_data())
    except HttpActionError as error:
        return json.dumps([error.detail.to_json_data(), error.http_trace, str(error), repr(error)])
