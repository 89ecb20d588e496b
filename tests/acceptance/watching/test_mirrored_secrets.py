"""A server that writes the credential into every part of its answers, in every form: it gets nowhere from there."""

import json
import os
from pathlib import Path

from helpers.command import CLI
from helpers.flower_service import flower_on
from helpers.forked_python import run_python
from helpers.mirror_server import CONTENT_TYPES, mirror_server
from helpers.other_process import DUMP, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.secret_forms import find_traces
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

# With letters of either case, and characters that are written in other ways in URLs, JSON and HTML.
KEY = "Mirr0r-S3cret/+%&=<Zq9>"
ENDED = """
import time
while (state := get_execution_state(sys.argv[1])).completed_at is None:
    time.sleep(0.1)
print(json.dumps(state.to_json_data()))
"""
PAGES = """
from starlette.testclient import TestClient
from workflow_state.web import create_web_app
base = f"/executions/{sys.argv[1]}"
paths = ["/", base, f"/api{base}", f"/api{base}/graph", f"/api{base}/events"]
with TestClient(create_web_app()) as page:
    print(json.dumps([page.get(path).text for path in paths]))
"""


def test_a_credential_is_nowhere_but_in_its_requests_whatever_the_server_makes_of_it(tmp_path):
    """Not in Redis, a stored output, a log, a page, Flower, or what the command line prints."""
    log_file, storage = tmp_path / "worker.log", tmp_path / "storage"
    with mirror_server("X-Api-Key") as mirror, local_redis() as url:
        authentication = {"type": "api_key", "header": "X-Api-Key", "value": "${env.KEY}"}
        definitions = [
            {
                "id": kind,
                "endpoint": {"url": f"{mirror.url}/{kind}/{{name}}", "followRedirects": True},
                "authentication": authentication,
            }
            for kind in CONTENT_TYPES
        ]
        # Once as outputs in the state, once as stored ones, once for each element of a list.
        definitions += [{**definition, "id": f"list.{definition['id']}"} for definition in definitions]
        (tmp_path / "actions.json").write_text(json.dumps(definitions))
        variables = {
            "WORKFLOW_STATE_ACTIONS": str(tmp_path / "actions.json"),
            "WORKFLOW_STATE_STORAGE_URL": str(storage),
            "WORKFLOW_STATE_INLINE_OUTPUT_BYTES": "3000",
            "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
            "KEY": KEY,
        }
        tolerated = {"errorHandling": {"continueOnFailure": True}}
        document = plan(
            *(action(kind, actionDefinitionId=kind, inputs={"name": "x"}, **tolerated) for kind in CONTENT_TYPES),
            *(
                action(f"each-{kind}", actionDefinitionId=f"list.{kind}", inputs={"name": "${item}"}, **tolerated)
                | {"forEach": "${inputs.names}"}
                for kind in CONTENT_TYPES
            ),
        )
        document["inputs"] = {"names": ["a", "b"]}
        options = ("-E", "--loglevel", "DEBUG")
        with (
            forked_worker(url, log_file=log_file, environment=variables, extra_arguments=options),
            flower_on(url) as flower,
        ):
            execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document), **variables)
            state = ask_in_another_process(url, ENDED, execution_id, **variables)
            wait_until(lambda: "SUCCESS" in flower("/api/tasks?limit=1000"), "Flower has tasks")
            tasks = json.loads(flower("/api/tasks?limit=1000"))
            places = {f"flower {name}": flower(f"/task/{name}") for name in tasks}
            places["flower"] = json.dumps(tasks)
            places["redis"] = "".join(ask_in_another_process(url, DUMP, **variables))
            places["page"] = "".join(ask_in_another_process(url, PAGES, execution_id, **variables))
            environment = {**os.environ, **variables, "WORKFLOW_STATE_REDIS_URL": url}
            for words in (
                ["status", execution_id],
                ["status", execution_id, "--json"],
                ["output", execution_id, "bytes"],
            ):
                done = run_python([*CLI, *words], env=environment)
                places[f"command {' '.join(words)}"] = done.stdout + done.stderr
    places["state"] = json.dumps(state)
    places["log"] = log_file.read_bytes()
    stored = [path for path in Path(storage).rglob("*") if path.is_file()]
    places |= {str(path): path.read_bytes() for path in stored}
    assert set(mirror.credentials) == {KEY}
    failed = {name for name, item in state["actionStates"].items() if item["status"] == "failed"}
    assert failed == {"refused", "redirect", "each-refused", "each-redirect"}
    assert len(stored) >= len(CONTENT_TYPES) / 2
    assert all("[redacted]" in places[place] for place in ("state", "redis", "page"))
    assert find_traces(places, [KEY]) == []
