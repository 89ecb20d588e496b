"""Answers that cost much of the processor are read one after the other: other threads keep their share of it."""

import json
import threading
import time
from contextlib import suppress

import pytest
from helpers.http_calls import call, outcome

from workflow_state.actions.http.output import make_output
from workflow_state.actions.http.response import parse_value
from workflow_state.actions.http.scrubbing import make_scrubber
from workflow_state.actions.network import turns
from workflow_state.errors import HttpActionError
from workflow_state.schema import StorageLocation

FLOODS = 4
TIMEOUT_MS = 1_500
BEGINNINGS = {
    "one byte in each piece": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\na\r\n" * 100_000,
    ),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 10_000),
}


def flood(server, kind):
    """Have the server answer with so many small parts that nobody is done with them in time."""
    head, part = BEGINNINGS[kind]

    def answer(connection):
        connection.sendall(head)
        while not server.stopped.is_set():
            connection.sendall(part)

    server.answer = answer


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_answers_in_many_parts_leave_other_threads_their_share(server, monkeypatch, kind):
    """Four of these answers left a thread that computes a fifth of the time of the processor."""
    monkeypatch.setattr(turns, "FREE_CPU_S", 0.05)
    monkeypatch.setenv("WORKFLOW_STATE_MAX_RESPONSE_BYTES", str(10 * 2**20))
    flood(server, kind)
    # What is unfair by itself is so each time; what another program on the machine made so is not.
    assert any(share_beside_floods(server) > 0.45 for _ in range(3))


def share_beside_floods(server):
    """Return how much of the processor a thread that computes had, for each second that the answers had."""
    used_s = []

    def ask():
        began_s = time.thread_time()
        with suppress(HttpActionError):
            call(server, timeout=TIMEOUT_MS)
        used_s.append(time.thread_time() - began_s)

    asking = [threading.Thread(target=ask) for _ in range(FLOODS)]
    for thread in asking:
        thread.start()
    began_s = time.thread_time()
    while any(thread.is_alive() for thread in asking):
        sum(range(1_000))
    own_s = time.thread_time() - began_s
    for thread in asking:
        thread.join()
    assert len(used_s) == FLOODS
    return own_s / sum(used_s)


def test_waiting_for_a_turn_ends_with_the_exchange(server, monkeypatch):
    """The time of an action is over when it is over, also where another answer has the turn."""
    monkeypatch.setattr(turns, "FREE_CPU_S", 0.0)
    server.respond_json({})
    other = turns.Turn()
    assert other.take(1)
    try:
        began_s = time.monotonic()
        assert outcome(server, timeout=300) == ("network_timeout", True)
        assert time.monotonic() - began_s >= 0.25
    finally:
        other.end()
    assert call(server).output == {}


def test_large_bodies_are_parsed_one_after_the_other():
    """Eight large lists that were parsed at once took 350 MB, and kept other plans waiting for five seconds."""
    large = json.dumps(["x" * turns.LARGE_BYTES]).encode()
    parsed = threading.Event()

    def parse():
        parse_value(large, "application/json")
        parsed.set()

    thread = threading.Thread(target=parse)
    with turns.parsing_turn(turns.LARGE_BYTES):
        thread.start()
        assert parse_value(b"[1]", "application/json") == ([1],)
        assert not parsed.wait(0.2)
    thread.join(10)
    assert parsed.is_set()


def test_a_large_output_is_checked_within_its_turn_and_stored_behind_it():
    """The values of one large body at a time are in memory, and no body waits for the storage of another."""
    seen = []

    def take(taken):
        with turns.parsing_turn(turns.LARGE_BYTES):
            taken.set()

    def is_free():
        taken = threading.Event()
        threading.Thread(target=take, args=(taken,)).start()
        return taken.wait(0.2)

    def store(data, content_type):
        seen.append(("stored", is_free()))
        return StorageLocation(provider="file", path="p", size=len(data), checksum="c", content_type=content_type)

    body = json.dumps(["x" * turns.LARGE_BYTES]).encode()
    make_output(body, "application/json", make_scrubber([]), store, lambda _: seen.append(("checked", is_free())))
    assert seen == [("checked", False), ("stored", True)]
