"""What becomes of the bodies of answers, and which of them cannot be used."""

import gzip
import json
import socket

import pytest
from helpers.http_calls import call, failure
from helpers.waiting import in_time

from workflow_state.schema import HttpActionResult


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


def test_gzip_is_undone_once(server):
    server.respond("200 OK", gzip.compress(b'{"a":1}'), content_type="application/json", content_encoding="gzip")
    assert call(server).output == {"a": 1}
    two_members = gzip.compress(b"[1,") + gzip.compress(b"2]")
    server.respond("200 OK", two_members, content_type="application/json", content_encoding="gzip")
    assert call(server).output == [1, 2]


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 70_000])
def test_zeros_behind_gzip_are_padding(server, padding):
    """Tapes and some proxies fill up with them, and gzip leaves them out: the POST has been answered."""
    server.respond("200 OK", compressed(b"[1]") + padding, content_type="application/json", content_encoding="gzip")
    assert call(server).output == [1]
    two_members = compressed(b"[1,") + padding + compressed(b"2]")
    server.respond("200 OK", two_members, content_type="application/json", content_encoding="gzip")
    assert call(server).output == [1, 2]


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
