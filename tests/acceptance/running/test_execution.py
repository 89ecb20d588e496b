"""Plans on a real worker, a real Redis and a real HTTP server."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from helpers.definitions import API_TOKEN
from helpers.forked_python import start_python
from helpers.http_service import Service
from helpers.plans import action, output_of, plan, statuses
from helpers.waiting import wait_until

from workflow_state import (
    ExecutionConflictError,
    ExecutionNotFoundError,
    PlanValidationError,
    execute_plan,
    get_execution_state,
    list_executions,
)
from workflow_state.celery import app
from workflow_state.client.executions import exists, is_cancel_requested, read_plan, read_summary
from workflow_state.store.names import action_task_id

pytestmark = pytest.mark.usefixtures("worker")

TIMEOUT_S = 30


def run(document, **options):
    """Run a plan to its end and return the final state."""
    return execute_plan.apply_async((document,), **options).get(timeout=TIMEOUT_S)


def test_the_plan_of_an_execution_is_read_back():
    """Level by level, with all its fields; of an unknown execution there is none."""
    document = {**plan(action("last", ["first"]), action("first"), name="read back"), "inputs": {"n": 1}}
    execution_id = run(document)["id"]
    stored, summary = read_plan(execution_id), read_summary(execution_id)
    assert (stored.name, stored.inputs) == ("read back", {"n": 1})
    assert [item.id for item in stored.actions] == ["first", "last"]
    assert exists(execution_id)
    assert not is_cancel_requested(execution_id)
    assert (summary.name, summary.status) == ("read back", "completed")
    assert not any(map(exists, ["nobody", "\udcff"]))
    assert read_plan("nobody") is read_summary("nobody") is None


def test_levels_run_in_order_and_outputs_flow_along_references(service: Service):
    """A diamond completes; each action's request starts after its dependencies' have ended."""
    name = uuid4().hex
    document = plan(
        action("first", inputs={"name": name, "query.part": "1"}),
        action("left", ["first"], inputs={"name": "${first.output.name}", "query.part": "2"}),
        action("right", ["first"], inputs={"name": name, "query.part": "2"}),
        action(
            "last",
            ["left", "right"],
            actionDefinitionId="post",
            inputs={
                "name": name,
                "query.part": "3",
                "body.whole": "${left.output.query}",
                "body.text": "from ${right.output.method}, $${literally}",
                "body.status": "${right.status}",
            },
        ),
    )
    state = run(document)

    assert state["status"] == "completed"
    assert set(statuses(state).values()) == {"completed"}
    assert state["metrics"] == {
        "totalActions": 4,
        "completedActions": 4,
        "failedActions": 0,
        "skippedActions": 0,
        "totalDuration": state["metrics"]["totalDuration"],
    }
    assert output_of(state, "last")["body"] == {
        "whole": {"part": "2"},
        "text": "from GET, ${literally}",
        "status": "completed",
    }
    assert [entry["query"]["part"] for entry in service.requests_to(f"/echo/{name}")] == ["1", "2", "2", "3"]


def test_one_id_for_the_whole_run(service: Service):
    """The handle's id, the state's id and the id that was asked for are one."""
    execution_id = f"order:{uuid4()}"
    handle = execute_plan.apply_async((plan(a=[]),), task_id=execution_id)
    assert handle.id == execution_id
    assert handle.get(timeout=TIMEOUT_S)["id"] == execution_id
    assert get_execution_state(execution_id).status == "completed"
    assert app.AsyncResult(action_task_id(execution_id, "a")).get(timeout=TIMEOUT_S)["status"] == "completed"


def test_plan_inputs_reach_the_request():
    """`${inputs.…}` keeps the JSON type."""
    document = plan(action("a", actionDefinitionId="post", inputs={"name": "x", "body.ids": "${inputs.order.ids}"}))
    state = run({**document, "inputs": {"order": {"ids": [1, 2]}}})
    assert output_of(state, "a")["body"] == {"ids": [1, 2]}


def test_a_retryable_failure_is_tried_again(service: Service):
    """Two 503s and then an answer: completed, three attempts, three requests, three trace entries."""
    name = uuid4().hex
    state = run(plan(action("a", actionDefinitionId="flaky", inputs={"failures": 2, "name": name})))
    a = state["actionStates"]["a"]
    assert (a["status"], a["attempts"]) == ("completed", 3)
    assert [entry["response"]["status"] for entry in a["httpTrace"]] == [503, 503, 200]
    assert len(service.requests_to(f"/flaky/2/{name}")) == 3


def test_a_failed_action_stops_the_plan():
    """The rest of its level finishes, later levels are skipped, and the error says which request failed."""
    document = plan(
        action("bad", actionDefinitionId="status", inputs={"code": 500, "name": "bad"}),
        beside=[],
        after=["beside"],
    )
    state = run(document)
    assert state["status"] == "failed"
    assert statuses(state) == {"bad": "failed", "beside": "completed", "after": "skipped"}
    assert state["error"]["statusCode"] == 500
    assert state["error"]["context"]["actionId"] == "bad"
    bad = state["actionStates"]["bad"]
    assert bad["attempts"] == 2
    assert bad["result"]["error"]["category"] == "api_unexpected_status"
    assert [entry["response"]["status"] for entry in bad["httpTrace"]] == [500, 500]
    assert "bad" in state["actionStates"]["after"]["result"]["reason"]


def test_continue_on_failure_skips_what_depends_on_it():
    """The plan completes; dependents are skipped, one with `continueOnFailure` of its own runs."""
    document = plan(
        action(
            "bad",
            actionDefinitionId="status",
            inputs={"code": 404, "name": "bad"},
            errorHandling={"continueOnFailure": True},
        ),
        action("tolerant", ["bad"], errorHandling={"continueOnFailure": True}),
        other=[],
        needs_bad=["bad"],
        needs_that=["needs_bad"],
    )
    state = run(document)
    assert state["status"] == "completed"
    assert statuses(state) == {
        "bad": "failed",
        "other": "completed",
        "needs_bad": "skipped",
        "needs_that": "skipped",
        "tolerant": "completed",
    }
    assert "bad" in state["actionStates"]["needs_that"]["result"]["reason"]
    assert state["actionStates"]["needs_that"]["result"]["blockedBy"] == "bad"


def test_a_reference_to_nothing_fails_the_action_and_says_what_is_there():
    """The error names the path, and the keys that the output has."""
    state = run(plan(action("a"), action("b", ["a"], inputs={"name": "${a.output.nmae}"})))
    error = state["actionStates"]["b"]["result"]["error"]
    assert error["category"] == "validation_failed"
    assert "nmae" in error["message"]
    assert "name" in error["message"]


def test_twenty_actions_in_four_levels(service: Service):
    """A usual plan runs each level at once."""
    levels = [[f"l{level}_{index}" for index in range(5)] for level in range(4)]
    graph = {name: levels[depth - 1] if depth else [] for depth, level in enumerate(levels) for name in level}
    state = run(plan(**graph))
    assert state["status"] == "completed"
    assert state["metrics"]["completedActions"] == 20


def test_bad_plans_are_refused_before_anything_is_queued():
    """`delay` raises, with all problems, and no execution comes to be."""
    before = list_executions(limit=1_000)
    document = plan(a=["nobody"], b=["b"])
    with pytest.raises(PlanValidationError) as caught:
        execute_plan.delay(document)
    assert {error["code"] for error in caught.value.errors} == {"unknown_dependency", "self_dependency"}
    assert list_executions(limit=1_000) == before


def test_a_bad_plan_that_was_put_on_the_queue_ends_failed():
    """A producer that skips validation gets the errors as data, and the worker lives."""
    execution_id = str(uuid4())
    app.send_task("workflow_state.execute_plan", ({"name": "x", "actions": []},), task_id=execution_id)
    state = app.AsyncResult(execution_id).get(timeout=TIMEOUT_S)
    assert state["status"] == "failed"
    assert "actions" in str(state["error"]["context"])
    assert get_execution_state(execution_id).status == "failed"
    assert run(plan(a=[]))["status"] == "completed"


def test_the_state_can_be_read_at_any_moment():
    """It never goes backwards while the execution runs, and ends as the handle's result."""
    document = plan(action("slow", inputs={"name": "slow", "query.delay_ms": 1_500}), fast=[], last=["slow", "fast"])
    handle = execute_plan.delay(document)
    seen = [get_execution_state(handle.id)]
    while seen[-1].status not in {"completed", "failed"}:
        seen.append(get_execution_state(handle.id))
    assert [state.version for state in seen] == sorted(state.version for state in seen)
    assert any(state.action_states["slow"].status == "running" for state in seen)
    assert any(
        state.action_states["fast"].status == "completed" and state.action_states["slow"].status == "running"
        for state in seen
    )
    assert seen[-1].to_json_data() == handle.get(timeout=TIMEOUT_S)


