"""Going on with what waits: a step whose alarm rang, that a person answered, or whose execution was cancelled."""

import json
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from workflow_state.store.alarms import put_off_alarm, remove_alarm
from workflow_state.store.ending import keep_execution_and_results
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.waiting import read_message, release


def publish_message(app: Celery, store: ExecutionStore, step: str) -> None:
    """Publish the message that goes on with a step. Once too often does no harm: the claim sees to that."""
    if message := read_message(store, step):
        app.signature(message).apply_async()
    remove_alarm(store, step)


def look_after(app: Celery, store: ExecutionStore, step: str) -> None:
    """Do what is due for a step that waits: end its waiting, publish its message, or keep it alive."""
    raw: Any = store.client.hget(store.progress, step)
    status = json.loads(raw)["status"] if raw else None
    if status == "waiting":
        no_answer = {"respondedAt": datetime.now(UTC).isoformat(), "confirmed": False, "timedOut": True}
        if release(store, step, how="timeout", answer=no_answer) == "released":
            status = "released"
        else:
            _keep_waiting(store, step, json.loads(raw).get("expiresAt"))
    if status == "released":
        publish_message(app, store, step)
    elif status != "waiting":
        remove_alarm(store, step)


def wake_all(app: Celery, store: ExecutionStore) -> None:
    """Let every step that waits for an answer or for its next attempt go on now: its execution was cancelled."""
    fields: Any = store.client.hgetall(store.progress)
    for name, raw in fields.items():
        step = name.decode()
        if ":" in step:
            continue
        status = json.loads(raw)["status"]
        if status == "waiting":
            release(store, step, how="cancel")
        if status in ("waiting", "released", "retrying"):
            publish_message(app, store, step)


def _keep_waiting(store: ExecutionStore, step: str, expires_at: float | None) -> None:
    """Let all that is stored of the execution live on, and look again before half of that time has passed."""
    keep_execution_and_results(store)
    seconds, _ = store.client.time()
    after_s = min(store.retention_s / 2, (expires_at or float("inf")) - seconds)
    put_off_alarm(store, step, after_s=after_s)
