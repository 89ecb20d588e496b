"""Servers that write their headers and bodies in ways of their own: what they have done counts as done."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from workflow_state.actions.definitions.fields import describe_validation_error
from workflow_state.actions.execute import execute_http_action
from workflow_state.actions.http.failures import parse_retry_after
from workflow_state.actions.network.client import close_client
from workflow_state.actions.storage.outputs import read_stored
from workflow_state.engine.contents import with_stored_values
from workflow_state.errors import HttpActionError
from workflow_state.plans.resolving import resolve_value
from workflow_state.schema import ActionDefinition

JSON = "application/json"
VALUE = {"name": "Zoë", "price": 1.5}
BODY = json.dumps(VALUE, ensure_ascii=False).encode()
LINES = b'{"n": 1}\n\n{"n": 2}\r\n[3]\n'
VALUES = [{"n": 1}, {"n": 2}, [3]]


class Answering(BaseHTTPRequestHandler):
    """Answers as the server's `answer` says."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def answer(self):
        """Read the request, and answer."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def server():
    """Answer every request with the server's `answer`: status, header lines and body."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as serving:
        serving.daemon_threads = True
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield serving
        close_client()
        serving.shutdown()
        thread.join()


def post(server, body, *headers, declared=None, status=200):
    """Send an unsafe request that is answered so."""
    server.answer = (status, headers, body)
    fields = {"response": {"format": declared}} if declared else {}
    url = f"http://127.0.0.1:{server.server_port}/"
    definition = {"id": "post", "endpoint": {"url": url, "method": "POST"}, **fields}
    return execute_http_action(ActionDefinition.model_validate(definition), {})


# --- Headers


NO_CODINGS = """
UTF-8 | utf8 | none | None | identity | IDENTITY | identity, | , , | "identity" | identity;q=1 | identity, utf-8
binary | 8bit | aws-chunked | text/plain |
"""
TEXT_TYPES = [
    *("text/csv", "text/yaml", "text/markdown", "text/anything", "TEXT/HTML", "image/svg+xml", "application/atom+xml"),
    *("application/csv", "application/yaml", "application/x-yaml", "application/vnd.oai.openapi+yaml"),
    *("application/xml", "application/javascript", "application/x-javascript", "application/toml", "application/sql"),
]


@pytest.mark.parametrize("coding", [word.strip() for line in NO_CODINGS.split("\n") for word in line.split("|")])
def test_what_is_no_content_coding_changes_nothing(server, coding):
    assert post(server, BODY, ("Content-Type", JSON), ("Content-Encoding", coding)).output == VALUE


@pytest.mark.parametrize(
    "coding",
    [
        "gzip",
        "GZip",
        "x-gzip",
        "X-GZIP",
        " gzip ",
        "gzip,",
        ", gzip",
        "identity, gzip",
        "utf-8,gzip",
        '"gzip"',
        "gzip;q=1",
    ],
)
def test_gzip_is_known_however_it_is_written(server, coding):
    body = gzip.compress(BODY)
    assert post(server, body, ("Content-Type", JSON), ("Content-Encoding", coding)).output == VALUE


def test_codings_in_lines_of_their_own(server):
    codings = (("Content-Encoding", "utf-8"), ("content-encoding", "gzip"))
    assert post(server, gzip.compress(BODY), ("Content-Type", JSON), *codings).output == VALUE


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "gzip, br", "X-Compress", "sdch", "x-bzip2"])
def test_a_coding_that_was_not_asked_for_is_still_refused(server, coding):
    with pytest.raises(HttpActionError) as caught:
        post(server, BODY, ("Content-Type", JSON), ("Content-Encoding", coding))
    assert caught.value.detail.code == "unsupported_coding"