def test_a_waiting_retry_shows_when_it_goes_on(service: Service):
    """Between two attempts the state has the next one's time, and the trace so far."""
    name = uuid4().hex
    handle = execute_plan.delay(plan(action("a", actionDefinitionId="patient", inputs={"name": name})))

    def waiting():
        return get_execution_state(handle.id).action_states["a"].next_attempt_at is not None

    wait_until(waiting, "the action waits for its retry")
    a = get_execution_state(handle.id).action_states["a"]
    if a.next_attempt_at:
        assert (a.status, a.attempts, len(a.http_trace)) == ("running", 1, 1)
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"


def test_an_unknown_execution_is_an_error():
    """Not a state that reads pending for ever."""
    with pytest.raises(ExecutionNotFoundError, match="no-such-id"):
        get_execution_state("no-such-id")


def test_the_same_id_again_starts_nothing_new(service: Service):
    """The same plan under the same id is one execution; another plan under that id is refused."""
    name, execution_id = uuid4().hex, str(uuid4())
    document = plan(action("a", inputs={"name": name}))
    handles = [execute_plan.apply_async((document,), task_id=execution_id) for _ in range(3)]
    assert {handle.get(timeout=TIMEOUT_S)["id"] for handle in handles} == {execution_id}
    assert execute_plan.apply_async((document,), task_id=execution_id).get(timeout=TIMEOUT_S)["status"] == "completed"
    assert len(service.requests_to(f"/echo/{name}")) == 1
    with pytest.raises(ExecutionConflictError, match=execution_id):
        execute_plan.apply_async((plan(b=[]),), task_id=execution_id)


