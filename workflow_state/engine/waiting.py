"""What waits gets its message: an alarm that rang, an answer, a permit."""

import json
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from redis import Redis

from workflow_state.settings import get_settings
from workflow_state.store.alarms import put_off_alarm, remove_alarm
from workflow_state.store.ending import keep_execution_and_results
from workflow_state.store.names import progress_key
from workflow_state.store.waiting import release


def publish_message(app: Celery, client: Redis, execution_id: str, step: str) -> None:
    """Publish the message that goes on with an action; one time too many does no harm, the claim sees to that."""
    raw: Any = client.hget(progress_key(execution_id), f"{step}:message")
    if raw:
        app.signature(json.loads(raw)).apply_async()
    remove_alarm(client, execution_id, step)


def look_after(app: Celery, client: Redis, execution_id: str, step: str) -> None:
    """Do what is due for an action that waits."""
    raw: Any = client.hget(progress_key(execution_id), step)
    status = json.loads(raw)["status"] if raw else None
    if status == "waiting":
        no_answer = {"respondedAt": datetime.now(UTC).isoformat(), "confirmed": False, "timedOut": True}
        if release(client, execution_id, step, how="timeout", answer=no_answer) == "released":
            status = "released"
        else:
            _keep_waiting(app, client, execution_id, step, json.loads(raw).get("expiresAt"))
    if status == "released":
        publish_message(app, client, execution_id, step)
    elif status != "waiting":
        remove_alarm(client, execution_id, step)


def wake_all(app: Celery, client: Redis, execution_id: str) -> None:
    """Let every action that waits, for an answer or for its next attempt, go on now: its execution was cancelled."""
    fields: Any = client.hgetall(progress_key(execution_id))
    for name, raw in fields.items():
        step = name.decode()
        if ":" in step:
            continue
        status = json.loads(raw)["status"]
        if status == "waiting":
            release(client, execution_id, step, how="cancel")
        if status in ("waiting", "released", "retrying"):
            publish_message(app, client, execution_id, step)


def _keep_waiting(app: Celery, client: Redis, execution_id: str, step: str, expires_at: float | None) -> None:
    """Let everything of the execution live on, and look again before half of that time has passed."""
    retention_s = get_settings().retention_s
    keep_execution_and_results(app.backend, execution_id, retention_s)
    seconds, _ = client.time()
    after_s = min(retention_s / 2, (expires_at or float("inf")) - seconds)
    put_off_alarm(client, execution_id, step, after_s=after_s, retention_s=retention_s)
