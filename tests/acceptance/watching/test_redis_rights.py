"""A user of Redis with the least rights: everything works, and a right that is missing is named at the start."""

import json
import os
import subprocess

import httpx
import pytest
from helpers.command import CLI
from helpers.flower_service import flower_on
from helpers.forked_python import run_python, start_python
from helpers.http_service import Service
from helpers.plans import action, asking, plan
from helpers.servers import free_port
from helpers.waiting import wait_until
from helpers.watched_redis import data_node
from helpers.workers import forked_worker

from workflow_state.celery import app
from workflow_state.engine.rights import acl_rules

USER, PASSWORD = "workflows", "least"
EVERYTHING = """
import json, sys, time
from workflow_state import *
from workflow_state import execute_plan

plans = json.loads(sys.argv[1])
# Its message is taken away before there is a worker: the sweep finds out.
states = {name: execute_plan.delay(plan) for name, plan in plans.items()}
print("submitted", flush=True)
sys.stdin.readline()

def asks(handle):
    deadline_s = time.monotonic() + 60
    while not [item for item in get_execution_state(handle.id).confirmations if item.confirmed is None]:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)

asks(states["confirmed"])
*_, asked = get_execution_state(states["confirmed"].id).confirmations
confirm_action(states["confirmed"].id, "ask", True, digest=asked.digest)
asks(states["cancelled"])
cancel_execution(states["cancelled"].id)
ended = {name: handle.get(timeout=60)["status"] for name, handle in states.items()}
resumed = resume_execution(states["failed"].id, plans["many"])
ended["resumed"] = resumed.get(timeout=60)["status"]
read_output(states["stored"].id, "stored")
assert len(list_executions(50)) == len(ended)
list_executions(50, "failed"), list_executions(50, "running")
print(json.dumps(ended))
"""
LIMITED = """
- id: limited
  endpoint: {{url: "{url}/echo/{{name}}", method: POST}}
  rateLimit: {{requestsPerSecond: 50, concurrent: 2}}
"""


@pytest.fixture
def admin(tmp_path):
    """Run a server, and connect to it as whoever may do everything."""
    with data_node(tmp_path) as node, node.connection() as connection:
        yield connection


def let_in(admin, rules):
    """Make the user, and return the URL by which it connects."""
    admin.execute_command("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", *rules)
    port = admin.connection_pool.connection_kwargs["port"]
    return f"redis://{USER}:{PASSWORD}@127.0.0.1:{port}/0"


@pytest.fixture
def environment(tmp_path, definitions, service: Service, monkeypatch):
    """Set up what workers and clients need beside Redis."""
    (tmp_path / "limited.yaml").write_text(LIMITED.format(url=service.url))
    variables = {
        "WORKFLOW_STATE_ACTIONS": f"{definitions}:{tmp_path / 'limited.yaml'}",
        "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
        "WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3",
        "WORKFLOW_STATE_INLINE_OUTPUT_BYTES": "2000",
        "WORKFLOW_STATE_STORAGE_URL": str(tmp_path / "storage"),
        "TEST_API_TOKEN": "t",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def plans_of_all_kinds():
    """Return plans that together do what a plan can do."""
    many = [action(f"each{number}", actionDefinitionId="limited") for number in range(3)]
    items = action("items", actionDefinitionId="items", inputs={"count": 1, "name": "x"})
    listed = action("listed", ["items"], forEach="${items.output.few}", inputs={"name": "x-${itemIndex}"})
    broken = action("broken", actionDefinitionId="status", inputs={"code": 422, "name": "x"})
    instead = {**broken, "id": "first", "errorHandling": {"alternativeActionId": "second"}}
    return {
        "many": plan(*many, action("flaky", actionDefinitionId="flaky", inputs={"failures": 1, "name": "rights"})),
        "levels": plan(action("pay", actionDefinitionId="post"), a=["pay"], b=["a"]),
        "alternative": plan(instead, action("second"), third=["first"]),
        "listed": plan(items, listed),
        "confirmed": plan(asking("ask"), after=["ask"]),
        "cancelled": plan(asking("ask"), after=["ask"]),
        "failed": plan(broken),
        "stored": plan(action("stored", actionDefinitionId="bytes", inputs={"size": 5_000, "name": "x"})),
    }


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_everything_works_with_the_least_rights(admin, environment, tmp_path, pool):
    """Redis' own log of refusals stays empty: plans, steering, the sweep, expiry, Celery's tools, Flower, the page."""
    url = let_in(admin, acl_rules(app))
    variables = {**os.environ, "WORKFLOW_STATE_REDIS_URL": url}
    admin.execute_command("ACL", "LOG", "RESET")
    run = {"env": variables, "text": True, "stdout": subprocess.PIPE, "stdin": subprocess.PIPE}
    with start_python(["-c", EVERYTHING, json.dumps(plans_of_all_kinds())], **run) as caller:
        assert caller.stdout.readline() == "submitted\n", refusals(admin)
        admin.delete("workflow_state")
        options = ("-E", "--pool", pool, "--concurrency", "4")
        with forked_worker(url, log_file=tmp_path / "worker.log", extra_arguments=options):
            told, _ = caller.communicate("\n", timeout=90)
            assert caller.returncode == 0, refusals(admin)
            look_from_all_sides(url, variables)
    assert refusals(admin) == []
    assert json.loads(told) == {
        "many": "completed",
        "levels": "completed",
        "alternative": "completed",
        "listed": "completed",
        "confirmed": "completed",
        "cancelled": "cancelled",
        "failed": "failed",
        "stored": "completed",
        "resumed": "completed",
    }


def look_from_all_sides(url, variables):
    """Ask Celery's tools, Flower, the command line and the run page."""
    for question in ("ping", "active", "stats"):
        done = run_command(["-m", "celery", "-A", "workflow_state", "inspect", question], variables)
        assert "OK" in done.stdout, done.stderr
    with flower_on(url) as get:
        get("/workers")
        get("/api/queues/length")
    for command in (["list"], ["expire"]):
        done = run_command([*CLI, *command], variables)
        assert done.returncode == 0, done.stderr
    port = free_port()
    with start_python([*CLI, "web", "--port", str(port)], env=variables) as page:
        try:
            wait_until(lambda: is_served(port), "the page is served")
        finally:
            page.terminate()


def run_command(command, variables):
    """Run a command that ends by itself."""
    return run_python(command, env=variables, text=True)


def is_served(port):
    """Return whether the page has a list of executions."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/executions").status_code == 200
    except httpx.TransportError:
        return False


def refusals(admin):
    """Return what Redis has refused, to whom and why."""
    return [(entry["reason"], entry["object"]) for entry in admin.acl_log()]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["~celery-taskset-meta-*"], "SADD on celery-taskset-meta-*"),
        (["~*.workflow_state.pidbox*"], "LPUSH on *.workflow_state.pidbox*"),
        (["&celery-task-meta-*"], "PUBLISH on celery-task-meta-*"),
        (["+zrank", "+brpop"], "BRPOP"),
        (["+ping"], "ping"),
        (["+multi"], "multi"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_right_that_is_missing_is_named_when_a_worker_starts(admin, environment, missing, said):
    """In one line, and the worker does not start."""
    url = let_in(admin, [rule for rule in acl_rules(app) if rule not in missing])
    done = run_command(
        ["-m", "celery", "-A", "workflow_state", "worker"],
        {**os.environ, "WORKFLOW_STATE_REDIS_URL": url},
    )
    assert done.returncode != 0
    line = next((line for line in done.stderr.splitlines() if "Redis refuses" in line), done.stderr)
    assert said in line
    assert "Traceback" not in done.stderr
