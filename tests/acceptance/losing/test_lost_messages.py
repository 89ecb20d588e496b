"""Messages are lost, in every way that Redis and workers lose them: each execution ends all the same."""

import json
import time
from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.servers import client_of
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

# An execution without a sign of life is looked after five seconds later.
VARIABLES = {"WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3"}
ENDED = """
import time
deadline = time.monotonic() + 50
states = []
for name in sys.argv[1:]:
    while (state := get_execution_state(name)).completed_at is None and time.monotonic() < deadline:
        time.sleep(0.1)
    states.append(state.to_json_data())
print(json.dumps(states))
"""
SUBMIT_ALL = "print(json.dumps([execute_plan.delay(plan).id for plan in json.loads(sys.argv[1])]))"
REGISTER_ONLY = """
import os, signal
from workflow_state import executor
executor.Task.apply_async = lambda *args, **options: os._exit(9)
execute_plan.apply_async((json.loads(sys.argv[1]),), task_id=sys.argv[2])
"""
CANCEL = "print(json.dumps(cancel_execution(sys.argv[1]) is None))"
CONFIRM = """
*_, asked = get_execution_state(sys.argv[1]).confirmations
print(json.dumps(confirm_action(sys.argv[1], 'ask', True, 'ada', digest=asked.digest).confirmed))
"""


@pytest.fixture(scope="module")
def redis(redis_url):
    """Run a Redis of this file's own, whose messages get lost."""
    with local_redis() as url:
        yield url


@pytest.fixture
def client(redis):
    """Speak to that Redis as whoever empties its queues does."""
    with client_of(redis) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def lossy_worker(redis, client, tmp_path):
    """Run a worker on it, by which a lost message is missed soon."""
    with forked_worker(redis, log_file=tmp_path / "worker.log", environment=VARIABLES) as process:
        yield process


def submit(redis, document):
    return ask_in_another_process(redis, SUBMIT, json.dumps(document), **VARIABLES)


def ends_of(redis, execution_ids):
    """Return the final states."""
    states = ask_in_another_process(redis, ENDED, *execution_ids)
    for state in states:
        assert state.get("completedAt"), state
    return states


def end_of(redis, execution_id):
    """Return the final state."""
    return ends_of(redis, [execution_id])[0]


def lose_all_messages(client):
    client.delete("workflow_state", "workflow_state:unacked", "workflow_state:unacked_index")


def test_executions_whose_messages_are_all_deleted_complete(redis, client, lossy_worker, service: Service):
    """In whichever state they are: on the queue, running, in a retry, answered, handed over to an alternative."""
    name = uuid4().hex
    slow = {"name": f"{name}-slow", "query.delay_ms": 3_000}
    retry = {"name": f"{name}-retry"}
    unavailable = {"name": f"{name}-none", "code": 500}
    documents = [plan(action("a", inputs=slow), after=["a"])] * 12
    many = ask_in_another_process(redis, SUBMIT_ALL, json.dumps(documents), **VARIABLES)
    retrying = submit(redis, plan(action("a", actionDefinitionId="patient", inputs=retry), after=["a"]))
    handed_over = submit(
        redis,
        plan(
            action("a", actionDefinitionId="status", inputs=unavailable, errorHandling={"alternativeActionId": "b"}),
            action("b", inputs={"name": f"{name}-b", "query.delay_ms": 1_500}),
            after=["a"],
        ),
    )
    wait_until(lambda: service.requests_to(f"/later/2/{name}-retry"), "the first attempt")
    for _ in range(40):
        lose_all_messages(client)
        time.sleep(0.1)  # the damage goes on for four seconds, whatever happens meanwhile
    states = ends_of(redis, [*many, retrying, handed_over])
    assert [state["status"] for state in states] == ["completed"] * len(states)
    assert len(service.requests_to(f"/later/2/{name}-retry")) == 2
    assert not client.exists("workflow_state", "workflow_state:unacked")


def test_an_execution_that_was_registered_and_never_published_runs(redis, client, lossy_worker):
    """The submitting process dies between the two."""
    execution_id = str(uuid4())
    with pytest.raises(AssertionError):
        ask_in_another_process(redis, REGISTER_ONLY, json.dumps(plan(a=[])), execution_id, **VARIABLES)
    assert client.exists(f"workflow_state:execution:{execution_id}")
    assert client.llen("workflow_state") == 0
    assert end_of(redis, execution_id)["status"] == "completed"