@pytest.mark.parametrize(
    "lines",
    [
        ["text/html", JSON],
        ["text/html, application/json"],
        [JSON, "*/*"],
        [JSON, "nonsense"],
        [JSON, ""],
        ["json", JSON],
        ["Application/JSON"],
        [" application/json ; charset = UTF-8 ; "],
        ["application/json;"],
        ["application/json,"],
        ['"application/json"'],
        ["'application/json; charset=utf-8'"],
        ["application/json charset=utf-8"],
        ["application/json, charset=utf-8"],
        ["application/json;charset='utf-8'"],
        ['application/json;charset="UTF8"'],
        ["application/json;charset=utf8mb4"],
        ["application/json;charset=us-ascii"],
        ["application/json;charset=utf-16"],
        ["application/json;charset=iso-8859-1"],
        ['text/html; title="a, b", application/json'],
        ["application/x-json"],
        ["text/json"],
        ["text/x-json"],
        ["application/vnd.api+json; version=1"],
        ["application/problem+JSON"],
    ],
)
def test_json_is_known_however_its_type_is_written(server, lines):
    result = post(server, BODY, *(("Content-Type", line) for line in lines))
    assert result.output == VALUE
    assert result.http_trace[0].response.body == VALUE


@pytest.mark.parametrize("body", [b" ", b"\r\n", b"\t\n  ", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b" " * 5_000])
def test_white_space_is_no_json_and_no_failure(server, body):
    assert post(server, body, ("Content-Type", JSON)).output is None


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b"\xef\xbb\xbf" + BODY, JSON, VALUE),
        (b"\xef\xbb\xbf" + BODY, "application/json; charset=latin-1", VALUE),
        (b'["caf\xe9"]', "application/json; charset=ISO-8859-1", ["café"]),
        ('["é"]'.encode("utf-16-le"), "application/json", ["é"]),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "text/plain", {"text": "café"}),
        ("é".encode("utf-16"), "text/plain; charset='utf-16'", {"text": "é"}),
        (b"\xef\xbb\xbfplain", "", {"text": "plain"}),
    ],
)
def test_charsets_and_byte_order_marks(server, body, content_type, value):
    headers = [("Content-Type", content_type)] if content_type else []
    assert post(server, body, *headers).output == value


@pytest.mark.parametrize(
    ("lines", "pause_ms"),
    [
        (["1.5"], 2_000),
        (["2.0"], 2_000),
        (["0.001"], 1_000),
        (["0.0"], 0),
        (["2."], 2_000),
        ([" 7 "], 7_000),
        (["007"], 7_000),
        (['"7"'], 7_000),
        (["+7"], 7_000),
        (["7s"], 7_000),
        (["7 seconds"], 7_000),
        (["2, 5"], 5_000),
        (["5", "2"], 5_000),
        (["7,"], 7_000),
        (["Thu, 01 Jan 2026 00:00:07 GMT"], 7_000),
        (["Thu, 01 Jan 2026 00:00:07 GMT", "2"], 7_000),
        (["2026-01-01T00:00:06.2Z"], 7_000),
        (["soon"], None),
        (["-1"], None),
        (["1e3"], None),
        (["nan"], None),
        ([""], None),
    ],
)
def test_pauses_however_they_are_written(server, lines, pause_ms):
    headers = [("Retry-After", line) for line in lines]
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    with pytest.raises(HttpActionError) as caught:
        post(server, b"", *headers, status=429)
    if not any("2026" in line for line in lines):
        assert caught.value.detail.retry_after == pause_ms
    assert parse_retry_after(lines, date, None) == pause_ms


# --- Bodies


@pytest.mark.parametrize(
    "content_type",
    [
        f"{kind}/{prefix}{name}"
        for kind in ("application", "text")
        for prefix in ("", "x-")
        for name in ("ndjson", "jsonl")
    ]
    + [
        "application/jsonlines",
        "application/json-seq",
        "application/stream+json",
        "application/x-ndjson; charset=utf-8",
    ],
)
def test_a_value_in_each_line_is_a_list(server, content_type):
    assert post(server, LINES, ("Content-Type", content_type)).output == VALUES
    assert post(server, b"", ("Content-Type", content_type)).output == []


def test_a_json_text_sequence_is_a_list(server):
    body = b'\x1e{\n"n": 1}\n\x1e{"n": 2}\n\x1e[3]'
    assert post(server, body, ("Content-Type", "application/json-seq")).output == VALUES


