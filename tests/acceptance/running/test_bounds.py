"""What a plan multiplies has bounds: one clear error before anything is sent, and a state that has an end."""

import json
from uuid import uuid4

import pytest
from helpers.other_process import ask_in_another_process
from helpers.plans import action, plan, statuses
from helpers.servers import client_of
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

SUBMIT_AS = "print(json.dumps(execute_plan.apply_async((json.loads(sys.argv[1]),), task_id=sys.argv[2]).id))"
END = "print(json.dumps(app.AsyncResult(sys.argv[1]).get(timeout=60)))"
RESUME = "print(json.dumps(resume_execution(sys.argv[1]).get(timeout=60)))"
READ = "from workflow_state.client.outputs import find_output\nprint(json.dumps(find_output(*sys.argv[1:])[0]))"
VARIABLES = {"WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "5"}
FEW = {**VARIABLES, "WORKFLOW_STATE_MAX_ELEMENTS": "10", "WORKFLOW_STATE_MAX_REQUESTS": "12"}
SMALL = {**VARIABLES, "WORKFLOW_STATE_MAX_STATE_BYTES": str(2**20), "WORKFLOW_STATE_MAX_STORED_BYTES": "300000"}
# An answer of the service with so many items is kept in the state.
ITEMS = 500


@pytest.fixture
def redis(redis_url):
    """Run a Redis of a test's own."""
    with local_redis() as url:
        yield url


def submit(redis, document):
    execution_id = f"bounds-{uuid4().hex}"
    return ask_in_another_process(redis, SUBMIT_AS, json.dumps(document), execution_id, **VARIABLES)


def end_of(redis, execution_id):
    return ask_in_another_process(redis, END, execution_id, **VARIABLES)


def listing(action_id, count, dependencies=(), **fields):
    """Return an action over a list of the plan's inputs."""
    items = f"${{inputs.list{count}}}"
    return action(action_id, list(dependencies), forEach=items, **fields)


def wide(name, count, **more):
    """Return actions whose answers have some 35 KB each."""
    inputs = {"name": name, "count": ITEMS}
    return [action(f"a{number}", actionDefinitionId="items", inputs=inputs, **more) for number in range(count)]


def test_too_many_elements_or_requests_end_the_execution_before_they_are_sent(redis, tmp_path, service):
    """Of all lists together, and over all levels; retries count as well."""
    name = uuid4().hex
    inputs = {"name": name}
    lists = {"inputs": {"list6": list(range(6)), "list5": list(range(5))}}
    first = {"first": listing("first", 6, inputs=inputs), "second": listing("second", 6, inputs=inputs)}
    stubborn = {"name": f"{name}-stubborn", "failures": 50}
    with forked_worker(redis, log_file=tmp_path / "worker.log", environment=FEW):
        at_once = submit(redis, {**plan(*first.values()), **lists})
        later = submit(redis, {**plan(listing("first", 5), listing("second", 6, ["first"], inputs=inputs)), **lists})
        just_enough = submit(redis, {**plan(listing("first", 5), listing("second", 5, ["first"])), **lists})
        many = submit(redis, plan(*(action(f"a{number}", inputs=inputs) for number in range(13))))
        retrying = submit(redis, plan(action("a", actionDefinitionId="stubborn", inputs=stubborn)))
        for execution_id, variable in (
            (at_once, "WORKFLOW_STATE_MAX_ELEMENTS"),
            (later, "WORKFLOW_STATE_MAX_ELEMENTS"),
            (many, "WORKFLOW_STATE_MAX_REQUESTS"),
        ):
            state = end_of(redis, execution_id)
            assert (state["status"], state["error"]["code"]) == ("failed", "limit_exceeded")
            assert variable in state["error"]["message"]
        assert statuses(end_of(redis, later)) == {"first": "completed", "second": "skipped"}
        assert end_of(redis, just_enough)["status"] == "completed"
        assert end_of(redis, retrying)["status"] == "failed"
    assert service.requests_to(f"/echo/{name}") == []
    assert len(service.requests_to(f"/flaky/50/{name}-stubborn")) == 12


def test_what_does_not_fit_into_the_state_is_stored(redis, tmp_path, service):
    """From half of the bound on; a reference reads it there as well."""
    name = uuid4().hex
    read = action("read", ["a39"], inputs={"name": f"{name}-read", "query.first": "${a39.output.items[7].index}"})
    documents = plan(*wide(name, 40), read)
    variables = {**SMALL, "WORKFLOW_STATE_MAX_STORED_BYTES": str(2**30)}
    # What is under way when the half is reached is not stored yet.
    few = ("--concurrency", "4")
    with forked_worker(redis, log_file=tmp_path / "worker.log", environment=variables, extra_arguments=few):
        execution_id = submit(redis, documents)
        state = end_of(redis, execution_id)
        assert state["status"] == "completed"
        actions = state["actionStates"]
        stored = [key for key in statuses(state) if "outputLocation" in actions[key]["result"]]
        assert 10 < len(stored) < 40
        assert all(actions[key]["httpTrace"] == [] for key in stored)
        assert len(json.dumps(state)) < 2**20
        assert len(service.requests_to(f"/echo/{name}-read")) == 1
        assert service.requests_to(f"/echo/{name}-read")[0]["query"] == {"first": "7"}


@pytest.mark.parametrize(("field", "most"), [("stateBytes", 2**20), ("storedBytes", 300_000)])
def test_a_step_whose_result_has_no_room_is_not_sent(redis, tmp_path, service, field, most):
    """It fails, and says by which setting."""
    name = uuid4().hex
    document = plan(
        action("first", actionDefinitionId="hold", inputs={"name": name}),
        action("second", ["first"], inputs={"name": f"{name}-second"}),
    )
    with forked_worker(redis, log_file=tmp_path / "worker.log", environment=SMALL), client_of(redis) as client:
        execution_id = submit(redis, document)
        wait_until(lambda: service.requests_to(f"/hold/{name}"), "the first request has arrived")
        client.hset(f"workflow_state:execution:{execution_id}", field, most)
        service.released.add(name)
        state = end_of(redis, execution_id)
    assert statuses(state) == {"first": "completed", "second": "failed"}
    error = state["actionStates"]["second"]["result"]["error"]
    assert (error["code"], error["context"]["most"]) == ("limit_exceeded", str(most))
    assert service.requests_to(f"/echo/{name}-second") == []


@pytest.mark.parametrize("refusing", ["too large", "out of memory"])
def test_a_final_state_that_redis_refuses_ends_the_execution(redis, tmp_path, service, refusing):
    """It has failed, with what happened; its outputs are there still, and a resumed one sends nothing again."""
    name = uuid4().hex
    last = action("last", actionDefinitionId="hold", inputs={"name": name})
    log = tmp_path / "worker.log"
    with forked_worker(redis, log_file=log, environment=VARIABLES), client_of(redis) as client:
        execution_id = submit(redis, plan(*wide(name, 40), last))
        wait_until(lambda: len(service.requests_to(f"/items/{ITEMS}/{name}")) == 40, "the others have been sent")
        wait_until(lambda: client.hget(f"workflow_state:execution:{execution_id}", "stateBytes"), "one has ended")
        counted = f"celery-taskset-meta-{execution_id}.level-0.d"
        wait_until(lambda: client.scard(counted) == 40, "all others have ended")
        if refusing == "too large":
            client.config_set("proto-max-bulk-len", 2**20)
        else:
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 500_000)
        service.released.add(name)
        state = end_of(redis, execution_id)
        assert (state["status"], state["error"]["code"]) == ("failed", "state_not_stored")
        assert "Redis refuses its final state" in state["error"]["message"]
        assert set(statuses(state).values()) == {"completed"}
        output = ask_in_another_process(redis, READ, execution_id, "a7", **VARIABLES)
        assert len(output["items"]) == ITEMS
        client.config_set("proto-max-bulk-len", 512 * 2**20)
        client.config_set("maxmemory", 0)
        resumed = ask_in_another_process(redis, RESUME, execution_id, **VARIABLES)
        assert resumed["status"] == "completed"
        assert len(resumed["actionStates"]["a7"]["result"]["output"]["items"]) == ITEMS
    assert len(service.requests_to(f"/items/{ITEMS}/{name}")) == 40
