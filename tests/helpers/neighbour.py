"""Another Celery application on the same Redis, as a team has one: its tasks, its queue, and its own defaults.

`celery -A helpers.neighbour worker` runs it.
"""

import json
import os
import time
from typing import Any

from celery import Celery
from celery.result import allow_join_result

from workflow_state import execute_plan

app = Celery("neighbour", broker=os.environ["NEIGHBOUR_REDIS_URL"], set_as_current=False)
app.conf.update(
    result_backend=os.environ["NEIGHBOUR_REDIS_URL"],
    task_default_queue=os.environ.get("NEIGHBOUR_QUEUE", "celery"),
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


def _note(name: str, value: Any) -> None:
    app.backend.client.rpush(f"neighbour:{name}", json.dumps(value))


@app.task(name="neighbour.make_plan", shared=False)
def make_plan(name: str, actions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a plan."""
    return {"name": name, "actions": actions}


@app.task(name="neighbour.notify", shared=False)
def notify(state: Any, name: str) -> None:
    """Note what came."""
    _note(name, state)


@app.task(name="neighbour.notify_failure", shared=False)
def notify_failure(*told: Any, name: str) -> None:
    """Note that something failed."""
    _note(name, [str(each) for each in told])


@app.task(name="neighbour.last_for", shared=False, acks_late=True)
def last_for(seconds: float, name: str) -> None:
    """Run for so long, and note each start."""
    _note(name, time.time())
    time.sleep(seconds)


@app.task(name="neighbour.submit", shared=False)
def submit(plan: dict[str, Any], *, waits: bool = False) -> Any:
    """Submit a plan from inside a task, and wait for its end where asked to."""
    handle = execute_plan.delay(plan)
    if not waits:
        return handle.id
    with allow_join_result():
        return handle.get(timeout=30)
