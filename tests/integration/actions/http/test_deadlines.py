"""A request is given up at its deadline, wherever it hangs."""

import socket
from typing import Any

import pytest
from helpers.http_calls import call, outcome
from helpers.waiting import in_time

SLACK_S = 0.5


def in_time_at(deadline_s: float, *arguments: Any, **fields: Any) -> tuple[str, bool]:
    return in_time(deadline_s + SLACK_S, lambda: outcome(*arguments, timeout=round(deadline_s * 1000), **fields))


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
