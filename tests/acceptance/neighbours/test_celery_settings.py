"""A team's celeryconfig.py beside our worker: what it may say, what is kept all the same, and what is refused."""

import json
import os
from uuid import uuid4

import pytest
from helpers.forked_python import start_python
from helpers.http_service import Service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.waiting import wait_until

from workflow_state.engine.configuration import KEPT_SETTINGS
from workflow_state.engine.local import local_redis

READY = "ready."

# What a team's own application may have, and what would break ours: a plan completes under each of them.
KEPT = {
    "result_expires": 1,
    "result_chord_expires": 1,
    "result_failure_expires": 1,
    "task_ignore_result": True,
    "task_store_eager_result": True,
    "task_serializer": "pickle",
    "result_serializer": "pickle",
    "accept_content": ["pickle"],
    "result_accept_content": ["pickle"],
    "task_compression": "gzip",
    "result_compression": "gzip",
    "task_acks_late": False,
    "task_acks_on_failure_or_timeout": False,
    "task_reject_on_worker_lost": False,
    "task_track_started": True,
    "result_extended": True,
    "task_annotations": {"*": {"acks_late": False, "ignore_result": True, "rate_limit": "1/h"}},
    "task_default_queue": "team_tasks",
    "task_default_exchange": "team",
    "task_default_exchange_type": "topic",
    "task_default_routing_key": "team.default",
    "task_create_missing_queues": False,
    "task_protocol": 1,
    "worker_prefetch_multiplier": 0,
    "control_exchange": "celery",
    "result_backend_always_retry": False,
    "result_backend_max_retries": 0,
    "task_default_rate_limit": "1/h",
}
ROUTED = """
from kombu import Queue
task_queues = [Queue("team_tasks")]
task_routes = {"workflow_state.*": {"queue": "nobody_reads_this"}, "*": "nor_this"}
broker_transport_options = {"priority_steps": [0, 3, 6, 9], "visibility_timeout": 43200, "unacked_key": "unacked"}
result_backend_transport_options = {"retry_policy": {"timeout": 5.0}}
"""
ROUTED_BY_NAME = """
def route(name, args, kwargs, options, task=None, **more):
    return {"team.notify": {"queue": "team"}}[name]

task_routes = route
"""


@pytest.fixture
def start(tmp_path, redis_url):
    """Start a worker beside a celeryconfig.py; return the process, its log, and the URL of a Redis of its own."""
    started = []
    with local_redis() as url:

        def run(config, *arguments):
            (tmp_path / "celeryconfig.py").write_text(config)
            log_file = tmp_path / "worker.log"
            command = ["-m", "celery", "-A", "workflow_state", "worker", "--loglevel", "INFO"]
            with log_file.open("wb") as log:
                process = start_python(
                    [*command, "--without-mingle", "--without-gossip", *arguments],
                    stdout=log,
                    stderr=log,
                    cwd=tmp_path,
                    env={**os.environ, "WORKFLOW_STATE_REDIS_URL": url, "WORKFLOW_STATE_ACTOINS": "hunter2"},
                )
            started.append(process)
            wait_until(lambda: READY in log_file.read_text() or process.poll() is not None, "it is ready, or refuses")
            return process, log_file.read_text(), url

        yield run
        for process in started:
            process.terminate()
            process.wait(timeout=30)


def completes(url, service: Service):
    """Run a plan of two levels, submitted by a process without a celeryconfig, and return its state."""
    name = uuid4().hex
    document = plan(action("a", inputs={"name": name}), b=["a"])
    execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document))

    def final():
        state = ask_in_another_process(url, STATE, execution_id)
        return state if "completedAt" in state else None

    state = wait_until(final, "the plan has ended")
    assert len(service.requests_to(f"/echo/{name}")) == 1
    return state["status"]


def test_what_correctness_rests_on_is_kept_and_told(start, service: Service):
    """All of them at once; each that differs is named in the worker's log, with the reason."""
    process, log, url = start("".join(f"{name} = {value!r}\n" for name, value in KEPT.items()))
    assert process.poll() is None, log
    assert completes(url, service) == "completed"
    for name in KEPT:
        assert f"celeryconfig.py sets {name}, workflow_state keeps its own: {KEPT_SETTINGS[name]}" in log
    # So is a variable that looks like a setting and is none, without its value.
    told = "WORKFLOW_STATE_ACTOINS is no setting and changes nothing; did you mean 'WORKFLOW_STATE_ACTIONS'?"
    assert log.count(told) == 1
    assert "hunter2" not in log


def test_dictionaries_are_merged_and_routes_do_not_take_our_tasks(start, service: Service):
    process, log, url = start(ROUTED)
    assert process.poll() is None, log
    assert completes(url, service) == "completed"


def test_routes_that_know_their_own_tasks_only_are_not_asked_about_ours(start, service: Service):
    process, log, url = start(ROUTED_BY_NAME)
    assert process.poll() is None, log
    assert completes(url, service) == "completed"
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("config", "arguments", "named"),
    [
        ("task_always_eager = True", [], "task_always_eager"),
        ("CELERY_ALWAYS_EAGER = True", [], "task_always_eager"),
        ("broker_transport_options = {'global_keyprefix': 'a:'}", [], "global_keyprefix"),
        ("", ["--autoscale", "4,1"], "--autoscale"),
        ("worker_pool = 'gevent'", [], "gevent"),
        ("", ["-Q", "team_tasks"], "-Q"),
    ],
)
def test_what_can_not_hold_is_refused_in_one_line(start, config, arguments, named):
    process, log, _ = start(config, *arguments)
    assert process.wait(timeout=30) != 0
    lines = [line for line in log.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, log
    assert named in lines[0]
    assert "Traceback" not in log


def test_autoscale_with_processes_works(start, service: Service):
    process, log, url = start("", "--pool", "processes", "--autoscale", "2,1")
    assert process.poll() is None, log
    assert completes(url, service) == "completed"
