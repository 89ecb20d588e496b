"""The task that publishes a level, or ends an execution: at work elsewhere, or lost again and again."""

import json
import time
from uuid import uuid4

import pytest
from helpers.other_process import ask_in_another_process
from helpers.plans import action, plan
from helpers.servers import client_of
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

# An execution without a sign of life is looked after five seconds later.
VARIABLES = {"WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3"}
SILENCE_S = 5
SUBMIT_AS = "print(json.dumps(execute_plan.apply_async((json.loads(sys.argv[1]),), task_id=sys.argv[2]).id))"
END = "print(json.dumps(app.AsyncResult(sys.argv[1]).get(timeout=30)))"
RESUME = "print(json.dumps(resume_execution(sys.argv[1]).get(timeout=30)))"


@pytest.fixture
def redis(redis_url):
    """Run a Redis of a test's own."""
    with local_redis() as url:
        yield url


def hold_level(client, execution_id, **fields):
    """Have a process that is not there hold the claim of level 0."""
    claim = {"level": 0, "status": "running", "process": "another:1", "holder": "h", "at": time.time(), **fields}
    client.hset(f"workflow_state:progress:{execution_id}", ":level", json.dumps(claim))


def test_a_level_that_is_at_work_is_neither_begun_nor_published_again(redis, tmp_path, service):
    """Not by its second message, and not by the sweep, however long it takes; it goes on when its worker is gone."""
    name = uuid4().hex
    execution_id = f"held-{name}"
    lease = {"at": time.time() + 60, "holders": "h"}
    log = tmp_path / "worker.log"
    with client_of(redis) as client:
        client.set("workflow_state:worker:another:1", json.dumps(lease), ex=60)
        hold_level(client, execution_id)
        with forked_worker(redis, log_file=log, environment=VARIABLES):
            document = json.dumps(plan(action("a", inputs={"name": name})))
            ask_in_another_process(redis, SUBMIT_AS, document, execution_id, **VARIABLES)
            claim = f"workflow_state:progress:{execution_id}"
            wait_until(lambda: b'"again"' in client.hget(claim, ":level"), "its message was turned away")
            time.sleep(2 * SILENCE_S)  # nothing is to happen in it
            assert service.requests_to(f"/echo/{name}") == []
            assert "shows no sign of life" not in log.read_text()
            client.delete("workflow_state:worker:another:1")
            assert ask_in_another_process(redis, END, execution_id, **VARIABLES)["status"] == "completed"
    assert len(service.requests_to(f"/echo/{name}")) == 1


def test_a_level_that_costs_five_workers_ends_the_execution(redis, tmp_path, service):
    """The state says what happened; what had begun is told apart from what had not, and a resumed one runs."""
    name = uuid4().hex
    execution_id = f"lost-{name}"
    pay = action("pay", actionDefinitionId="post", inputs={"name": name})
    read = action("read", inputs={"name": name})
    with client_of(redis) as client:
        document = json.dumps(plan(pay, read, after=["read"]))
        ask_in_another_process(redis, SUBMIT_AS, document, execution_id, **VARIABLES)
        hold_level(client, execution_id, losses=4)
        sent = {"attempt": 1, "status": "running", "process": "another:1", "holder": "i", "at": 1.0, "sent": True}
        sent["startedAt"] = "2026-01-01T00:00:00+00:00"
        client.hset(f"workflow_state:progress:{execution_id}", "pay", json.dumps(sent))
        with forked_worker(redis, log_file=tmp_path / "worker.log", environment=VARIABLES):
            state = ask_in_another_process(redis, END, execution_id, **VARIABLES)
            assert (state["status"], state["error"]["code"]) == ("failed", "workers_lost")
            assert "5 workers were lost" in state["error"]["message"]
            actions = state["actionStates"]
            assert [actions[key]["status"] for key in ("pay", "read", "after")] == ["failed", "skipped", "skipped"]
            assert actions["pay"]["result"]["error"]["code"] == "outcome_unknown"
            assert service.requests_to(f"/echo/{name}") == []
            with pytest.raises(AssertionError, match="OutcomeUnknownError"):
                ask_in_another_process(redis, RESUME, execution_id, **VARIABLES)


def test_a_level_that_fails_each_time_ends_the_execution(redis, tmp_path, service):
    """Here a result can't be read, so that not even the final state can be composed: it says so, and has no actions."""
    name = uuid4().hex
    execution_id = f"broken-{name}"
    held = action("held", actionDefinitionId="hold", inputs={"name": name})
    with (
        client_of(redis) as client,
        forked_worker(redis, log_file=tmp_path / "worker.log", environment=VARIABLES),
    ):
        document = json.dumps(plan(held, action("b", inputs={"name": f"{name}-b"}), after=["held", "b"]))
        ask_in_another_process(redis, SUBMIT_AS, document, execution_id, **VARIABLES)
        wait_until(lambda: service.requests_to(f"/hold/{name}"), "the request has arrived")
        result = f"celery-task-meta-{execution_id}~b"
        wait_until(lambda: client.exists(result), "the other one has ended")
        client.set(result, "no JSON", ex=60)
        hold_level(client, execution_id, level=1, status="released", losses=4)
        service.released.add(name)
        state = ask_in_another_process(redis, END, execution_id, **VARIABLES)
    assert (state["status"], state["error"]["code"], state["actionStates"]) == ("failed", "state_not_stored", {})
    assert "6 workers were lost, or failed" in state["error"]["message"]
