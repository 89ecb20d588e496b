"""HTTP actions against a real server that misbehaves in every way it can."""

import base64
import gzip
import json
import os
import resource
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from helpers.waiting import in_time

from workflow_state.actions.definitions.catalog import forget_catalog, register_action_definition
from workflow_state.actions.execute import ActionContext, execute_http_action
from workflow_state.actions.network.client import close_client, get_client
from workflow_state.errors import ActionDefinitionError, HttpActionError
from workflow_state.schema import ActionDefinition, HttpActionResult
from workflow_state.settings import get_settings

SLACK_S = 0.5


@dataclass
class Server:
    """A server that answers every request with the raw bytes, or the behaviour, that a test has put there."""

    listener: socket.socket
    answer: Callable[[socket.socket], None] = lambda _: None
    received: list[bytes] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    connections: int = 0
    read_first: bool = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._converse, args=(connection,))
            thread.start()
            self.threads.append(thread)

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            try:
                while not self.read_first or self._read_request(connection):
                    self.answer(connection)
                    if not self.read_first:
                        return
            except OSError:
                return

    def _read_request(self, connection: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return False
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        self.received.append(head + b"\r\n\r\n" + body)
        return True

    def respond(self, status: str = "200 OK", body: bytes = b"", **headers: str) -> None:
        """Answer with a complete response; `content_type="x"` sets Content-Type."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.respond_raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def respond_json(self, value: Any, status: str = "200 OK", **headers: str) -> None:
        """Answer with a JSON document."""
        self.respond(status, json.dumps(value).encode(), content_type="application/json", **headers)

    def respond_raw(self, data: bytes, *, then_close: bool = False) -> None:
        """Answer with these bytes."""

        def answer(connection: socket.socket) -> None:
            connection.sendall(data)
            if then_close:
                connection.shutdown(socket.SHUT_RDWR)

        self.answer = answer

    def drip(self, data: bytes, pause_s: float) -> None:
        """Answer with one byte at a time."""

        def answer(connection: socket.socket) -> None:
            for byte in data:
                connection.sendall(bytes([byte]))
                if self.stopped.wait(pause_s):
                    return

        self.answer = answer

    def hang(self) -> None:
        """Never answer."""
        self.answer = lambda _: self.stopped.wait(10) and None


def reset(connection: socket.socket) -> None:
    """Close with RST in place of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(socket.create_server(("127.0.0.1", 0)))
    accepting = threading.Thread(target=server.serve)
    accepting.start()
    yield server
    server.stopped.set()
    close_client()
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    for thread in [accepting, *server.threads]:
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", f"file://{tmp_path}")
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", "loopback")
    monkeypatch.setenv("WORKFLOW_STATE_MAX_RESPONSE_BYTES", "1000000")
    monkeypatch.setenv("WORKFLOW_STATE_INLINE_OUTPUT_BYTES", "1000")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()
    forget_catalog()


def definition(
    server: Server, path: str = "/", method: str = "GET", timeout: int = 5_000, **fields: Any
) -> ActionDefinition:
    endpoint = {"url": server.url + path, "method": method, "timeout": timeout, **fields.pop("endpoint", {})}
    return ActionDefinition.model_validate({"id": "test", "endpoint": endpoint, **fields})


def call(server: Server, inputs: dict[str, Any] | None = None, **fields: Any) -> HttpActionResult:
    return execute_http_action(definition(server, **fields), inputs or {})


def failure(server: Server, inputs: dict[str, Any] | None = None, **fields: Any) -> HttpActionError:
    with pytest.raises(HttpActionError) as caught:
        call(server, inputs, **fields)
    # What happened is told once: nothing of httpx's exceptions, which hold the whole request, goes along.
    assert caught.value.__cause__ is None
    return caught.value


def outcome(server: Server, inputs: dict[str, Any] | None = None, **fields: Any) -> tuple[str, bool]:
    detail = failure(server, inputs, **fields).detail
    return detail.category.value, detail.retryable


def in_time_at(deadline_s: float, *arguments: Any, **fields: Any) -> tuple[str, bool]:
    return in_time(deadline_s + SLACK_S, lambda: outcome(*arguments, timeout=round(deadline_s * 1000), **fields))


# --- What goes well


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


@pytest.mark.parametrize(
    ("body", "content_type", "output"),
    [
        (b"", "application/json", None),
        (b"caf\xe9", "text/plain; charset=latin-1", {"text": "café"}),
        (b"caf\xc3\xa9", "text/html", {"text": "café"}),
        (b"caf\xe9", "text/plain", {"text": "caf\ufffd"}),
        (b"x\xff", "text/plain; charset=no-such-thing", {"text": "x\ufffd"}),
        (b"x", "text/plain; charset=punycode", {"text": "x"}),
        (b"<a/>", "application/atom+xml", {"text": "<a/>"}),
        (b"[1]", "application/problem+json; charset=utf-8", [1]),
        (b"\xef\xbb\xbf[1]", "application/json", [1]),
        ('["é"]'.encode("utf-16"), "application/json", ["é"]),
        (b'{"a":1,"a":2}', "application/json", {"a": 2}),
        (b'["\\ud800x", "\\ud83d\\ude00"]', "application/json", ["\ufffdx", "😀"]),
        (b"12345678901234567890123", "application/json", 12345678901234567890123),
        (b"[" * 64 + b"]" * 64, "application/json", json.loads("[" * 64 + "]" * 64)),
    ],
)
def test_outputs_by_content_type(server, body, content_type, output):
    server.respond("200 OK", body, content_type=content_type)
    result = call(server)
    assert result.output == output
    assert HttpActionResult.model_validate_json(result.model_dump_json()).output == output


def test_text_without_a_type_is_text(server):
    server.respond("200 OK", b"plain")
    assert call(server).output == {"text": "plain"}


def test_no_content_is_null(server):
    server.respond_raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert call(server).output is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (bytes(range(256)), "image/png"),
        (json.dumps(["x" * 50] * 100).encode(), "application/json"),
        (b"x" * 2_000, "text/plain"),
    ],
)
def test_binary_and_large_outputs_are_stored(server, body, content_type, tmp_path):
    server.respond("200 OK", body, content_type=content_type)
    context = ActionContext(execution_id="..", action_id="a/../../b", attempt=2)
    result = execute_http_action(definition(server), {}, context)
    location = result.output_location
    assert location
    assert result.output == {
        "stored": True,
        "location": location.path,
        "size": len(body),
        "contentType": content_type,
    }
    path = Path(location.path)
    assert path.resolve().is_relative_to(tmp_path)
    assert path.read_bytes() == body
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.name == f"2-{location.checksum}"
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_an_output_that_can_not_be_stored_is_a_failure(server, monkeypatch):
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", "file:///dev/null/outputs")
    get_settings.cache_clear()
    server.respond("200 OK", b"\xff", content_type="image/png")
    assert outcome(server) == ("state_inconsistent", True)
    assert outcome(server, method="POST") == ("state_inconsistent", False)


