"""Flower, over HTTP, on a real worker that sends events."""

import json
import re
import urllib.error
from uuid import uuid4

import pytest
from helpers.definitions import API_TOKEN
from helpers.flower_service import flower_on
from helpers.pages.markdown import ROOT
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.web_server import chromium

from workflow_state import execute_plan
from workflow_state.store.names import action_task_id

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
        task = tasks[action_task_id(handle.id, name)]
        assert task["name"] == f"execute_action.{name}"
        assert task["args"] == f"('{handle.id}', '{name}')"
        assert task["result"] == "completed"
    pages = json.dumps(tasks) + "".join(flower(f"/task/{uuid}") for uuid in tasks)
    assert marker not in pages
    assert API_TOKEN not in pages


def test_a_person_finds_an_executions_tasks_and_the_way_back(flower, tmp_path):
    """In a browser: searched by the execution's id, in the order of the plan; each task's page names its execution."""
    handle = execute_plan.delay(plan(first=[], second=["first"], third=["second"]))
    assert handle.get(timeout=30)["status"] == "completed"

    def is_known():
        mine = [
            task for uuid, task in json.loads(flower("/api/tasks?limit=1000")).items() if uuid.startswith(handle.id)
        ]
        return len(mine) == 4 and all(task["state"] == "SUCCESS" for task in mine)

    wait_until(is_known, "Flower has all four tasks")
    with chromium(tmp_path / "profile") as browser:
        browser.get(f"{flower.address}/tasks")

        def texts(selector):
            # In one step: the page draws its table anew whenever it likes.
            return browser.execute_script(
                "return [...document.querySelectorAll(arguments[0])].map((element) => element.innerText)", selector
            )

        def rows():
            return texts("#tasks-table tbody tr")

        search = wait_until(lambda: browser.find_elements("css selector", "input[type=search]"), "the page is there")[0]
        search.send_keys(handle.id)
        found = wait_until(lambda: len(rows()) == 4 and all(handle.id in row for row in rows()) and rows(), "4 tasks")
        for name in ("first", "second", "third"):
            assert sum(f"execute_action.{name}" in row and "SUCCESS" in row for row in found) == 1
        browser.get(f"{flower.address}/task/{handle.id}~second")
        page = wait_until(lambda: (text := texts("body")[0]) and "Root" in text and text, "its page")
        assert f"('{handle.id}', 'second')" in page
        # The execution's own task, whose page has the same id as `workflow-state status`.
        assert any(handle.id in text for text in texts("a"))


def test_flower_counts_what_the_worker_does(flower):
    """The metrics that the page on metrics names are at /metrics; tasks are labelled with the actions' names."""
    name = f"count_{uuid4().hex}"
    execute_plan.delay(plan(action(name))).get(timeout=30)
    page = (ROOT / "docs" / "how-to" / "traces-and-metrics.md").read_text()
    wait_until(lambda: f'{{task="execute_action.{name}",type="task-succeeded"' in flower("/metrics"), "it is counted")
    metrics = flower("/metrics")
    documented = set(re.findall(r"`(flower_\w+)`", page))
    assert documented
    assert {name for name in documented if f"\n{name}" not in metrics} == set()


def test_flower_asks_who_is_there(flower):
    """Credentials come from the environment."""
    with pytest.raises(urllib.error.HTTPError, match="401"):
        flower("/api/workers", credentials="ops:wrong")
