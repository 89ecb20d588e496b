"""A secret is in nothing that is kept, even where the server echoes it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.http_calls import call, definition, failure

from workflow_state.actions.execute import ActionContext, preview_http_action
from workflow_state.actions.network.client import close_client


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
    shown, digest = preview_http_action(made, {"room": "9"}, context)
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
    assert preview_http_action(made, {"room": "9"}, context)[1] == digest


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
