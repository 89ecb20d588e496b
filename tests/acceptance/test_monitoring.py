"""Flower, over HTTP, on a real worker that sends events."""

import json
import urllib.error
from uuid import uuid4

import pytest
from conftest import API_TOKEN
from flower_service import flower_on
from plans import action, plan
from support import wait_until

from workflow_state import execute_plan

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(scope="module")
def flower(redis_url):
    """Run `celery -A workflow_state flower`, and return a function that reads its pages."""
    with flower_on(redis_url) as get:
        yield get


def test_flower_shows_each_action_by_its_name_and_nothing_else(flower):
    """Every action is a succeeded task of its own name; no input, output or secret is on any page."""
    marker = f"input-{uuid4().hex}"
    document = plan(
        action("fetch_it", inputs={"name": marker}),
        action("send_it", ["fetch_it"], actionDefinitionId="secret", inputs={"name": "x", "body.text": marker}),
        action("try_it", actionDefinitionId="flaky", inputs={"failures": 1, "name": marker}),
    )
    handle = execute_plan.delay(document)
    assert handle.get(timeout=30)["status"] == "completed"

    def shown():
        tasks = json.loads(flower("/api/tasks?limit=1000"))
        mine = {uuid: task for uuid, task in tasks.items() if uuid.startswith(handle.id)}
        return mine if len(mine) == 4 and all(task["state"] == "SUCCESS" for task in mine.values()) else None

    tasks = wait_until(shown, "Flower has all four tasks")
    for name in ("fetch_it", "send_it", "try_it"):
        task = tasks[f"{handle.id}.{name}"]
        assert task["name"] == f"execute_action.{name}"
        assert task["args"] == f"('{handle.id}', '{name}')"
        assert task["result"] == "completed"
    pages = json.dumps(tasks) + "".join(flower(f"/task/{uuid}") for uuid in tasks)
    assert marker not in pages
    assert API_TOKEN not in pages


def test_flower_asks_who_is_there(flower):
    """Credentials come from the environment."""
    with pytest.raises(urllib.error.HTTPError, match="401"):
        flower("/api/workers", credentials="ops:wrong")
