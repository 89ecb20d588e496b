"""The only waiting that tests do, how they judge that something came in time, the command, and ports for servers."""

import random
import socket
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import Redis

from workflow_state import get_execution_state
from workflow_state.schema import ConfirmationState

COMMAND = [sys.executable, "-m", "workflow_state.cli"]


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
    """Return the condition's first true value; fail with `what` did not happen after the timeout."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)
    return value


def wait_for_question(execution_id: str, action_id: str = "ask") -> ConfirmationState:
    """Return the question once it is asked, and everything else of its level is done."""

    def asked() -> list[ConfirmationState]:
        state = get_execution_state(execution_id)
        return [item for item in state.confirmations if item.action_id == action_id and item.confirmed is None]

    question: ConfirmationState = wait_until(asked, f"{action_id} asks")[0]
    return question


def free_port() -> int:
    """Return a port for a server that can't choose one itself.

    It is below those that the kernel gives to whoever asks for any: until the server has started nobody gets it so.
    """
    # Not by the seed of the test: another process may run the same one.
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def client_of(redis_url: str) -> Redis:
    """Return a client of a private Redis, whose address is a socket's."""
    return Redis(unix_socket_path=unquote(urlsplit(redis_url).path))


def in_time(at_most_s: float, call: Callable[[], Any]) -> Any:
    """Return what the call returns; fail where it takes longer, three times.

    What is late by itself is late each time. What was late because something else ran on the machine is not.
    """
    took_s = []
    for _ in range(3):
        started_s = time.monotonic()
        value = call()
        took_s.append(time.monotonic() - started_s)
        if took_s[-1] < at_most_s:
            return value
    raise AssertionError(f"it took {[round(each_s, 2) for each_s in took_s]} s, and not at most {at_most_s}")
