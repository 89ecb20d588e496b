"""How results are stored, on a real Redis."""

from types import SimpleNamespace

import pytest
from celery import Celery
from redis import Redis

from workflow_state.local import local_redis
from workflow_state.result_backend import OVERRIDES


@pytest.fixture(scope="module")
def redis_url():
    """Run a Redis of this file's own."""
    with local_redis() as url:
        yield url


@pytest.fixture
def backend(redis_url):
    """Return a backend as our application has one."""
    app = Celery("test", backend=redis_url, set_as_current=False)
    app.loader.override_backends = OVERRIDES
    app.conf.result_expires = 60
    yield app.backend
    app.close()


@pytest.fixture
def client(redis_url):
    """Look at what is stored."""
    with Redis(unix_socket_path=redis_url.removeprefix("redis+socket://").partition("?")[0]) as connection:
        connection.flushall()
        yield connection


def test_a_success_is_never_overwritten(backend, client):
    """Neither by what comes late, nor by another success: the first one counts."""
    backend.store_result("a", {"n": 1}, "SUCCESS")
    for state, result in [("RUNNING", {}), ("RETRY", ValueError("late")), ("SUCCESS", {"n": 2})]:
        backend.store_result("a", result, state)
    assert backend.get_task_meta("a")["result"] == {"n": 1}
    assert 0 < client.ttl("celery-task-meta-a") <= 60


def test_a_beginning_does_not_overwrite_an_end(backend, client):
    """Where the message that begins comes twice; an end overwrites a beginning."""
    backend.store_result("a", ValueError("refused"), "FAILURE")
    backend.store_result("a", {}, "RUNNING")
    assert backend.get_task_meta("a")["status"] == "FAILURE"
    backend.store_result("b", {}, "RUNNING")
    backend.store_result("b", {"n": 1}, "SUCCESS")
    assert backend.get_task_meta("b")["result"] == {"n": 1}


def test_a_result_is_stored_in_one_step(backend, client):
    """There is no look before the write, in which another run could store its own."""
    backend.store_result("a", {"n": 1}, "SUCCESS")
    client.config_resetstat()
    backend.store_result("b", {"n": 1}, "SUCCESS")
    called = {name.removeprefix("cmdstat_") for name in client.info("commandstats")} - {"client|setinfo", "hello"}
    assert "get" not in called
    assert {"evalsha", "set", "publish"} <= called


def test_those_who_wait_are_told(backend, client):
    """By the message that Celery's result consumer listens for."""
    with client.pubsub() as pubsub:
        pubsub.subscribe("celery-task-meta-a")
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        backend.store_result("a", {"n": 1}, "SUCCESS")
        assert b"SUCCESS" in pubsub.get_message(timeout=5)["data"]


def test_of_a_retry_nothing_is_noted(backend, client):
    """For our actions; the claim tells of it. Another task's is noted as ever."""
    backend.mark_as_retry("a", ValueError("x"), None, SimpleNamespace(task="workflow_state.execute_action", chord=None))
    assert not client.exists("celery-task-meta-a")
    backend.mark_as_retry("b", ValueError("x"), None, None)
    assert backend.get_task_meta("b")["status"] == "RETRY"


def test_what_celery_calls_a_failure_is_no_end_of_an_action(backend, client):
    """A killed child, a time limit, a result that could not be stored: its chord must not count it."""
    request = SimpleNamespace(
        task="workflow_state.execute_action", chord={"task": "x"}, id="a", group="g", errbacks=None
    )
    backend.mark_as_failure("a", ValueError("x"), None, request)
    assert client.keys("*") == []
