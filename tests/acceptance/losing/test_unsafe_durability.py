"""An unsafe request whose mark is not on the replica waits: it is not lost, not sent twice, its outcome is known."""

import json
import signal
from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.watched_redis import watched_redis
from helpers.workers import forked_worker

NOT_SENT = "not sent yet: its mark is not safe"


@pytest.fixture
def watched(tmp_path):
    """Run a primary, its replica and three sentinels that take nobody for dead."""
    with watched_redis(tmp_path, down_after_ms=60_000) as made:
        yield made


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_it_is_sent_once_when_the_replica_is_back(watched, definitions, tmp_path, service: Service, pool):
    """While the replica stands still nothing leaves; what is safe to repeat goes on."""
    name, log = uuid4().hex, tmp_path / "worker.log"
    first = action("first", inputs={"name": f"first-{name}", "query.delay_ms": 1_000})
    pay = action("pay", ["first"], actionDefinitionId="post", inputs={"name": f"pay-{name}"})
    beside = action("beside", ["first"], inputs={"name": f"beside-{name}"})
    variables = {"WORKFLOW_STATE_ACTIONS": str(definitions), "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback"}
    with forked_worker(
        watched.url, log_file=log, environment=variables, extra_arguments=("--pool", pool, "--concurrency", "2")
    ):
        document = json.dumps(plan(first, pay, beside))
        execution_id = ask_in_another_process(watched.url, SUBMIT, document, **variables)
        wait_until(lambda: service.requests_to(f"/echo/first-{name}"), "the plan has begun")
        watched.data[1].process.send_signal(signal.SIGSTOP)
        wait_until(lambda: log.read_text().count(NOT_SENT) >= 2, "it was tried again, and not sent")
        wait_until(lambda: service.requests_to(f"/echo/beside-{name}"), "the other one is sent")
        assert not service.requests_to(f"/echo/pay-{name}")
        watched.data[1].process.send_signal(signal.SIGCONT)

        def ended():
            state = ask_in_another_process(watched.url, STATE, execution_id)
            return state if state["status"] in {"completed", "failed"} else None

        state = wait_until(ended, "the execution ends")
    assert state["status"] == "completed"
    assert state["actionStates"]["pay"]["attempts"] == 1
    assert len(service.requests_to(f"/echo/pay-{name}")) == 1
