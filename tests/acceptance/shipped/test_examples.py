"""Every plan in examples/ runs on a real worker against httpbin, and ends as it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import CLI
from helpers.forked_python import run_python
from helpers.servers import free_port
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

EXAMPLES = Path(__file__).parents[3] / "examples"

EXPECTED = {
    "demo": ("completed", {}),
    "references": ("completed", {"first": "completed", "second": "completed"}),
    "condition": ("completed", {"premium_gift": "completed", "ordinary_gift": "skipped", "send": "completed"}),
    "condition-else-fail": ("failed", {"check": "completed", "pay": "failed", "ship": "skipped"}),
    "stopped-plan": ("failed", {"bad": "failed", "beside": "completed", "after": "skipped"}),
    "continue-on-failure": (
        "completed",
        {"optional": "failed", "main": "completed", "needs_optional": "skipped", "clean_up": "completed"},
    ),
    "fallback": ("completed", {"rates": "completed", "convert": "completed"}),
    "alternative": (
        "completed",
        {"primary": "completed", "secondary": "completed", "tertiary": "completed", "use": "completed"},
    ),
    "confirmation": ("completed", {"prepare": "completed", "pay": "completed", "receipt": "completed"}),
    "for-each": ("completed", {"list": "completed", "greet": "completed", "count": "completed"}),
    "expected-outcome": ("failed", {"a": "completed"}),
}


@pytest.fixture(scope="module")
def run_example(tmp_path_factory):
    """Run httpbin, a Redis and a worker, and return a function that runs an example on them to its final state."""
    folder = tmp_path_factory.mktemp("examples")
    port = free_port()
    definitions = (EXAMPLES / "actions" / "httpbin.yaml").read_text()
    (folder / "httpbin.yaml").write_text(re.sub(r"\b18081\b", str(port), definitions))
    service = subprocess.Popen(
        [sys.executable, EXAMPLES / "demo_service.py", str(port)], stdout=subprocess.PIPE, text=True
    )
    variables = {"WORKFLOW_STATE_ACTIONS": str(folder), "DEMO_TOKEN": "a", "DEMO_API_KEY": "b"}
    variables["WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS"] = "loopback"
    try:
        assert service.stdout.readline() == "ready\n"
        with local_redis() as url, forked_worker(url, environment=variables, log_file=folder / "worker.log"):

            def run(name):
                done = run_python(
                    [*CLI, "run", EXAMPLES / f"{name}.json", "--json", "--yes"],
                    env={**os.environ, **variables, "WORKFLOW_STATE_REDIS_URL": url},
                    text=True,
                )
                assert done.stderr == ""
                return json.loads(done.stdout)

            yield run
    finally:
        service.terminate()
        service.wait()
        service.stdout.close()


def test_every_example_is_expected_to_end_somehow():
    """A new example is tested as well."""
    assert {path.stem for path in EXAMPLES.glob("*.json")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_example_ends_as_it_says(run_example, name):
    """The execution's status, and those of the actions that its rule is about."""
    status, actions = EXPECTED[name]
    state = run_example(name)
    assert state["status"] == status
    assert {key: state["actionStates"][key]["status"] for key in actions} == actions
    body = {key: item["result"].get("output") for key, item in state["actionStates"].items()}
    if name == "demo":
        assert len(state["actionStates"]) == 9
        assert state["actionStates"]["fetch_rates"]["attempts"] == 2
    elif name == "references":
        assert body["second"]["json"] == {
            "whole": [{"sku": "teapot"}, {"sku": "cup"}],
            "one": "cup",
            "text": "order o-1 is completed, ${this} is no reference",
        }
    elif name == "condition":
        assert body["send"]["json"] == {"ordinary": None}
    elif name == "fallback":
        assert state["actionStates"]["rates"]["result"]["usedFallback"] is True
        assert body["convert"]["json"] == {"rate": 1}
    elif name == "alternative":
        assert state["actionStates"]["primary"]["result"]["alternativeActionId"] == "secondary"
        assert body["use"]["json"]["url"].endswith("/anything/from-tertiary")
    elif name == "confirmation":
        assert state["confirmations"][0]["request"]["body"] == {"amount": 42}
    elif name == "for-each":
        assert [output["json"]["number"] for output in body["greet"]] == [0, 1, 2]
        assert body["count"]["json"] == {"last": 2}
    elif name == "expected-outcome":
        assert [item["passed"] for item in state["validations"]] == [True, False, True]
        assert state["validations"][1]["actual"] == 3
