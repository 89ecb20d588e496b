"""How results are stored, on a real Redis."""

import base64
import json
from types import SimpleNamespace

import pytest
from celery import Celery
from helpers.servers import client_of

from workflow_state.encryption import key_id, seal
from workflow_state.engine.local import local_redis
from workflow_state.engine.result_backend import OVERRIDES
from workflow_state.errors import DecryptionError
from workflow_state.settings import get_settings


@pytest.fixture(scope="module")
def redis_url():
    """Run a Redis of this file's own."""
    with local_redis() as url:
        yield url


@pytest.fixture
def backend(redis_url):
    """Return a backend as our application has one."""
    app = Celery("test", broker=redis_url, backend=redis_url, set_as_current=False)
    app.loader.override_backends = OVERRIDES
    app.conf.result_expires = 60
    yield app.backend
    app.close()


@pytest.fixture
def client(redis_url):
    """Look at what is stored."""
    with client_of(redis_url) as connection:
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


def test_a_result_that_can_not_be_decrypted_ends_the_waiting_for_that_one_only(backend, client, monkeypatch):
    """Whoever waits in this process may be the one who reads it."""
    key, other = bytes(range(32)), bytes(32)
    monkeypatch.setattr(get_settings(), "keys", [key])
    first, second = (backend.add_pending_result(backend.app.AsyncResult(name)) for name in ("a", "b"))
    sealed = base64.b64encode(seal(b"1", [other], "a", "result :result")).decode()
    for name, result in (("a", f"sealed:{sealed}"), ("b", {"n": 1})):
        told = {"status": "SUCCESS", "result": result, "task_id": name, "children": []}
        client.publish(f"celery-task-meta-{name}", json.dumps(told))
    assert second.get(timeout=20) == {"n": 1}
    with pytest.raises(DecryptionError, match=f"encrypted by the key {key_id([other])}"):
        first.get(timeout=20)


def test_a_result_with_its_traceback_is_encrypted_and_read_back(backend, client, monkeypatch):
    """The status stays readable; what is stored is JSON still."""
    monkeypatch.setattr(get_settings(), "keys", [bytes(32)])
    backend.store_result("a", ValueError("4111"), "FAILURE", traceback="of 4111")
    stored = client.get("celery-task-meta-a")
    assert json.loads(stored)["status"] == "FAILURE"
    assert b"4111" not in stored
    result = backend.app.AsyncResult("a")
    assert (str(result.result), result.traceback) == ("4111", "of 4111")


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


LEVEL = {"task": "workflow_state.execute_action", "chord": {"task": "x"}, "group": "e.level-1", "errbacks": None}
NEXT = {
    "task": "workflow_state.execute_level",
    "args": [2],
    "kwargs": {},
    "options": {"task_id": "e"},
    "immutable": True,
}


def end_action(backend, name, **fields):
    """Let an action of execution `e`, level 1, end as a worker does."""
    backend.mark_as_done(f"e~{name}", {"n": name}, SimpleNamespace(**{**LEVEL, "id": f"e~{name}", **fields}))


@pytest.fixture
def published(backend, client):
    """Return which messages were published; level 1 of execution `e` has three actions."""
    client.hset(
        "workflow_state:execution:e", mapping={"currentLevel": 1, "messageCount": 3, "nextMessage": json.dumps(NEXT)}
    )
    return lambda: [json.loads(raw)["headers"] for raw in client.lrange("celery", 0, -1)]


def test_whoever_ends_last_publishes_what_comes_next(backend, client, published):
    """What the record says, with the options that are there; of the counting nothing is left."""
    end_action(backend, "a")
    end_action(backend, "b[0]")
    assert published() == []
    end_action(backend, "b[1]")
    assert [(message["task"], message["id"]) for message in published()] == [("workflow_state.execute_level", "e")]
    assert sorted(client.keys("celery-task*")) == [
        f"celery-task-meta-e~{name}".encode() for name in ("a", "b[0]", "b[1]")
    ]


def test_who_ends_twice_is_counted_once(backend, client, published):
    """A message that came twice, or was published again without its place in the group."""
    for name in ("a", "b", "a", "b", "a"):
        end_action(backend, name)
    assert published() == []
    assert 0 < client.ttl("celery-taskset-meta-e.level-1.d") <= 60
    end_action(backend, "c")
    assert len(published()) == 1


def test_who_comes_from_an_earlier_level_ends_no_other(backend, published):
    """Its level has been over for long; the one that runs now has an end of its own."""
    for name in ("x", "y", "z"):
        end_action(backend, name, group="e.level-0")
    assert published() == []


def test_what_could_not_be_published_is_published_by_who_comes_again(backend, published, monkeypatch):
    """A worker that dies between counting and publishing leaves the count, and its message."""
    end_action(backend, "a")
    end_action(backend, "b")
    with monkeypatch.context() as patch:
        patch.setattr(backend.app, "signature", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            end_action(backend, "c")
    assert published() == []
    end_action(backend, "c")
    assert len(published()) == 1
