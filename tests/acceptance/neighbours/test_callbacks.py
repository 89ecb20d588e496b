"""A team's own tasks before and after an execution: each runs on the team's own workers."""

import json
import os
import sys
from importlib import reload
from uuid import uuid4

import pytest
from celery import chain, chord, group
from helpers.forked_python import start_python
from helpers.other_process import ask_in_another_process
from helpers.servers import client_of
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state import execute_plan
from workflow_state.celery import app as our_app
from workflow_state.engine.local import local_redis

ACTIONS = [{"id": "a", "actionDefinitionId": "echo", "inputs": {"name": "callback"}}]
PLAN = {"name": "with callbacks", "actions": ACTIONS}


@pytest.fixture(scope="module", params=["celery", "team_tasks"])
def neighbour(request, redis_url, worker, tmp_path_factory):
    """Run the team's worker, and return its application as this process has it."""
    os.environ |= {"NEIGHBOUR_REDIS_URL": redis_url, "NEIGHBOUR_QUEUE": request.param}
    from helpers import neighbour as module  # noqa: PLC0415 - it reads the environment

    reload(module)
    log_file = tmp_path_factory.mktemp("neighbour") / "worker.log"
    arguments = ["-A", "helpers.neighbour", "worker", "--pool", "threads", "--concurrency", "2"]
    with log_file.open("wb") as log:
        process = start_python(
            ["-m", "celery", *arguments, "--without-mingle", "--without-gossip", "--loglevel", "INFO"],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    try:
        wait_until(lambda: "ready." in log_file.read_text(), "the team's worker is ready")
        yield module
    finally:
        process.terminate()
        process.wait(timeout=30)
        assert "unregistered task" not in log_file.read_text()
        module.app.close()


@pytest.fixture
def told(redis_url):
    """Return what the team's task was told under a name."""
    with client_of(redis_url) as client:
        yield lambda name: [json.loads(raw) for raw in client.lrange(f"neighbour:{name}", 0, -1)]


def test_a_callback_that_can_not_be_published_holds_up_nothing(neighbour, told):
    """More of them than a worker has threads: each execution ends, and its other callbacks are called."""
    name = uuid4().hex
    bad = neighbour.notify.s(f"{name}-bad").set(serializer="no-such")
    handles = [execute_plan.apply_async((PLAN,), link=[bad, neighbour.notify.s(name)]) for _ in range(20)]
    assert {handle.get(timeout=30)["status"] for handle in handles} == {"completed"}
    chained = (execute_plan.s(PLAN) | bad).apply_async()
    assert chained.parent.get(timeout=30)["status"] == "completed"
    wait_until(lambda: len(told(name)) == len(handles), "the others were called")
    assert told(f"{name}-bad") == []


WITHOUT_RIGHTS = """
from celery import signature
handle = execute_plan.apply_async((json.loads(sys.argv[1]),), link=signature("team.notify", queue="team"))
print(json.dumps(handle.get(timeout=20)["status"]))
"""


@pytest.mark.usefixtures("redis_url")
def test_a_callback_to_a_queue_that_redis_refuses_is_tried_once(tmp_path):
    """Our worker has the rights that our own keys need, and none for the team's queue."""
    log = tmp_path / "worker.log"
    with local_redis() as url, forked_worker(url, log_file=log), client_of(url) as client:
        wait_until(lambda: "ready." in log.read_text(), "the worker is ready")
        client.execute_command("ACL SETUSER", "default", "resetkeys", "~workflow_state*", "~celery-task*", "~_kombu*")
        assert ask_in_another_process(url, WITHOUT_RIGHTS, json.dumps(PLAN)) == "completed"
    assert log.read_text().count("could not be published") == 1


def test_a_link_runs_on_the_teams_queue(neighbour, told):
    name = uuid4().hex
    handle = execute_plan.apply_async((PLAN,), link=neighbour.notify.s(name))
    wait_until(lambda: told(name), "the link was called")
    assert [state["id"] for state in told(name)] == [handle.id]
    assert told(name)[0]["status"] == "completed"


def test_a_chain_goes_on_with_the_teams_task(neighbour, told):
    name = uuid4().hex
    (execute_plan.s(PLAN) | neighbour.notify.s(name)).apply_async()
    wait_until(lambda: told(name), "the chain went on")
    assert told(name)[0]["status"] == "completed"


def test_a_chain_that_begins_with_the_teams_task(neighbour, told, request):
    """The plan is made by a task of the team; ours runs on our queue, and what comes after on theirs."""
    name = uuid4().hex
    steps = [neighbour.make_plan.s("made", ACTIONS), execute_plan.s()]
    if neighbour.app.conf.task_default_queue == "celery":
        steps.append(neighbour.notify.s(name))
    else:
        # Nobody has told our worker what the team's queue is called: the callback says it.
        steps.append(neighbour.notify.s(name).set(queue=neighbour.app.conf.task_default_queue))
    chain(*steps).apply_async()
    wait_until(lambda: told(name), "the chain went on")
    assert (told(name)[0]["status"], told(name)[0]["metrics"]["completedActions"]) == ("completed", 1)


def test_a_chord_of_plans_and_the_teams_task_as_its_body(neighbour, told):
    name = uuid4().hex
    chord([execute_plan.s(PLAN), execute_plan.s(PLAN)])(neighbour.notify.s(name))
    wait_until(lambda: told(name), "the chord's body was called")
    assert [state["status"] for state in told(name)[0]] == ["completed", "completed"]


def test_a_group_of_callbacks(neighbour, told):
    names = [uuid4().hex, uuid4().hex]
    execute_plan.apply_async((PLAN,), link=group(neighbour.notify.s(name) for name in names))
    for name in names:
        wait_until(lambda: told(name), "each was called")  # noqa: B023 - called at once


def test_a_failed_plan_is_a_result(neighbour, told):
    """`link` is called with the failed state: an execution that has failed is no task that has."""
    name, never = uuid4().hex, uuid4().hex
    failing = {
        "name": "fails",
        "actions": [{"id": "a", "actionDefinitionId": "status", "inputs": {"code": 404, "name": "x"}}],
    }
    execute_plan.apply_async(
        (failing,), link=neighbour.notify.s(name), link_error=neighbour.notify_failure.s(name=never)
    )
    wait_until(lambda: told(name), "the link was called")
    assert (told(name)[0]["status"], told(never)) == ("failed", [])


def test_our_worker_reads_no_queue_but_its_own(neighbour, told):
    """Where it has published callbacks to the team's queue, too."""
    name = uuid4().hex
    execute_plan.apply_async((PLAN,), link=neighbour.notify.s(name))
    wait_until(lambda: told(name), "the link was called")
    queues = our_app.control.inspect(timeout=1).active_queues()
    assert {queue["name"] for known in queues.values() for queue in known} == {"workflow_state"}


def test_a_task_of_the_team_submits_and_waits(neighbour):
    """The team's worker imports us, and stays a worker of the team's."""
    handle = neighbour.submit.delay(PLAN)
    assert execute_plan.AsyncResult(handle.get(timeout=30)).get(timeout=30)["status"] == "completed"
    assert neighbour.submit.delay(PLAN, waits=True).get(timeout=30)["status"] == "completed"
