"""No worker runs: whoever submits or looks is told so at once, with the command to start one."""

import os
import subprocess
import time

import pytest
from helpers.command import CLI
from helpers.forked_python import run_python, start_python
from helpers.plans import plan
from helpers.waiting import wait_until

from workflow_state.celery import app
from workflow_state.engine.local import local_redis

TOLD = "no worker answers; start one: celery -A workflow_state worker"
GET = """
import sys
from celery.exceptions import TimeoutError
from workflow_state import execute_plan
try:
    execute_plan.AsyncResult(sys.argv[1]).get(timeout=0.1)
except TimeoutError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def lonely_redis():
    """Run a Redis that no worker is on."""
    with local_redis() as url:
        yield url


@pytest.fixture
def execution_id(cli, lonely_redis, plan_file):
    """Submit a plan that nobody takes."""
    done = cli("submit", plan_file(plan(a=[])), redis_url=lonely_redis)
    assert done.stderr == f"{TOLD}\n"
    return done.stdout.strip()


def test_submit_and_status_say_so(cli, lonely_redis, execution_id):
    done = cli("status", execution_id, redis_url=lonely_redis)
    assert (done.returncode, done.stderr) == (0, f"{TOLD}\n")


@pytest.mark.parametrize("command", ["run", "status"])
def test_who_waits_is_told_within_two_seconds(definitions, lonely_redis, execution_id, plan_file, command):
    arguments = ["status", execution_id, "--watch"] if command == "status" else ["run", plan_file(plan(a=[]))]
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": lonely_redis, "WORKFLOW_STATE_ACTIONS": str(definitions)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    begun_s = time.monotonic()
    with start_python([*CLI, *arguments], **options) as process:
        try:
            assert process.stderr.readline() == f"{TOLD}\n"
            # Half a second until it asks, one and a half for the answer; and what a busy machine adds.
            assert time.monotonic() - begun_s < 6
        finally:
            process.kill()


def test_a_result_that_does_not_come_says_where_the_execution_stands(lonely_redis, execution_id, tmp_path):
    (tmp_path / "getting.py").write_text(GET)
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": lonely_redis}
    done = run_python(["-m", "getting", execution_id], cwd=tmp_path, env=environment, text=True, check=True)
    stands = f"execution {execution_id} is initializing: no worker has begun it"
    assert done.stdout == f"not within 0.1 s: {stands}, and {TOLD}\n"


def test_where_one_runs_nothing_is_said(cli, redis_url, worker, plan_file):
    wait_until(lambda: app.control.ping(timeout=1), "the worker answers")
    done = cli("submit", plan_file(plan(a=[])), redis_url=redis_url)
    assert (done.returncode, done.stderr) == (0, "")
