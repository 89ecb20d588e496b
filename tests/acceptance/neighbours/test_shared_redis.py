"""A Redis that several applications share: none takes, repeats or stops what is another's."""

import json
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from urllib.parse import quote, unquote
from uuid import uuid4

import pytest
from helpers.forked_python import run_python, start_python
from helpers.http_service import Service, http_service
from helpers.plans import action, plan
from helpers.servers import client_of
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state import execute_plan
from workflow_state.engine.local import local_redis

TIMEOUT_S = 30
ASK_NEIGHBOUR = ["-m", "celery", "-A", "helpers.neighbour"]


@contextmanager
def neighbours_worker(url, log_file):
    """Run the other application's worker."""
    environment = {**os.environ, "NEIGHBOUR_REDIS_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = ["worker", "--pool", "threads", "--concurrency", "4", "--without-mingle", "--without-gossip"]
    with log_file.open("wb") as log:
        process = start_python(
            [*ASK_NEIGHBOUR, *arguments, "--loglevel", "INFO"], stdout=log, stderr=log, env=environment
        )
    try:
        wait_until(lambda: "ready." in log_file.read_text(), "the neighbour's worker is ready")
        yield process, environment
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.usefixtures("redis_url")
def test_a_neighbours_long_jobs_and_countdowns_run_once(tmp_path, monkeypatch):
    """Longer than our visibility timeout: our worker gives back only what is its own."""
    monkeypatch.setenv("WORKFLOW_STATE_VISIBILITY_TIMEOUT_S", "3")
    call = "from helpers.neighbour import last_for; last_for.apply_async((9, 'job')); "
    call += "last_for.apply_async((0, 'later'), countdown=9)"
    with (
        local_redis() as url,
        forked_worker(url, log_file=tmp_path / "ours.log"),
        neighbours_worker(url, tmp_path / "theirs.log") as (_, environment),
    ):
        run_python(["-c", call], env=environment, check=True)
        with client_of(url) as client:
            wait_until(lambda: client.llen("neighbour:later"), "the countdown is over")
            time.sleep(4)  # as long as our worker would need to give it to another
            assert (client.llen("neighbour:job"), client.llen("neighbour:later")) == (1, 1)


@pytest.mark.usefixtures("redis_url")
def test_a_neighbours_shutdown_leaves_our_worker_alone_and_ours_leaves_theirs(tmp_path):
    ours = ["-m", "celery", "-A", "workflow_state"]
    with (
        local_redis() as url,
        forked_worker(url, log_file=tmp_path / "ours.log") as our_worker,
        neighbours_worker(url, tmp_path / "theirs.log") as (their_worker, environment),
    ):
        run_python([*ASK_NEIGHBOUR, "control", "shutdown"], env=environment)
        their_worker.wait(timeout=30)
        at_ours = {**os.environ, "WORKFLOW_STATE_REDIS_URL": url}
        ping = [*ours, "inspect", "ping", "--timeout", "5"]
        assert b"pong" in run_python(ping, env=at_ours, check=True).stdout
        assert our_worker.poll() is None
        with neighbours_worker(url, tmp_path / "theirs again.log") as (their_next, _):
            run_python([*ours, "control", "shutdown"], env=at_ours)
            our_worker.wait(timeout=30)
            assert their_next.poll() is None


PREFIXED = """
broker_transport_options = {{"global_keyprefix": "{prefix}"}}
result_backend_transport_options = {{"global_keyprefix": "{prefix}"}}
"""


@pytest.mark.usefixtures("redis_url")
def test_deployments_with_a_key_prefix_of_their_own_keep_apart(tmp_path):
    """Each has its own server to call, and a worker beside its own celeryconfig; both are given the same ids."""
    ids = [uuid4().hex for _ in range(6)]
    document = plan(action("get", inputs={"name": "get"}), action("put", ["get"], actionDefinitionId="post"))
    with local_redis() as url, ExitStack() as stack:
        services = {}
        for name in ("a", "b"):
            services[name] = stack.enter_context(http_service())
            folder = tmp_path / name
            folder.mkdir()
            (folder / "celeryconfig.py").write_text(PREFIXED.format(prefix=f"{name}:"))
            definitions = [
                f"- id: echo\n  endpoint: {{url: '{services[name].url}/echo/{name}-{{name}}', method: GET}}\n",
                f"- id: post\n  endpoint: {{url: '{services[name].url}/echo/{name}-{{name}}', method: PUT}}\n",
            ]
            (folder / "actions.yaml").write_text("".join(definitions))
        with ExitStack() as workers:
            for name in services:
                workers.enter_context(_deployment(url, tmp_path / name))
            for name in services:
                assert _in_deployment(url, tmp_path / name, _RUN_ALL, json.dumps(ids), json.dumps(document)) == [
                    "completed" for _ in ids
                ]
        with client_of(url) as client:
            keys = {key.decode() for key in client.scan_iter()}
    for name, service in services.items():
        paths = {entry["path"] for entry in service.journal}
        assert paths == {f"/echo/{name}-get", f"/echo/{name}-put"}
        assert len(service.journal) == 2 * len(ids)
    assert [key for key in keys if not key.startswith(("a:", "b:"))] == []


_RUN_ALL = """
ids, plan = json.loads(sys.argv[1]), json.loads(sys.argv[2])
handles = [execute_plan.apply_async((plan,), task_id=key) for key in ids]
print(json.dumps([handle.get(timeout=60) and get_execution_state(handle.id).status for handle in handles]))
"""


def _environment(url, folder):
    return {**os.environ, "WORKFLOW_STATE_REDIS_URL": url, "WORKFLOW_STATE_ACTIONS": str(folder / "actions.yaml")}


@contextmanager
def _deployment(url, folder):
    log_file = folder / "worker.log"
    command = ["-m", "celery", "-A", "workflow_state", "worker", "--loglevel", "INFO"]
    with log_file.open("wb") as log:
        process = start_python(command, stdout=log, stderr=log, cwd=folder, env=_environment(url, folder))
    try:
        wait_until(lambda: "ready." in log_file.read_text(), "the worker is ready")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _in_deployment(url, folder, code, *arguments):
    head = "import json, sys; from workflow_state import execute_plan, get_execution_state\n"
    done = run_python(["-c", head + code, *arguments], cwd=folder, env=_environment(url, folder), text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("first", "second"),
    [("order-1", "order-1.pay"), ("order-1", "order-1.level-0"), ("a", "a.b"), ("x:y", "x:y.pay"), ("-", "-.-")],
)
def test_two_names_never_meet(worker, service: Service, first, second):
    """An execution may be called like what another calls its action, or its level: each has its own result."""
    tag = uuid4().hex[:8]
    first, second = (f"{tag}{name}" for name in (first, second))
    documents = {}
    for key in (first, second):
        steps = ["pay", "b", "level-0"]
        documents[key] = plan(*[action(step, inputs={"name": f"{key}-{step}"}) for step in steps], name=key)
    handles = {key: execute_plan.apply_async((document,), task_id=key) for key, document in documents.items()}
    for key, handle in handles.items():
        final = handle.get(timeout=TIMEOUT_S)
        assert (final["id"], final["status"]) == (key, "completed")
        names = {step: unquote(state["result"]["output"]["name"]) for step, state in final["actionStates"].items()}
        assert names == {step: f"{key}-{step}" for step in ("pay", "b", "level-0")}
    for key in documents:
        for step in ("pay", "b", "level-0"):
            assert len(service.requests_to(f"/echo/{quote(key, safe='')}-{step}")) == 1