def test_a_large_level_in_line_hides_no_loss(redis, client, lossy_worker, service: Service):
    """A message of a small plan that is not there is not behind those of a large one."""
    name = uuid4().hex
    inputs = {"name": name, "query.delay_ms": 600}
    large = submit(redis, plan(*(action(f"a{number}", inputs=inputs) for number in range(600))))
    wait_until(lambda: service.requests_to(f"/echo/{name}"), "the large one has begun")
    execution_id = str(uuid4())
    with pytest.raises(AssertionError):
        ask_in_another_process(redis, REGISTER_ONLY, json.dumps(plan(a=[])), execution_id, **VARIABLES)
    assert end_of(redis, execution_id)["status"] == "completed"
    assert ask_in_another_process(redis, STATE, large)["status"] == "running"
    ask_in_another_process(redis, CANCEL, large)


def test_an_answer_whose_message_is_lost_counts(redis, client, tmp_path, service: Service):
    """The message was published while no worker ran, and deleted."""
    name = uuid4().hex
    confirmation = {"required": True, "title": "Send it?", "message": "Really?"}
    document = plan(action("ask", inputs={"name": name}, userConfirmation=confirmation), last=["ask"])
    with forked_worker(redis, log_file=tmp_path / "one.log", environment=VARIABLES):
        execution_id = submit(redis, document)
        wait_until(lambda: client.hexists(f"workflow_state:progress:{execution_id}", "ask:asks"), "asked")
    assert ask_in_another_process(redis, CONFIRM, execution_id, **VARIABLES) is True
    lose_all_messages(client)
    with forked_worker(redis, log_file=tmp_path / "two.log", environment=VARIABLES):
        assert end_of(redis, execution_id)["status"] == "completed"
    assert len(service.requests_to(f"/echo/{name}")) == 1


def test_what_waits_in_line_or_runs_long_is_not_published_again(redis, client, tmp_path, service: Service):
    """One slow worker, twenty executions: none of them is idle, and no message of theirs comes twice."""
    name = uuid4().hex
    inputs = {"name": name, "query.delay_ms": 500}
    documents = [plan(action(f"a{n}", inputs=inputs)) for n in range(20)]
    log = tmp_path / "worker.log"
    with forked_worker(redis, log_file=log, environment=VARIABLES, extra_arguments=("--concurrency", "1")):
        ids = ask_in_another_process(redis, SUBMIT_ALL, json.dumps(documents), **VARIABLES)
        longest = 0
        while len(service.requests_to(f"/echo/{name}")) < len(documents):
            longest = max(longest, client.llen("workflow_state"))
            time.sleep(0.02)  # watched, not waited for
        assert [state["status"] for state in ends_of(redis, ids)] == ["completed"] * 20
    assert longest <= len(documents)
    assert len(service.requests_to(f"/echo/{name}")) == len(documents)


def test_a_hard_time_limit_ends_the_action_not_the_execution(redis, client, tmp_path, service: Service):
    """Celery kills the child each time; the caller's handle gets a final state, not Celery's own failure."""
    name = uuid4().hex
    inputs = {"name": name, "query.delay_ms": 60_000}
    document = plan(action("slow", inputs=inputs, errorHandling={"continueOnFailure": True}), beside=[])
    arguments = ("--pool", "processes", "--concurrency", "2", "--time-limit", "1")
    with forked_worker(redis, log_file=tmp_path / "w.log", environment=VARIABLES, extra_arguments=arguments):
        execution_id = submit(redis, document)
        wait = "print(json.dumps(app.AsyncResult(sys.argv[1]).get(timeout=60)['status']))"
        assert ask_in_another_process(redis, wait, execution_id, **VARIABLES) == "completed"
        state = end_of(redis, execution_id)
    assert state["actionStates"]["slow"]["result"]["error"]["code"] == "workers_lost"
    assert len(service.requests_to(f"/echo/{name}")) == 5


def test_a_soft_time_limit_does_not_have_an_unsafe_request_sent_again(redis, client, tmp_path, service: Service):
    """It breaks off a request under way, of which nobody knows then what it did: no alternative stands in for it."""
    name = uuid4().hex
    first = action("pay", actionDefinitionId="post", inputs={"name": name, "query.delay_ms": 60_000})
    first["errorHandling"] = {"alternativeActionId": "other"}
    other = action("other", actionDefinitionId="post", inputs={"name": f"{name}-other"})
    arguments = ("--pool", "processes", "--concurrency", "2", "--soft-time-limit", "1")
    with forked_worker(redis, log_file=tmp_path / "w.log", environment=VARIABLES, extra_arguments=arguments):
        state = end_of(redis, submit(redis, plan(first, other)))
    assert state["actionStates"]["pay"]["result"]["error"]["code"] == "outcome_unknown"
    assert state["actionStates"]["pay"]["attempts"] == 1
    assert [entry["path"] for entry in service.requests_to(f"/echo/{name}")] == [f"/echo/{name}"]