def test_messages_that_come_twice_have_one_effect(service: Service):
    """Fifty executions, each submitted three times in a row: every action is sent once."""
    names = [uuid4().hex for _ in range(50)]
    handles = []
    for name in names:
        document, execution_id = plan(action("a", inputs={"name": name})), str(uuid4())
        handles += [execute_plan.apply_async((document,), task_id=execution_id) for _ in range(3)]
    assert {handle.get(timeout=TIMEOUT_S)["status"] for handle in handles} == {"completed"}
    assert [len(service.requests_to(f"/echo/{name}")) for name in names] == [1] * 50


def test_submitting_at_once_from_threads_and_processes_is_one_execution(service: Service, redis_url):
    """Whoever comes first; each action is sent once."""
    name, execution_id = uuid4().hex, str(uuid4())
    document = plan(action("a", inputs={"name": name}), action("b", ["a"], inputs={"name": name}))
    submit = (
        "import json, sys; from workflow_state import execute_plan;"
        "execute_plan.apply_async((json.loads(sys.argv[1]),), task_id=sys.argv[2])"
    )
    command = ["-c", submit, json.dumps(document), execution_id]
    others = [start_python(command) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        handles = list(pool.map(lambda _: execute_plan.apply_async((document,), task_id=execution_id), range(8)))
    assert [other.wait(30) for other in others] == [0, 0]
    assert {handle.get(timeout=TIMEOUT_S)["status"] for handle in handles} == {"completed"}
    assert len(service.requests_to(f"/echo/{name}")) == 2


def test_executions_are_listed_newest_first():
    """With their name and status, and by status."""
    good = execute_plan.delay(plan(a=[], name="a good plan"))
    good.get(timeout=TIMEOUT_S)
    bad = execute_plan.delay(plan(action("a", actionDefinitionId="status", inputs={"code": 410, "name": "x"})))
    bad.get(timeout=TIMEOUT_S)
    assert [item.id for item in list_executions(limit=2)] == [bad.id, good.id]
    assert list_executions(limit=1, status="completed")[0].name == "a good plan"
    assert list_executions(limit=1, status="failed")[0].id == bad.id


def test_secrets_and_outputs_stay_out_of_the_workers_log(worker: Path):
    """Neither the token that was sent, nor what was answered, is logged."""
    marker = f"output-{uuid4().hex}"
    state = run(plan(action("a", actionDefinitionId="secret", inputs={"name": marker})))
    assert state["status"] == "completed"
    assert API_TOKEN not in str(state)
    wait_until(lambda: f"execute_action.a[{state['id']}~a] succeeded" in worker.read_text(), "the log has the action")
    text = worker.read_text()
    assert API_TOKEN not in text
    assert marker not in text


def test_nothing_is_left_on_the_queue():
    """Once it has ended no message of it is there, acknowledged or not, and every key has an end."""
    execution_id = run(plan(a=[], b=["a"]))["id"].encode()
    client = app.backend.client

    def messages():
        return client.lrange("workflow_state", 0, -1) + client.hvals("workflow_state:unacked")

    wait_until(lambda: not any(execution_id in message for message in messages()), "everything is acknowledged")
    stored = [*client.scan_iter("workflow_state:*"), *client.scan_iter("celery-*")]
    assert len(stored) >= 5
    # -2 is a key that has run out meanwhile. Those of kombu last as long as there are messages.
    assert [key for key in stored if client.ttl(key) == -1 and b"unacked" not in key] == []


def test_the_worker_logs_one_json_object_a_line(worker: Path):
    """With execution, plan, action and attempt; a metric for each action and for the execution."""
    state = run(plan(action("a", actionDefinitionId="flaky", inputs={"failures": 1, "name": uuid4().hex})))

    def lines():
        told = [json.loads(line) for line in worker.read_text().splitlines() if line.startswith("{")]
        mine = [line for line in told if line["execution_id"] == state["id"]]
        return mine if any(line.get("metric") == "execution.duration_ms" for line in mine) else None

    told = wait_until(lines, "the execution's own metric is logged")
    assert all({"timestamp", "level"} <= line.keys() for line in told)
    assert {line.get("plan_id") for line in told} == {state["planId"]}
    assert [(line["message"], line["attempt"]) for line in told if "message" in line and "attempt" in line] == [
        ("attempt failed, to be tried again", 1),
        ("action completed", 2),
    ]
    metric = next(line for line in told if line.get("metric") == "action.duration_ms")
    assert (metric["action_id"], metric["plan_id"], metric["status"]) == ("a", state["planId"], "completed")


def test_an_execution_that_begins_too_late_is_cancelled(service: Service):
    """With Celery's own option, and a final state instead of an exception; one in time is not."""
    name = uuid4().hex
    document = plan(action("a", inputs={"name": name}))
    late = execute_plan.apply_async((document,), countdown=1, expires=0.2)
    in_time = execute_plan.apply_async((plan(a=[]),), expires=60)
    assert late.get(timeout=TIMEOUT_S)["status"] == "cancelled"
    assert in_time.get(timeout=TIMEOUT_S)["status"] == "completed"
    assert service.requests_to(f"/echo/{name}") == []


def test_a_small_plan_overtakes_a_large_level(service: Service):
    """Three hundred actions are in line when it comes, and most of them still are when it has ended."""
    name = uuid4().hex
    large = plan(*(action(f"a{number}", inputs={"name": name, "query.delay_ms": 200}) for number in range(300)))
    slow = execute_plan.delay(large)
    wait_until(lambda: service.requests_to(f"/echo/{name}"), "the large one has begun")
    assert execute_plan.delay(plan(a=[], b=["a"], c=["b"])).get(timeout=30)["status"] == "completed"
    assert len(service.requests_to(f"/echo/{name}")) < 200
    assert slow.get(timeout=30)["status"] == "completed"
    assert len(service.requests_to(f"/echo/{name}")) == 300
