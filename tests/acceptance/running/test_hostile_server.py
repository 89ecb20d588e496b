"""One plan against a server that misbehaves in forty-odd ways: each action ends in time, and the worker lives on."""

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from helpers.other_process import SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis, local_worker

TIMEOUT_MS = 1_500
SLACK_MS = 500
MAX_GROWTH_KIB = 64 * 1024
ENDED = """
import time
while (state := get_execution_state(sys.argv[1])).completed_at is None:
    time.sleep(0.1)
print(json.dumps(state.to_json_data()))
"""


def answer(body=b"", status="200 OK", kind="application/json", length=None, **headers):
    """Return a whole response.

    It says that the connection ends: otherwise another action could take it for its own request, in the moment before
    the server has closed it, and would be reset.
    """
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def packed(body, times):
    """Return the body compressed that often."""
    for _ in range(times):
        body = gzip.compress(body)
    return body


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

# What the server sends, and closes after; and how the action ends: completed, or the failure's category.
SAID = {
    "plain": (answer(b'{"a": 1}'), "completed"),
    "nothing": (b"", "network_connection_refused"),
    "half_header": (b"HTTP/1.1 200 OK\r\nContent-Ty", "network_connection_refused"),
    "truncated": (answer(b'{"a": ', length=100), "network_connection_refused"),
    "truncated_chunk": (CHUNKED + b'64\r\n{"a": ', "network_connection_refused"),
    "bogus_chunk": (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", "api_response_malformed"),
    "too_short_a_length": (answer(b'{"a": 1}', length=3), "api_response_malformed"),
    "negative_length": (answer(b"{}", length=-1), "api_response_malformed"),
    "two_lengths": (answer(b"{}", Content_Length="7"), "api_response_malformed"),
    "gzip": (answer(packed(b'{"a": 1}', 1), Content_Encoding="gzip"), "completed"),
    "gzip_thrice": (answer(packed(b"{}", 3), Content_Encoding="gzip, gzip, gzip"), "api_response_malformed"),
    "gzip_cut": (answer(packed(b'{"a": 1}', 1)[:-9], Content_Encoding="gzip"), "api_response_malformed"),
    "gzip_that_is_none": (answer(b'{"a": 1}', Content_Encoding="gzip"), "api_response_malformed"),
    "unknown_coding": (answer(b"{}", Content_Encoding="sdch"), "api_response_malformed"),
    "not_json": (answer(b"<html>"), "api_response_malformed"),
    "empty_json": (answer(b""), "completed"),
    "not_a_number": (answer(b'{"a": NaN}'), "api_response_malformed"),
    "infinite": (answer(b'{"a": 1e999}'), "api_response_malformed"),
    "long_number": (answer(b'{"a": ' + b"9" * 5_000 + b"}"), "api_response_malformed"),
    "deep": (answer(b"[" * 300 + b"]" * 300), "api_response_malformed"),
    "very_deep": (answer(b"[" * 100_000), "api_response_malformed"),
    # Replaced by U+FFFD: the state can hold it.
    "lone_surrogate": (answer(b'{"a": "\\ud800"}'), "completed"),
    "bad_utf8": (answer(b'{"a": "\xff\xfe"}'), "api_response_malformed"),
    "bad_charset": (answer(b'{"a": 1}', kind="application/json; charset=no-such"), "completed"),
    "bad_charset_text": (answer(b"text", kind="text/plain; charset=no-such"), "completed"),
    "redirect": (answer(status="302 Found", Location="/redirect"), "api_unexpected_status"),
    "redirect_to_metadata": (
        answer(status="307 Temporary", Location="http://169.254.169.254/"),
        "api_unexpected_status",
    ),
    "absurd_retry_after": (answer(status="503 No", Retry_After="9" * 40), "api_unexpected_status"),
    "broken_retry_after": (answer(status="429 No", Retry_After="soon"), "rate_limit_burst"),
    "status_999": (answer(b"{}", status="999 What"), "api_unexpected_status"),
    "status_1": (answer(b"{}", status="1 What"), "api_response_malformed"),
    "not_http": (b"220 smtp.example ESMTP\r\n\r\n", "api_response_malformed"),
    "http_2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "api_response_malformed"),
    "long_header": (answer(b"{}", X_Long="x" * 200_000), "api_response_malformed"),
    "header_with_nul": (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\n{}", "api_response_malformed"),
    "large_error": (answer(bytes(100_000), status="500 No", kind="text/plain"), "api_unexpected_status"),
}


def bombs() -> dict[str, tuple[bytes, str]]:
    """Return more of the same, which would take every process of the tests a second and 200 MB to import."""
    once = packed(bytes(200 * 2**20), 1)
    return {
        "gzip_bomb": (answer(once, Content_Encoding="gzip"), "api_response_malformed"),
        "gzip_bomb_twice": (answer(packed(once, 1), Content_Encoding="gzip, gzip"), "api_response_malformed"),
    }


def drip(connection: socket.socket, data: bytes) -> Iterator[bytes]:
    """Yield one byte after the other, slowly."""
    for byte in data:
        connection.settimeout(0.2)
        with suppress(TimeoutError):
            if connection.recv(1) == b"":
                return
        yield bytes([byte])


def endless(head: bytes, block: bytes) -> Iterator[bytes]:
    """Yield a response that does not end."""
    yield head
    while True:
        yield block


BLOCK = bytes(64 * 1024)
# The same for what goes on for longer than the action may take, or is more than it may be.
DONE: dict[str, tuple[Callable[[socket.socket], Iterator[bytes]], str]] = {
    "silence": (lambda connection: (part for part in [connection.recv(1)] if False), "network_timeout"),
    "slow_header": (lambda connection: drip(connection, answer(b"{}")), "network_timeout"),
    "slow_body": (
        lambda connection: (part for part in [answer(length=99), *drip(connection, b"x" * 99)]),
        "network_timeout",
    ),
    "gigabyte": (lambda _: endless(answer(length=2**30), BLOCK), "api_response_malformed"),
    "endless_chunks": (lambda _: endless(CHUNKED, b"10000\r\n" + BLOCK + b"\r\n"), "api_response_malformed"),
    "endless_error": (lambda _: endless(answer(status="500 No", length=2**30), BLOCK), "api_unexpected_status"),
    "endless_informational": (lambda _: endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100), "network_timeout"),
    "endless_header": (
        lambda _: endless(b"HTTP/1.1 200 OK\r\n", b"X-Header: value\r\n" * 100),
        "api_response_malformed",
    ),
}


@contextmanager
def hostile_server(said: dict[str, tuple[bytes, str]]) -> Iterator[str]:
    """Serve until the block ends; the path's last part says what."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    threads = []

    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            name = connection.recv(65536).split(b" ")[1].rpartition(b"/")[2].decode()
            if name == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                return
            parts = [said[name][0]] if name in said else DONE[name][0](connection)
            for part in parts:
                connection.settimeout(10)
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            # Until the client has read it: closed at once, unread requests would turn it into a reset.
            connection.settimeout(5)
            connection.recv(1)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=converse, args=(connection,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [accepting, *threads]:
            thread.join()


def memory_kib(process):
    """Return the resident memory of a process, and the most that it ever was."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), int(status["VmHWM"].split()[0])


def end_of(state):
    """Return how an action ended: completed, or the failure's category."""
    return "completed" if state["status"] == "completed" else state["result"]["error"]["category"]


def find_late(states, expected):
    """Return the actions that took longer than they may, or were cut off before their answer was there."""
    late = []
    for kind, state in states.items():
        is_cut_off = end_of(state) == "network_timeout" != expected[kind]
        if is_cut_off or state["duration"] > TIMEOUT_MS + SLACK_MS:
            late.append(kind)
    return late


@pytest.mark.usefixtures("redis_url")
def test_a_server_that_misbehaves_in_every_way(tmp_path):
    """The right category for each, within its deadline, with the worker's memory hardly grown."""
    said = SAID | bombs()
    expected = {name: category for name, (_, category) in (said | DONE).items()}
    expected["reset"] = "network_connection_refused"
    assert len(expected) >= 40
    with hostile_server(said) as server, local_redis() as url:
        definition = {
            "id": "hostile",
            "endpoint": {"url": f"{server}/{{kind}}", "method": "GET", "timeout": TIMEOUT_MS},
            "retryPolicy": {"maxAttempts": 1, "initialDelayMs": 0, "maxDelayMs": 0, "backoffMultiplier": 1},
        }
        (tmp_path / "actions.json").write_text(json.dumps(definition))
        variables = {"WORKFLOW_STATE_ACTIONS": str(tmp_path / "actions.json")}
        with forked_worker(url, log_file=tmp_path / "worker.log", environment=variables) as worker:

            def run(kinds):
                handling = {"continueOnFailure": True}
                fields = {"actionDefinitionId": "hostile", "errorHandling": handling}
                document = plan(*(action(kind, inputs={"kind": kind}, **fields) for kind in kinds))
                execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document), **variables)
                return ask_in_another_process(url, ENDED, execution_id, **variables)["actionStates"]

            run(["plain", "gzip"])
            before_kib, _ = memory_kib(worker.pid)
            states = run(expected)
            _, most_kib = memory_kib(worker.pid)
            # What is late by itself is late each time; what was late because the machine was busy is not.
            for _ in range(2):
                if late := find_late(states, expected):
                    states |= run(late)
            assert worker.poll() is None
            assert run(["plain"])["plain"]["status"] == "completed"
    assert {kind: end_of(state) for kind, state in states.items()} == expected
    assert find_late(states, expected) == []
    assert most_kib - before_kib < MAX_GROWTH_KIB, (before_kib, most_kib)


