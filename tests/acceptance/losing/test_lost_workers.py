"""A worker is killed by -9 in the middle of a request: what is sent again, and what is not."""

import json
import os
import signal
from pathlib import Path
from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

# A dead worker's messages come back after this long.
VISIBILITY_S = "3"


@pytest.fixture
def lose_a_worker(redis_url, tmp_path, service: Service):
    """Submit a plan, kill the worker once a request has arrived, start another, and return the final state."""

    def lose(document, path):
        variables = {"WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": VISIBILITY_S}
        with local_redis() as url:
            with forked_worker(url, log_file=tmp_path / "one.log", environment=variables) as worker:
                execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document))
                wait_until(lambda: service.requests_to(path), "the request has arrived")
                worker.send_signal(signal.SIGKILL)
                worker.wait()
            with forked_worker(url, log_file=tmp_path / "two.log", environment=variables):

                def ended():
                    state = ask_in_another_process(url, STATE, execution_id)
                    return state if state["status"] in {"completed", "failed"} else None

                return wait_until(ended, "the execution ends", timeout_s=40)

    return lose


def test_an_unsafe_request_is_not_sent_a_second_time(lose_a_worker, service: Service):
    """Its outcome is unknown, and the state says so; neither fallback nor alternative hides it, and the plan stops."""
    name = uuid4().hex
    inputs = {"name": name, "query.delay_ms": 5_000}
    handling = {"fallbackValue": "paid", "alternativeActionId": "pay_otherwise"}
    pay = action("pay", actionDefinitionId="post", inputs=inputs, errorHandling=handling)
    state = lose_a_worker(plan(pay, pay_otherwise=[], after=["pay"]), f"/echo/{name}")
    error = state["actionStates"]["pay"]["result"]["error"]
    assert (state["status"], error["category"], error["code"]) == ("failed", "state_inconsistent", "outcome_unknown")
    assert "unknown" in error["message"]
    assert state["actionStates"]["pay_otherwise"]["status"] == "skipped"
    assert state["actionStates"]["after"]["status"] == "skipped"
    assert len(service.requests_to(f"/echo/{name}")) == 1


def test_a_killed_child_of_a_prefork_pool_loses_nothing(redis_url, tmp_path, service: Service):
    """Its message comes back at once, its claim is free, and the plan completes on the same worker."""
    name = uuid4().hex
    document = plan(action("read", inputs={"name": name, "query.delay_ms": 1_500}), after=["read"])
    with (
        local_redis() as url,
        forked_worker(
            url, log_file=tmp_path / "worker.log", extra_arguments=("--pool", "processes", "--concurrency", "2")
        ) as worker,
    ):
        execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document))
        wait_until(lambda: service.requests_to(f"/echo/{name}"), "the request has arrived")
        for child in children_of(worker.pid):
            os.kill(child, signal.SIGKILL)

        def completed():
            return ask_in_another_process(url, STATE, execution_id)["status"] == "completed"

        wait_until(completed, "the execution completes")
    assert len(service.requests_to(f"/echo/{name}")) == 2


def children_of(process):
    """Return the process ids of a process's children, whichever of its threads made them."""
    found = [
        int(child) for path in Path(f"/proc/{process}/task").glob("*/children") for child in path.read_text().split()
    ]
    assert found
    return found


def test_a_safe_request_is_sent_again(lose_a_worker, service: Service):
    """By another worker, and the plan completes."""
    name = uuid4().hex
    inputs = {"name": name, "query.delay_ms": 1_000}
    state = lose_a_worker(plan(action("read", inputs=inputs), after=["read"]), f"/echo/{name}")
    assert state["status"] == "completed"
    assert len(service.requests_to(f"/echo/{name}")) == 2