def test_a_line_that_is_no_json_is_named(server):
    with pytest.raises(HttpActionError) as caught:
        post(server, b'{"n": 1}\n{oops}\n', ("Content-Type", "application/x-ndjson"))
    assert (caught.value.detail.category, caught.value.detail.code) == ("api_response_malformed", "bad_json")
    assert "line 2, column 2" in caught.value.detail.message


@pytest.mark.parametrize("content_type", TEXT_TYPES)
def test_text_is_text(server, content_type):
    assert post(server, b"a,b\n1,2\n", ("Content-Type", content_type)).output == {"text": "a,b\n1,2\n"}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/octet-stream", "image/png", "text/csv", JSON, None]
)
def test_the_definition_says_how_a_body_is_read(server, content_type):
    headers = [("Content-Type", content_type)] if content_type else []
    result = post(server, BODY, *headers, declared="json")
    assert result.output == result.http_trace[0].response.body == VALUE
    assert post(server, LINES, *headers, declared="ndjson").output == VALUES
    assert post(server, BODY, *headers, declared="text").output == {"text": BODY.decode()}
    stored = post(server, BODY, *headers, declared="bytes")
    assert stored.output["stored"] is True
    assert read_stored(stored.output_location) == BODY


def test_what_is_declared_keeps_the_servers_charset(server):
    assert post(server, b'["\xe9"]', ("Content-Type", "text/plain; charset=latin-1"), declared="json").output == ["é"]
    assert post(server, b"\xe9", ("Content-Type", "a/b; charset=latin-1"), declared="text").output == {"text": "é"}


def test_an_error_is_read_as_the_server_says(server):
    with pytest.raises(HttpActionError) as caught:
        post(server, b"no such thing", ("Content-Type", "text/plain"), declared="json", status=404)
    assert caught.value.detail.context["response"] == "no such thing"


@pytest.mark.parametrize(
    ("body", "content_type", "declared", "content"),
    [
        (LINES * 100, "application/x-ndjson", None, VALUES * 100),
        (LINES * 100, "application/octet-stream", "ndjson", VALUES * 100),
        (b"[" + b"1," * 1_000 + b"1]", "application/octet-stream", "json", [1] * 1_001),
        (b"a,b\n" * 1_000, "application/csv", None, "a,b\n" * 1_000),
        (b"a,b\n" * 1_000, "application/octet-stream", "text", "a,b\n" * 1_000),
    ],
)
def test_what_is_stored_is_read_as_the_same(server, body, content_type, declared, content):
    """By the type that is stored beside it, which is the declared one."""
    result = post(server, body, ("Content-Type", content_type), declared=declared)
    assert result.output["stored"] is True
    scope = {"a": {"status": "completed", "result": result.to_json_data()}}
    read = resolve_value("${a.output.content}", with_stored_values(scope))
    assert read == content


def test_lines_are_without_known_secrets(server, monkeypatch):
    """In the output, in the trace, and where they are stored."""
    monkeypatch.setenv("KEY", "s3cret-key")
    url = f"http://127.0.0.1:{server.server_port}/"
    authentication = {"type": "bearer", "token": "${env.KEY}"}
    definition = {"id": "get", "endpoint": {"url": url}, "authentication": authentication}
    for count in (1, 1_000):
        server.answer = (
            200,
            [("Content-Type", "application/jsonl")],
            b'{"echo": "s3cret-key", "token": "t0ken"}\n' * count,
        )
        result = execute_http_action(ActionDefinition.model_validate(definition), {})
        told = result.model_dump_json() + (read_stored(result.output_location).decode() if count > 1 else "")
        assert "s3cret-key" not in told
        assert "t0ken" not in json.dumps([entry.to_json_data() for entry in result.http_trace])
    assert told.count('{"echo": "[redacted]", "token": "t0ken"}\n') == 1_000


@pytest.mark.parametrize("rules", [{"format": "xml"}, {"formt": "json"}, {"schema": "warn"}])
def test_an_unknown_way_to_read_is_an_error(rules):
    with pytest.raises(ValidationError) as caught:
        ActionDefinition.model_validate({"id": "a", "endpoint": {"url": "http://h/"}, "response": rules})
    [problem] = describe_validation_error(caught.value)
    assert problem.path[0] == "response"
