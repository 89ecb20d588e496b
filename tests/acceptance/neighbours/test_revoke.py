"""Celery's own verb for stopping a task: whoever revokes a part of an execution cancels the execution."""

import json
from uuid import uuid4

import pytest
from celery.result import AsyncResult
from helpers.http_service import Service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, asking, plan, statuses
from helpers.waiting import wait_for_question, wait_until
from helpers.workers import forked_worker

from workflow_state import execute_plan, get_execution_state
from workflow_state.celery import app
from workflow_state.engine.local import local_redis

TIMEOUT_S = 30


def begun(service: Service, *, asks: bool = False):
    """Submit a plan whose first request is held by the service, or whose first action asks; return it once it does."""
    name = uuid4().hex
    held = action("first", actionDefinitionId="hold", inputs={"name": name})
    first = asking("first") if asks else held
    last = action("last", ["first"], actionDefinitionId="post", inputs={"name": f"{name}-last"})
    handle = execute_plan.delay(plan(first, last))
    if asks:
        wait_for_question(handle.id, "first")
    else:
        wait_until(lambda: service.requests_to(f"/hold/{name}"), "the first request is under way")
    return handle, name


VERBS = {
    "handle": lambda handle: handle.revoke(),
    "handle, terminate": lambda handle: handle.revoke(terminate=True, signal="SIGKILL"),
    "control": lambda handle: app.control.revoke(handle.id),
    "Flower's button": lambda handle: app.control.revoke(handle.id, terminate=True, signal="SIGTERM"),
    "control.terminate": lambda handle: app.control.terminate(handle.id, signal="SIGTERM"),
    "plain AsyncResult": lambda handle: AsyncResult(handle.id, app=app).revoke(terminate=True),
    "the action": lambda handle: app.control.revoke(f"{handle.id}~first"),
    "the action, terminate": lambda handle: app.control.revoke(f"{handle.id}~first", terminate=True),
    "several": lambda handle: app.control.revoke([f"{handle.id}~first", handle.id, "somebody-else's"]),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("asks", [False, True], ids=["running", "waiting"])
def test_revoking_cancels_the_execution(worker, service: Service, verb, asks):
    handle, name = begun(service, asks=asks)
    VERBS[verb](handle)
    wait_until(lambda: _wish_is_stored(handle.id), "the cancellation is stored")
    service.released.add(name)
    final = handle.get(timeout=TIMEOUT_S)
    assert (final["status"], statuses(final)["last"]) == ("cancelled", "skipped")
    assert service.requests_to(f"/echo/{name}-last") == []
    # Celery's own list of what was revoked would drop what is published later under these ids.
    revoked = app.control.inspect(timeout=1).revoked()
    assert not any(handle.id in task_id for known in revoked.values() for task_id in known)


def _wish_is_stored(execution_id):
    return app.backend.client.hexists(f"workflow_state:execution:{execution_id}", "cancelRequestedAt")


def test_revoking_what_has_ended_changes_nothing(worker, service: Service):
    handle = execute_plan.delay(plan(a=[]))
    before = handle.get(timeout=TIMEOUT_S)
    handle.revoke(terminate=True)
    app.control.revoke(handle.id, terminate=True)
    wait_until(lambda: app.control.ping(timeout=1), "the worker has come to it")
    assert get_execution_state(handle.id).to_json_data() == before


@pytest.mark.parametrize("terminate", [False, True], ids=["", "terminate"])
def test_revoking_a_stamp_cancels_each_execution_that_has_it(worker, service: Service, terminate):
    """One whose request is under way, one that waits for its time, and one that is submitted afterwards."""
    name, stamp = uuid4().hex, uuid4().hex
    stamped = {"stamped_headers": ["tenant"], "tenant": [stamp, "other"]}
    held = action("first", actionDefinitionId="hold", inputs={"name": name})
    last = action("last", ["first"], actionDefinitionId="post", inputs={"name": f"{name}-last"})
    running = execute_plan.apply_async((plan(held, last),), **stamped)
    delayed = execute_plan.apply_async((plan(last, first=[]),), countdown=2, **stamped)
    other = execute_plan.apply_async((plan(a=[]),), stamped_headers=["tenant"], tenant=["other"])
    wait_until(lambda: service.requests_to(f"/hold/{name}"), "the first request is under way")
    app.control.revoke_by_stamped_headers({"tenant": stamp}, terminate=terminate, reply=True)
    service.released.add(name)
    later = execute_plan.apply_async((plan(last, first=[]),), **stamped)
    assert [each.get(timeout=TIMEOUT_S)["status"] for each in (running, delayed, later)] == ["cancelled"] * 3
    assert other.get(timeout=TIMEOUT_S)["status"] == "completed"
    assert service.requests_to(f"/echo/{name}-last") == []


@pytest.mark.usefixtures("redis_url")
def test_a_revoked_execution_sends_nothing_after_a_restart(tmp_path, service: Service):
    """Revoked while no worker runs: the wish is stored, and the worker that comes ends the execution."""
    name = uuid4().hex
    document = plan(action("a", actionDefinitionId="post", inputs={"name": name}))
    revoke = "execute_plan.AsyncResult(sys.argv[1]).revoke(terminate=True); print(json.dumps(True))"
    with local_redis(tmp_path / "data") as url:
        execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document))
        ask_in_another_process(url, revoke, execution_id)
        with forked_worker(url, log_file=tmp_path / "worker.log"):
            wait_until(
                lambda: ask_in_another_process(url, STATE, execution_id)["status"] == "cancelled",
                "it has been cancelled",
            )
    assert service.requests_to(f"/echo/{name}") == []
