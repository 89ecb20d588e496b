"""Connections that do not come about, break, or speak another language: TLS included."""

import shutil
import socket
import ssl
import subprocess

import pytest
from helpers.http_calls import call, failure, outcome
from helpers.raw_http_server import reset


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


def test_https_to_a_port_for_http_says_so(server):
    """In words, and not in those of OpenSSL; whatever the server answers to what it can't read."""
    server.read_first = False
    url = server.url.replace("http:", "https:")
    for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"<html>400</html>", b"220 mail.test ESMTP\r\n"):
        server.respond_raw(answer)
        detail = failure(server, endpoint={"url": url}).detail
        assert detail.code == "no_tls"
        assert detail.message == "the server does not speak TLS at this port, and the URL begins with https://"
        assert detail.suggestion is not None
        assert "write http://" in detail.suggestion


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
