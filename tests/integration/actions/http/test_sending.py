"""What is sent: the request itself, once, over a connection that stands."""

import socket
import threading
import time
from typing import Any

import pytest
from helpers.http_calls import call, definition, failure
from helpers.raw_http_server import reset

from workflow_state.actions.definitions.catalog import register_action_definition
from workflow_state.actions.execute import ActionContext, execute_http_action
from workflow_state.actions.network.client import get_client
from workflow_state.errors import ActionDefinitionError, HttpActionError


def test_json_is_the_output_and_the_trace_tells_what_happened(server):
    server.respond_json({"id": 7, "items": [1.5, None, "é"]})
    result = call(server, {"id": "a/b", "query.q": "x y"}, path="/users/{id}")
    assert result.output == {"id": 7, "items": [1.5, None, "é"]}
    assert server.received[0].startswith(b"GET /users/a%2Fb?q=x%20y HTTP/1.1\r\n")
    [entry] = result.http_trace
    assert entry.request.method == "GET"
    assert entry.request.url == f"{server.url}/users/a%2Fb?q=x%20y"
    assert entry.response
    assert entry.response.status == 200
    assert entry.response.body == result.output
    assert "error" not in entry.to_json_data()
    assert result.to_json_data()["status"] == "success"


def test_a_definition_can_be_named_by_its_id(server):
    server.respond_json(1)
    register_action_definition(definition(server))
    assert execute_http_action("test", {}).output == 1
    with pytest.raises(ActionDefinitionError, match=r"did you mean .*'test'"):
        execute_http_action("tset", {})


def test_a_body_goes_out_with_its_idempotency_key_and_a_retry_is_the_same_request(server):
    server.respond_json({})
    posting = definition(server, method="POST")
    for attempt in (1, 2):
        context = {"executionId": "run", "actionId": "a", "attempt": attempt}
        execute_http_action(posting, {"body.name": "é", "body.n": 1}, context)
    first, second = server.received
    assert first == second
    assert b"Idempotency-Key: run.a\r\n" in first
    assert b"Content-Type: application/json\r\n" in first
    assert first.endswith('{"name":"é","n":1}'.encode())


def test_connections_are_used_again(server):
    server.respond_json(1)
    for _ in range(5):
        call(server)
    assert server.connections == 1
    assert get_client() is get_client()


def test_cookies_are_not_kept(server):
    server.respond_json(1, set_cookie="session=abc; Path=/")
    call(server)
    call(server)
    assert b"cookie" not in server.received[1].lower()


def test_many_threads_share_one_client(server):
    server.respond_json([1])
    outputs: list[Any] = []
    threads = [threading.Thread(target=lambda: outputs.append(call(server).output)) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert outputs == [[1]] * 60


def test_the_hook_is_called_once_when_the_connection_stands(server):
    server.respond_json(1)
    calls = []

    def before_send() -> None:
        calls.append((server.connections, len(server.received)))

    for _ in range(2):
        context = ActionContext(execution_id="run", action_id="a", before_send=before_send)
        execute_http_action(definition(server, method="POST"), {"body": "x" * 500_000}, context)
    assert [received for _, received in calls] == [0, 1]


def test_the_hook_is_not_called_where_no_connection_stands(server):
    called: list[int] = []
    context = ActionContext(execution_id="run", action_id="a", before_send=lambda: called.append(1))
    refused = definition(server, endpoint={"url": "http://127.0.0.1:1/"})
    with pytest.raises(HttpActionError):
        execute_http_action(refused, {}, context)
    assert called == []


def test_an_exception_of_the_hook_goes_through_and_nothing_is_sent(server):
    server.respond_json(1)

    def before_send() -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        execute_http_action(
            definition(server, method="POST"),
            {},
            ActionContext(execution_id="r", action_id="a", before_send=before_send),
        )
    assert call(server).output == 1
    assert len(server.received) == 1


def test_what_was_cancelled_while_it_connected_is_not_sent(server, monkeypatch):
    """Asked only where connecting took long; here any time is long."""
    asked = []
    context = ActionContext(execution_id="r", action_id="a", is_wanted=lambda: asked.append(1))
    server.respond_json(1)
    monkeypatch.setattr("workflow_state.actions.execute._LONG_WAIT_S", 60)
    execute_http_action(definition(server, method="POST"), {}, context)
    assert (asked, len(server.received)) == ([], 1)
    monkeypatch.setattr("workflow_state.actions.execute._LONG_WAIT_S", -1)
    with pytest.raises(HttpActionError) as caught:
        execute_http_action(definition(server, method="POST"), {}, context)
    assert (caught.value.detail.category, caught.value.detail.retryable) == ("user_cancelled", False)
    assert (asked, len(server.received)) == ([1], 1)


def test_a_hook_that_uses_up_the_time_leaves_the_request_unsent(server):
    context = ActionContext(execution_id="run", action_id="a", before_send=lambda: time.sleep(0.1))
    with pytest.raises(HttpActionError) as caught:
        execute_http_action(definition(server, method="POST", timeout=50), {}, context)
    assert (caught.value.detail.category, caught.value.detail.retryable) == ("network_timeout", True)
    assert server.received == []


def test_an_idle_connection_that_was_reset_does_not_fail_an_unsafe_request(server):
    connections: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        connections.append(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server.answer = answer
    call(server, method="POST")
    connections[0].shutdown(socket.SHUT_RDWR)
    time.sleep(0.05)
    assert call(server, method="POST").output is None


def test_a_connection_that_is_reset_before_the_first_byte_leaves_the_request_unsent(server):
    asked_to_reset, was_reset = threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        asked_to_reset.wait(5)
        reset(connection)
        was_reset.set()

    def before_send() -> None:
        asked_to_reset.set()
        assert was_reset.wait(5)

    server.answer = answer
    posting = definition(server, method="POST")
    execute_http_action(posting, {})
    with pytest.raises(HttpActionError) as caught:
        execute_http_action(posting, {}, ActionContext(execution_id="run", action_id="a", before_send=before_send))
    assert (caught.value.detail.category, caught.value.detail.retryable) == ("network_connection_refused", True)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "inputs",
    [
        {"id": "7", "header.X-Forwarded-For": "127.0.0.1"},
        {"id": "7", "header.X_Tenant": "other"},
        {"id": "7", "header.Idempotency-Key": "mine"},
        {"id": "7", "query.Admin": "yes"},
        {"id": "..;"},
        {"id": "x" * 70_000},
    ],
)
def test_an_input_that_bends_the_definition_is_not_sent(server, inputs):
    error = failure(
        server, inputs, path="/users/{id}?admin=no", method="POST", endpoint={"headers": {"X-Tenant": "mine"}}
    )
    assert (error.detail.category, error.detail.code, error.detail.retryable) == (
        "validation_failed",
        "bad_input",
        False,
    )
    assert error.http_trace == []
    assert server.connections == 0
