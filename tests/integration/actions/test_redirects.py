"""Redirects that are followed, against servers that would like to have more than they get."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from helpers.waiting import in_time

from workflow_state.actions.execute import ActionContext, execute_http_action
from workflow_state.actions.network.client import close_client
from workflow_state.actions.network.deadline import DeadlineBackend
from workflow_state.actions.network.library import httpcore
from workflow_state.errors import HttpActionError
from workflow_state.schema import MAY_BE_DONE, ActionDefinition
from workflow_state.settings import get_settings

API_KEY = "k3y-of-the-tests"


class Server(ThreadingHTTPServer):
    """Answers each path with the status, location and pause that a test has put there; 200 otherwise."""

    def __init__(self, name: str) -> None:
        super().__init__((name, 0), Handler)
        self.url = f"http://{name}:{self.server_port}"
        self.answers: dict[str, tuple[int, str | None, float]] = {}
        self.received: list[dict[str, Any]] = []
        self.closes = False

    def answer(self, path: str, status: int, location: str | None = None, pause_s: float = 0) -> None:
        """Set what a path answers."""
        self.answers[path] = (status, location, pause_s)


class Handler(BaseHTTPRequestHandler):
    """Notes each request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append({"method": self.command, "path": self.path, "headers": headers, "body": body})
        status, location, pause_s = self.server.answers.get(self.path, (200, None, 0))
        time.sleep(pause_s)
        data = json.dumps({"path": self.path}).encode()
        self.send_response(status)
        if self.server.closes:
            self.send_header("Connection", "close")
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

    def handle(self) -> None:
        """Serve a connection; a client whose time is over closes it."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serving(name: str) -> Iterator[Server]:
    with Server(name) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        close_client()
        running.shutdown()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving("127.0.0.1")


@pytest.fixture
def other() -> Iterator[Server]:
    yield from serving("127.0.0.2")


@pytest.fixture(autouse=True)
def settings(monkeypatch) -> Iterator[None]:
    # The other server's port on the first server's address would be another origin too; so is another address.
    monkeypatch.setenv("WORKFLOW_STATE_ALLOWED_HOSTS", "127.0.0.1,127.0.0.2")
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", "0")
    monkeypatch.setenv("TEST_API_KEY", API_KEY)
    get_settings.cache_clear()
    yield
    close_client()
    monkeypatch.undo()
    get_settings.cache_clear()


def call(server, path="/start", inputs=None, *, context=None, effect=None, **endpoint):
    document = {
        "id": "test",
        "endpoint": {"url": server.url + path, "followRedirects": True, "timeout": 5_000, **endpoint},
        "authentication": {"type": "api_key", "header": "X-Key", "value": "${env.TEST_API_KEY}"},
        **({"effect": effect} if effect else {}),
    }
    return execute_http_action(ActionDefinition.model_validate(document), inputs or {}, context)


def failure(server, path="/start", inputs=None, **fields):
    with pytest.raises(HttpActionError) as caught:
        call(server, path, inputs, **fields)
    assert caught.value.__cause__ is None
    return caught.value


def test_redirects_are_followed_and_each_has_its_entry_in_the_trace(server):
    server.answer("/start", 302, "/two")
    server.answer("/two", 307, "/three?x=1")
    result = call(server)
    assert result.output == {"path": "/three?x=1"}
    assert [entry["path"] for entry in server.received] == ["/start", "/two", "/three?x=1"]
    assert {entry["headers"]["x-key"] for entry in server.received} == {API_KEY}
    trace = result.to_json_data()["httpTrace"]
    assert [(entry["request"]["url"], entry["response"]["status"]) for entry in trace] == [
        (f"{server.url}/start", 302),
        (f"{server.url}/two", 307),
        (f"{server.url}/three?x=1", 200),
    ]
    assert trace[0]["response"]["headers"]["location"] == "/two"
    assert [entry.is_followed_redirect for entry in result.http_trace] == [True, True, False]
    assert API_KEY not in json.dumps(trace)


def test_without_leave_the_first_answer_is_a_failure(server):
    server.answer("/start", 302, "/two")
    error = failure(server, followRedirects=False)
    assert error.detail.code == "http_302"
    assert "endpoint.followRedirects" in error.detail.suggestion
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_origin_gets_neither_credentials_nor_headers_of_ours(server, other, status):
    server.answer("/start", status, f"{other.url}/there")
    inputs = {"header.X-Session": "abc", "header.X-Auth-Token": "Bearer abc"}
    result = call(server, inputs=inputs, headers={"X-Tenant": "t"})
    assert result.output == {"path": "/there"}
    [seen] = other.received
    assert seen["headers"].keys() == {"host", "accept", "accept-encoding", "user-agent"}
    assert seen["headers"]["host"] == other.url.removeprefix("http://")


@pytest.mark.parametrize("status", [307, 308])
def test_a_body_goes_again_to_the_same_origin_and_to_no_other(server, other, status):
    context = ActionContext(execution_id="run", action_id="a")
    server.answer("/start", status, "/two")
    call(server, inputs={"body.secret": 1}, method="POST", context=context)
    first, second = server.received
    assert (first["method"], first["body"]) == (second["method"], second["body"]) == ("POST", b'{"secret":1}')
    assert first["headers"]["idempotency-key"] == second["headers"]["idempotency-key"] == "run.a"
    server.answer("/start", status, f"{other.url}/two")
    error = failure(server, inputs={"body.secret": 1}, method="POST", context=context)
    assert (error.detail.code, error.detail.retryable) == ("redirect_refused", False)
    assert "outcome" not in error.detail.context
    assert other.received == []


def test_see_other_after_a_post_is_a_get(server):
    server.answer("/start", 303, "/result")
    result = call(server, inputs={"body.a": 1}, method="POST", context=ActionContext(execution_id="r", action_id="a"))
    assert result.output == {"path": "/result"}
    _, second = server.received
    assert (second["method"], second["body"]) == ("GET", b"")
    assert not {"content-type", "content-length", "idempotency-key"}.intersection(second["headers"])


@pytest.mark.parametrize(("status", "is_unknown"), [(301, False), (302, True)])
def test_a_post_does_not_become_a_get_in_silence(server, status, is_unknown):
    server.answer("/start", status, "/result")
    detail = failure(server, inputs={"body.a": 1}, method="POST").detail
    assert (detail.category, detail.code, detail.status_code) == ("api_unexpected_status", "redirect_refused", status)
    assert "a POST is a GET for some clients" in detail.message
    assert not detail.retryable
    # Who redirects a form so has often taken it: nothing else may stand in for it then.
    assert (MAY_BE_DONE.items() <= detail.context.items()) is is_unknown
    assert len(server.received) == 1


@pytest.mark.parametrize("after", [429, 503, 500, 404])
def test_what_fails_after_a_post_was_taken_does_not_repeat_the_post(server, after):
    """503 means that this request was not processed: the GET, not the POST before it."""
    server.answer("/start", 303, "/result")
    server.answer("/result", after)
    detail = failure(server, method="POST").detail
    assert not detail.retryable
    assert MAY_BE_DONE.items() <= detail.context.items()
    assert failure(server, method="POST", effect="keyed").detail.retryable is (after != 404)


@pytest.mark.parametrize("destination", ["http://127.0.0.3:1/", "http://169.254.169.254/latest/", "http://[::1]:1/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_hop_is_checked(server, destination, method):
    server.answer("/start", 303, destination)
    error = failure(server, method=method)
    assert (error.detail.code, error.detail.retryable) == ("egress_refused", False)
    assert (MAY_BE_DONE.items() <= error.detail.context.items()) is (method == "POST")
    assert [entry["request"]["url"] for entry in error.http_trace] == [f"{server.url}/start", destination]
    assert error.http_trace[1]["error"] == error.detail.message


def test_whether_it_may_be_sent_is_asked_before_each_request(server):
    """A worker that was stopped between two of them must not send an unsafe one that another has taken over."""
    asked: list[int] = []

    def before_send() -> None:
        asked.append(len(server.received))
        if len(asked) == 2:
            raise RuntimeError("taken over")

    server.answer("/start", 307, "/two")
    with pytest.raises(RuntimeError, match="taken over"):
        call(server, method="POST", context=ActionContext(execution_id="r", action_id="a", before_send=before_send))
    assert asked == [0, 1]
    assert [entry["path"] for entry in server.received] == ["/start"]


def test_a_second_request_that_can_not_connect_was_not_sent(server, monkeypatch):
    """307 says that the first was not acted on, and of the second nothing left: an unsafe one may go again."""
    server.answer("/start", 307, "/two")
    connect = DeadlineBackend.connect_tcp
    connections: list[str] = []

    def connect_once(self, host, *arguments, **options):
        connections.append(host)
        if len(connections) > 1:
            raise httpcore.ConnectError("down")
        return connect(self, host, *arguments, **options)

    monkeypatch.setattr(DeadlineBackend, "connect_tcp", connect_once)
    monkeypatch.setattr(server, "closes", True)
    detail = failure(server, method="POST").detail
    assert (detail.code, detail.retryable) == ("connection_refused", True)
    assert len(server.received) == 1


def test_a_circle_and_a_long_way_end(server):
    server.answer("/start", 302, "/two")
    server.answer("/two", 302, "/start")
    assert "in a circle" in failure(server).detail.message
    assert len(server.received) == 2
    for number in range(9):
        server.answer(f"/{number}", 302, f"/{number + 1}")
    error = failure(server, "/0")
    assert "one more than the 5" in error.detail.message
    assert len(error.http_trace) == 6
    assert len(server.received) == 2 + 6


def test_the_time_is_for_all_hops_together(server):
    for number in range(5):
        server.answer(f"/{number}", 302, f"/{number + 1}", pause_s=0.3)
    error = in_time(0.8 + 0.5, lambda: failure(server, "/0", timeout=800))
    assert error.detail.category == "network_timeout"
    # The third is cut off; on a busy machine the second. Each by itself would be in time.
    assert len(error.http_trace) in {2, 3}


def test_a_secret_in_a_location_is_not_shown(server, other):
    server.answer("/start", 307, f"{other.url}/?token=hunter2&k={API_KEY}")
    error = failure(server, method="POST")
    told = json.dumps([error.detail.to_json_data(), error.http_trace])
    assert "hunter2" not in told
    assert API_KEY not in told
