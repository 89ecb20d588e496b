"""What a call from Python raises where something is wrong with Redis: one error of ours, of a few lines."""

import json
import os
import subprocess
import sys

import pytest
from helpers.plans import plan
from helpers.servers import client_of

from workflow_state.engine.local import local_redis

# Each call's traceback, as a terminal shows it.
CALLS = """
import json, sys, traceback
from workflow_state import *
handle = execute_plan.AsyncResult("x")
calls = {
    "delay": lambda: execute_plan.delay(json.loads(sys.argv[1])),
    "get_execution_state": lambda: get_execution_state("x"),
    "list_executions": lambda: list_executions(),
    "confirm_action": lambda: confirm_action("x", "a", True),
    "cancel_execution": lambda: cancel_execution("x"),
    "resume_execution": lambda: resume_execution("x"),
    "read_output": lambda: read_output("x", "a"),
    "ready": handle.ready,
    "forget": handle.forget,
}
told = {}
for name, call in calls.items():
    try:
        call()
    except Exception as error:
        told[name] = [type(error).__name__, str(error), traceback.format_exc().splitlines()]
print(json.dumps(told))
"""


def told_of(url):
    """Return what each call raised: its name, its message, and the lines of its traceback."""
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": url}
    program = [sys.executable, "-c", CALLS, json.dumps(plan(a=[]))]
    return json.loads(subprocess.run(program, env=environment, capture_output=True, check=True, timeout=60).stdout)


@pytest.fixture(scope="module")
def server():
    with local_redis() as url, client_of(url) as client:
        yield url, client


def assert_short(told, message):
    """Require one of ours with this message, and no traceback of the libraries below."""
    for name, (kind, said, lines) in told.items():
        assert (name, kind) == (name, "BrokerUnavailableError")
        assert said.startswith(message), name
        assert len(lines) < 30, (name, lines)
        assert not any("site-packages/redis" in line for line in lines), name
        assert not any("another exception" in line for line in lines), name


def test_no_server():
    told = told_of("redis://127.0.0.1:1/0")
    assert len(told) == 9
    assert_short(told, "Redis can't be reached: ")


def test_a_wrong_password(server):
    url, client = server
    client.config_set("requirepass", "x")
    try:
        told = told_of(url)
    finally:
        client.config_set("requirepass", "")
    assert len(told) == 9
    assert_short(told, "Redis refuses the login: ")


def test_a_replica(server):
    """It answers who reads."""
    url, client = server
    client.replicaof("127.0.0.1", "1")
    try:
        told = told_of(url)
    finally:
        client.replicaof("NO", "ONE")
    assert_short({name: told[name] for name in ("delay", "forget")}, "Redis is a read-only replica: ")


def test_no_memory(server):
    """It answers who reads, and deletes."""
    url, client = server
    client.config_set("maxmemory", 1)
    try:
        told = told_of(url)
    finally:
        client.config_set("maxmemory", 0)
    assert_short({"delay": told["delay"]}, "Redis has no memory left: ")