def test_a_disk_that_is_full_is_a_failure_of_a_request_that_succeeded(server):
    """The system's own refusal, in the middle of the file."""
    server.respond("200 OK", b"\xff" * 9_000, content_type="image/png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    try:
        details = [failure(server, method=method).detail for method in ("GET", "POST")]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {(detail.category, detail.code, detail.status_code) for detail in details} == {
        ("state_inconsistent", "output_not_stored", 200)
    }
    assert [detail.retryable for detail in details] == [True, False]
    assert "File too large" in details[0].message


def test_without_a_setting_outputs_go_to_a_folder_of_ones_own(server, monkeypatch, tmp_path):
    monkeypatch.delenv("WORKFLOW_STATE_STORAGE_URL")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    get_settings.cache_clear()
    server.respond("200 OK", b"\xff", content_type="image/png")
    location = call(server).output_location
    assert location
    [folder] = tmp_path.iterdir()
    assert Path(location.path).is_relative_to(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_someone_else_prepared_is_not_used(server, monkeypatch, tmp_path):
    monkeypatch.delenv("WORKFLOW_STATE_STORAGE_URL")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    get_settings.cache_clear()
    (tmp_path / f"workflow-state-{os.getuid()}").symlink_to(tmp_path)
    server.respond("200 OK", b"\xff", content_type="image/png")
    assert "belongs to someone else" in failure(server).detail.message


@pytest.mark.parametrize("url", ["oci://bucket/x", "file://elsewhere/x", "outputs"])
def test_a_storage_url_that_is_not_supported_says_so(server, monkeypatch, url):
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", url)
    get_settings.cache_clear()
    server.respond("200 OK", b"\xff", content_type="image/png")
    assert "WORKFLOW_STATE_STORAGE_URL" in failure(server).detail.message


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


def test_gzip_is_undone_once(server):
    server.respond("200 OK", gzip.compress(b'{"a":1}'), content_type="application/json", content_encoding="gzip")
    assert call(server).output == {"a": 1}
    two_members = gzip.compress(b"[1,") + gzip.compress(b"2]")
    server.respond("200 OK", two_members, content_type="application/json", content_encoding="gzip")
    assert call(server).output == [1, 2]


# --- Statuses


@pytest.mark.parametrize(
    ("status", "category", "safe", "unsafe"),
    [
        (400, "validation_failed", False, False),
        (401, "auth_invalid", False, False),
        (403, "auth_invalid", False, False),
        (404, "api_endpoint_removed", False, False),
        (408, "network_timeout", True, False),
        (409, "validation_failed", False, False),
        (410, "api_endpoint_removed", False, False),
        (418, "validation_failed", False, False),
        (425, "validation_failed", True, True),
        (429, "rate_limit_burst", True, True),
        (500, "api_unexpected_status", True, False),
        (501, "api_unexpected_status", False, False),
        (502, "api_unexpected_status", True, False),
        (503, "api_unexpected_status", True, True),
        (504, "api_unexpected_status", True, False),
        (599, "api_unexpected_status", False, False),
        (304, "api_unexpected_status", False, False),
    ],
)
def test_each_status_has_its_category_and_its_retry_rule(server, status, category, safe, unsafe):
    server.respond(f"{status} Whatever")
    assert outcome(server) == (category, safe)
    assert outcome(server, method="DELETE") == (category, safe)
    assert outcome(server, method="POST") == (category, unsafe)
    assert outcome(server, method="POST", effect="idempotent") == (category, safe)


def test_the_error_says_which_request_failed_and_how(server):
    server.respond_json({"error": "no such user", "token": "abc"}, "404 Not Found")
    error = failure(server, {"id": 5}, path="/users/{id}")
    detail = error.detail
    assert detail.status_code == 404
    assert detail.code == "http_404"
    assert detail.context["url"] == f"{server.url}/users/5"
    assert detail.context["method"] == "GET"
    assert detail.context["actionDefinitionId"] == "test"
    assert detail.context["response"] == '{"error": "no such user", "token": "[redacted]"}'
    [entry] = error.http_trace
    assert entry["response"]["status"] == 404
    assert entry["error"] == detail.message


def test_a_conflict_under_a_key_that_the_server_honours_is_waited_for(server):
    server.respond("409 Conflict")
    keyed = definition(server, method="POST", effect="keyed")
    with pytest.raises(HttpActionError) as caught:
        execute_http_action(keyed, {}, ActionContext(execution_id="run", action_id="a"))
    assert caught.value.detail.retryable


@pytest.mark.parametrize(
    ("retry_after", "category", "retryable", "retry_after_ms"),
    [
        ("7", "rate_limit_burst", True, 7_000),
        ("0", "rate_limit_burst", True, 0),
        ("300", "rate_limit_burst", True, 300_000),
        ("301", "rate_limit_burst", False, 301_000),
        ("3600", "rate_limit_daily", False, 3_600_000),
        ("9" * 5_000, "rate_limit_daily", False, 366 * 24 * 3_600_000),
        ("-5", "rate_limit_burst", True, None),
        ("1.5", "rate_limit_burst", True, None),
        ("²", "rate_limit_burst", True, None),
        ("soon", "rate_limit_burst", True, None),
        ("", "rate_limit_burst", True, None),
    ],
)
def test_retry_after_in_seconds(server, retry_after, category, retryable, retry_after_ms):
    server.respond("429 Too Many Requests", retry_after=retry_after)
    detail = failure(server).detail
    assert (detail.category, detail.retryable, detail.retry_after) == (category, retryable, retry_after_ms)


@pytest.mark.parametrize(("wait_s", "retryable"), [(90, True), (-90, True), (7_200, False)])
def test_retry_after_as_a_date_counts_from_the_servers_clock(server, wait_s, retryable):
    servers_now = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
    date = format_datetime(servers_now, usegmt=True)
    until = format_datetime(servers_now + timedelta(seconds=wait_s), usegmt=True)
    server.respond("503 Service Unavailable", retry_after=until, date=date)
    detail = failure(server).detail
    assert (detail.retryable, detail.retry_after) == (retryable, max(0, wait_s) * 1000)


@pytest.mark.parametrize("location", ["https://u:p@elsewhere.test/?token=x", "http://[", "/relative", "\x01\x02"])
def test_a_redirect_is_not_followed_and_says_where_it_points(server, location):
    server.respond("302 Found", location=location)
    error = failure(server)
    assert error.detail.category == "api_unexpected_status"
    assert "redirects are not followed" in (error.detail.suggestion or "")
    shown = location.replace("u:p", "[redacted]").replace("token=x", "token=[redacted]")
    assert shown in error.detail.message
    assert error.http_trace[0]["response"]["headers"]["location"] == shown
    assert len(server.received) == 1


# --- Bodies that are not what they should be


def compressed(data):
    """Compress without the time of day: names of tests are made of it, and two processes must make the same."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{oops", {}),
        (b"NaN", {}),
        (b"[-Infinity]", {}),
        (b"1e999", {}),
        (b"9" * 5_000, {}),
        (b'"\xff"', {}),
        (b"[" * 65 + b"]" * 65, {}),
        (b"[" * 65 + b"1" + b"]" * 65, {}),
        (b"[" * 100_000 + b"]" * 100_000, {}),
        (b'{"a":' * 90_000 + b"1" + b"}" * 90_000, {}),
        (b"x" * 1_000_001, {"content_type": "text/plain"}),
        (compressed(b" " * 2_000_000), {"content_encoding": "gzip"}),
        (compressed(compressed(compressed(b"[1]"))), {"content_encoding": "gzip, gzip, gzip"}),
        (compressed(b"[1]"), {"content_encoding": "br"}),
        (b"not gzip", {"content_encoding": "gzip"}),
        (compressed(b"[1, 2]")[:-6], {"content_encoding": "gzip"}),
        (compressed(b"[1, 2]") + b"rest", {"content_encoding": "gzip"}),
    ],
)
def test_a_body_that_can_not_be_used_is_malformed_and_not_asked_for_again(server, body, headers):
    server.respond("200 OK", body, **{"content_type": "application/json", **headers})
    error = failure(server)
    assert error.detail.category == "api_response_malformed"
    assert not error.detail.retryable
    assert error.detail.status_code == 200
    assert error.http_trace[0]["response"]["status"] == 200
    json.dumps([error.detail.to_json_data(), error.http_trace]).encode()


def test_an_endless_body_is_cut_at_the_limit(server):
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while not server.stopped.is_set():
            connection.sendall(b"x" * 65536)

    server.answer = answer
    assert in_time(2, lambda: failure(server)).detail.code == "response_too_large"


def test_an_error_with_an_unusable_body_is_still_that_error(server):
    server.respond("503 Service Unavailable", b"\xff" * 200_000, content_encoding="gzip", retry_after="3")
    detail = failure(server).detail
    assert (detail.category, detail.retry_after) == ("api_unexpected_status", 3_000)


# --- The connection


def test_a_refused_connection_may_be_tried_again_whatever_the_effect(server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        error = failure(server, method="POST", endpoint={"url": url})
    assert (error.detail.category, error.detail.retryable) == ("network_connection_refused", True)
    assert len(error.http_trace) == 1
    assert "response" not in error.http_trace[0]


def test_a_certificate_that_nobody_vouches_for_is_refused_for_good(server, tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-days", "2"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    def answer(connection: socket.socket) -> None:
        with tls.wrap_socket(connection, server_side=True):
            pass

    server.read_first = False
    server.answer = answer
    error = failure(server, endpoint={"url": server.url.replace("http:", "https:")})
    assert (error.detail.code, error.detail.retryable) == ("bad_certificate", False)
    assert error.detail.category == "network_connection_refused"


def test_a_name_that_does_not_exist_is_a_refused_connection(server):
    assert outcome(server, endpoint={"url": "http://no-such-host.invalid/"}) == ("network_connection_refused", True)
    long_label = f"http://{'x' * 70}.invalid/"
    assert outcome(server, endpoint={"url": long_label}) == ("network_connection_refused", True)


def test_a_server_that_speaks_no_tls_is_a_refused_connection(server):
    server.read_first = False
    server.respond_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    url = server.url.replace("http:", "https:")
    assert outcome(server, method="POST", endpoint={"url": url}) == ("network_connection_refused", True)


def test_a_reset_after_reading_is_not_repeated_where_that_is_unsafe(server):
    server.answer = reset
    assert outcome(server) == ("network_connection_refused", True)
    error = failure(server, method="POST")
    assert not error.detail.retryable
    assert "may have acted" in (error.detail.suggestion or "")
    assert outcome(server, method="POST", effect="keyed") == ("network_connection_refused", True)


def test_a_reset_before_reading_counts_as_unknown(server):
    server.read_first = False
    server.answer = reset
    assert outcome(server, inputs={"body": "x" * 100_000}, method="PUT") == ("network_connection_refused", True)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[1]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_connection_that_ends_early_is_a_lost_connection(server, response):
    server.respond_raw(response, then_close=True)
    assert outcome(server) == ("network_connection_refused", True)
    assert outcome(server, method="POST") == ("network_connection_refused", False)


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_malformed(server, response):
    server.respond_raw(response)
    assert outcome(server, method="POST") == ("api_response_malformed", False)


def test_a_body_longer_than_its_length_ends_where_it_says(server):
    server.respond_raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n[1]garbage")
    assert call(server).output == [1]
    assert call(server).output == [1]


# --- Time


def test_a_server_that_says_nothing_is_given_up_at_the_deadline(server):
    server.hang()
    assert in_time_at(0.3, server) == ("network_timeout", True)
    assert outcome(server, timeout=50, method="POST") == ("network_timeout", False)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ],
)
def test_a_slow_answer_is_given_up_at_the_deadline(server, response):
    server.drip(response, pause_s=0.05)
    assert in_time_at(0.3, server) == ("network_timeout", True)


def test_a_server_that_does_not_read_is_given_up_at_the_deadline(server):
    server.read_first = False
    server.hang()
    assert in_time_at(0.3, server, {"body": "x" * 20_000_000}, method="PUT") == ("network_timeout", True)


def test_a_tls_handshake_that_hangs_is_given_up_at_the_deadline(server):
    server.read_first = False
    server.hang()
    url = server.url.replace("http:", "https:")
    assert in_time_at(0.3, server, method="POST", endpoint={"url": url}) == ("network_timeout", True)


def test_a_connection_that_does_not_come_about_is_given_up_at_the_deadline(server):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as waiting:
        address = full.getsockname()
        waiting.connect(address)
        url = f"http://127.0.0.1:{address[1]}/"
        assert in_time_at(0.3, server, method="POST", endpoint={"url": url}) == ("network_timeout", True)


def test_an_answer_in_time_is_not_cut(server):
    server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: application/json\r\n\r\n[1]", pause_s=0.005)
    assert call(server).output == [1]


# --- Before the first byte


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


# --- Secrets


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


def test_a_secret_in_an_output_that_is_stored_is_scrubbed_too(server, monkeypatch):
    monkeypatch.setenv("TEST_SECRET", "hunter2hunter2")
    server.respond_json(["hunter2hunter2"] * 200)
    result = call(server, authentication={"type": "bearer", "token": "${env.TEST_SECRET}"})
    assert result.output_location
    assert json.loads(Path(result.output_location.path).read_bytes()) == ["[redacted]"] * 200


def test_a_token_that_comes_with_the_inputs_is_not_in_the_trace(server):
    server.respond_json({"youSent": "Bearer tok-123456"})
    result = call(server, {"header.Authorization": "Bearer tok-123456", "query.api_key": "key-123456"})
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


def test_many_threads_share_one_client(server):
    server.respond_json([1])
    outputs: list[Any] = []
    threads = [threading.Thread(target=lambda: outputs.append(call(server).output)) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert outputs == [[1]] * 60


# --- Schemas ---------------------------------------------------------------------------------------------------

ORDER = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def test_inputs_that_do_not_fit_their_schema_are_not_sent(server: Server) -> None:
    schema = {"type": "object", "properties": {"body.count": {"type": "integer"}}, "required": ["body.count"]}
    detail = failure(server, {"body.count": "five"}, method="POST", inputSchema=schema).detail
    assert (detail.category, detail.code, detail.retryable) == ("validation_failed", "bad_input", False)
    assert "the input 'body.count' must be an integer, not text; nothing was sent" in detail.message
    assert "'body.count' is missing" in failure(server, {}, method="POST", inputSchema=schema).detail.message
    assert server.connections == 0


@pytest.mark.parametrize(
    ("effect", "retryable", "context"),
    [("unsafe", False, {"outcome": "unknown"}), ("keyed", True, {}), ("idempotent", True, {})],
)
def test_an_output_that_does_not_fit_its_schema_is_malformed(
    server: Server,
    effect: str,
    retryable: bool,  # noqa: FBT001 - parametrized
    context: dict[str, str],
) -> None:
    """An unsafe request has had its effect: it is not sent again, and a person decides."""
    server.respond_json({"id": "seventeen"}, status="201 Created")
    detail = failure(server, {"body.a": 1}, method="POST", effect=effect, outputSchema=ORDER).detail
    assert (detail.category, detail.code, detail.retryable) == ("api_response_malformed", "output_mismatch", retryable)
    assert detail.message == "the answer does not fit the outputSchema: output.id must be an integer, not text"
    assert detail.status_code == 201
    assert detail.context.items() >= context.items()
    assert ("outcome" in detail.context) == bool(context)


def test_a_large_output_is_checked_before_it_is_stored(server: Server, tmp_path: Path) -> None:
    server.respond_json({"id": 1, "text": "x" * 2_000})
    assert call(server, outputSchema=ORDER).output["stored"] is True
    server.respond_json({"id": "1", "text": "x" * 2_000})
    stored = len([path for path in tmp_path.rglob("*") if path.is_file()])
    assert failure(server, outputSchema=ORDER).detail.code == "output_mismatch"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == stored


def test_text_and_nothing_have_schemas_too(server: Server) -> None:
    server.respond(body=b"hello", content_type="text/plain")
    text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    assert call(server, outputSchema=text).output == {"text": "hello"}
    server.respond("204 No Content")
    assert call(server, outputSchema={"type": ["object", "null"]}).output is None
    assert failure(server, outputSchema=text).detail.message.endswith("output must be an object, not null")