def large_answers():
    """Return answers of megabytes that are within all bounds, and take as much memory as such can."""
    texts = {
        "keys": "{" + ",".join(f'"{number:x}":0' for number in range(900_000)) + "}",
        "texts": "[" + ",".join(['"ab"'] * 990_000) + "]",
        "astral": '"' + "\U0001f600" * 2_400_000 + '"',
        "one_astral": '"' + "a" * 9_900_000 + '\U0001f600"',
    }
    return {kind: answer(packed(text.encode(), 1), Content_Encoding="gzip") for kind, text in texts.items()}


@pytest.mark.usefixtures("redis_url")
def test_large_answers_one_after_the_other_leave_the_worker_its_memory(tmp_path):
    """Four at once of each kind."""
    answers = large_answers()
    with hostile_server({kind: (data, "completed") for kind, data in answers.items()}) as server, local_redis() as url:
        definition = {"id": "hostile", "endpoint": {"url": f"{server}/{{kind}}", "method": "GET", "timeout": 60_000}}
        (tmp_path / "actions.json").write_text(json.dumps(definition))
        variables = {
            "WORKFLOW_STATE_ACTIONS": str(tmp_path / "actions.json"),
            "WORKFLOW_STATE_STORAGE_URL": str(tmp_path / "storage"),
        }
        with local_worker(url, log_file=tmp_path / "worker.log", environment=variables) as worker:
            for kind in answers:
                fields = {"actionDefinitionId": "hostile", "inputs": {"kind": kind}}
                document = plan(*(action(f"a{number}", **fields) for number in range(4)))
                execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document), **variables)
                ended = ask_in_another_process(url, ENDED, execution_id, **variables)
                assert ended["status"] == "completed", ended
            _, most_kib = memory_kib(worker.pid)
    assert most_kib < 350 * 1024, most_kib
