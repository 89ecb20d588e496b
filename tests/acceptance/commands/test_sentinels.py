"""A Redis that sentinels watch: the command line, a worker and a monitor reach it by their addresses alone."""

import json
import os

import httpx
import pytest
from helpers.command import CLI
from helpers.flower_service import flower_on
from helpers.forked_python import run_python, start_python
from helpers.plans import action, plan
from helpers.servers import free_port
from helpers.waiting import wait_until
from helpers.watched_redis import DATA_PASSWORD, MASTER_NAME, SENTINEL_PASSWORD, watched_redis
from helpers.workers import forked_worker

# As Celery's own documentation has it.
CELERYS_OWN_WAY = """
broker_url = result_backend = {url!r}
broker_transport_options = result_backend_transport_options = {options!r}
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Run a primary, a replica and three sentinels."""
    with watched_redis(tmp_path_factory.mktemp("watched")) as made:
        yield made


def show_no_secret(*texts):
    """Require that no password is in what was said."""
    assert not [secret for secret in (DATA_PASSWORD, SENTINEL_PASSWORD) for text in texts if secret in text]


@pytest.fixture
def page(watched, definitions, tmp_path, monkeypatch):
    """Run `workflow-state dev` on them, a worker and the run page, and yield the page's address."""
    monkeypatch.setenv("WORKFLOW_STATE_REDIS_URL", watched.url)
    port, log = free_port(), tmp_path / "dev.log"
    arguments = ["dev", "--port", str(port), "--no-flower", "--actions", str(definitions)]
    with log.open("wb") as output:
        process = start_python([*CLI, *arguments], stdout=output, stderr=output)
    try:
        wait_until(lambda: "the run page: " in log.read_text(), "the page is served")
        yield f"http://127.0.0.1:{port}"
        show_no_secret(log.read_text())
    finally:
        process.terminate()
        process.wait(30)


def test_a_plan_runs_on_it(watched, page, cli, plan_file):
    """Worker, command line and run page all find it."""
    document = plan(action("pay", actionDefinitionId="post"), a=[], b=["a"])
    done = cli("run", plan_file(document), "--json", redis_url=watched.url)
    assert done.returncode == 0, done.stderr
    execution_id = json.loads(done.stdout)["id"]
    listed = cli("list", redis_url=watched.url)
    assert execution_id in listed.stdout
    state = json.loads(cli("status", execution_id, "--json", redis_url=watched.url).stdout)
    assert state["status"] == "completed"
    assert httpx.get(f"{page}/api/executions/{execution_id}").json()["status"] == "completed"
    show_no_secret(done.stdout, done.stderr, listed.stdout)


def python(*arguments):
    """Run Python here, where the celeryconfig is, without our own variable for Redis."""
    return run_python(list(arguments), env={**os.environ, "WORKFLOW_STATE_REDIS_URL": ""}, text=True)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (f"master_name={MASTER_NAME}", "master_name=another", "No master found for 'another'"),
        (SENTINEL_PASSWORD, "wrong", f"No master found for '{MASTER_NAME}'"),
        (DATA_PASSWORD, "wrong", "refuses the login"),
    ],
    ids=["master", "sentinel password", "data password"],
)
def test_what_is_wrong_is_said_with_the_address_and_no_password(watched, cli, before, after, said):
    """Whoever reads it needs to know which servers were asked."""
    done = cli("list", redis_url=watched.url.replace(before, after))
    assert done.returncode == 1
    assert said in done.stderr
    assert f"127.0.0.1:{watched.sentinels[0].port}" in done.stderr
    assert "Traceback" not in done.stderr
    show_no_secret(done.stderr)


def test_a_celeryconfig_may_say_it_celerys_own_way(watched, definitions, tmp_path, monkeypatch):
    """The hosts in the URL, and the rest in the transport's options; for a worker, what submits, and Celery's tools."""
    url = ";".join(f"sentinel://:{DATA_PASSWORD}@127.0.0.1:{node.port}/0" for node in watched.sentinels)
    options = {"master_name": MASTER_NAME, "sentinel_kwargs": {"password": SENTINEL_PASSWORD}}
    (tmp_path / "celeryconfig.py").write_text(CELERYS_OWN_WAY.format(url=url, options=options))
    monkeypatch.setenv("WORKFLOW_STATE_ACTIONS", str(definitions))
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", "loopback")
    monkeypatch.chdir(tmp_path)
    run = f"execute_plan.delay({plan(a=[], b=['a'])!r}).get(timeout=30)"
    submit = f"from workflow_state import execute_plan; print({run}['status'])"
    log = tmp_path / "worker.log"
    with forked_worker("", log_file=log):
        wait_until(lambda: log.exists() and " ready." in log.read_text(), "the worker is ready")
        ended = python("-c", submit)
        assert ended.stdout.strip() == "completed", ended.stderr
        pinged = python("-m", "celery", "-A", "workflow_state", "inspect", "ping")
        assert "pong" in pinged.stdout, pinged.stderr
        with flower_on("") as get:
            # Its own list of workers comes later: it asks them, and gives each a second to answer.
            assert "flower_worker_online{" in get("/metrics")
    show_no_secret(log.read_text(), ended.stderr, pinged.stdout)


def test_a_celeryconfig_without_the_masters_name_is_refused(watched, tmp_path, monkeypatch):
    """At start, in one line that names the settings."""
    url = ";".join(f"sentinel://:{DATA_PASSWORD}@127.0.0.1:{node.port}/0" for node in watched.sentinels)
    (tmp_path / "celeryconfig.py").write_text(CELERYS_OWN_WAY.format(url=url, options={}))
    monkeypatch.chdir(tmp_path)
    ended = python("-m", "celery", "-A", "workflow_state", "worker")
    assert ended.returncode != 0
    assert "broker_url names sentinels, but not which primary they watch" in ended.stderr
    assert "Traceback" not in ended.stderr
    show_no_secret(ended.stderr)
