"""With keys, Redis and the storage show nothing of what plans, servers and people have said; who has the keys does."""

import base64
import json
import os
import secrets
from uuid import uuid4

import pytest
from helpers.command import CLI
from helpers.flower_service import flower_on
from helpers.forked_python import run_python
from helpers.http_service import Service
from helpers.other_process import DUMP, STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, asking, plan
from helpers.servers import client_of
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state import ExecutionPlan
from workflow_state.engine.local import local_redis
from workflow_state.store.records import plan_digest

CONFIRM = """
for waiting in get_execution_state(sys.argv[1]).confirmations:
    confirm_action(sys.argv[1], waiting.action_id, True, sys.argv[2], digest=waiting.digest)
print("true")
"""
RESUME = "print(json.dumps(resume_execution(sys.argv[1]).id))"
PAGES = """
import asyncio, httpx
from workflow_state.web.app import create_web_app
async def ask():
    transport = httpx.ASGITransport(create_web_app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return [[answer.status_code, answer.text] for answer in [await client.get(path) for path in sys.argv[1:]]]
print(json.dumps(asyncio.run(ask())))
"""
ERROR_OF = """
try:
    {call}
except WorkflowStateError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


# What it answers is tried again, and the error says where in the output something is wrong.
STRICT = """
- id: strict
  endpoint: {{url: "{url}/echo/{{name}}", method: GET}}
  outputSchema: {{properties: {{query: {{additionalProperties: {{type: integer}}}}}}}}
  retryPolicy: {{maxAttempts: 2, initialDelayMs: 20, maxDelayMs: 50, backoffMultiplier: 2}}
"""


def new_key():
    """Return a key as an operator makes it: `openssl rand -base64 32`."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


class Deployment:
    """A Redis with its files, a storage, and whoever has keys."""

    def __init__(self, url, folder, actions):
        self.url, self.data, self.storage, self.log_file = url, folder / "redis", folder / "storage", folder / "log"
        self.variables = {
            "WORKFLOW_STATE_ACTIONS": actions,
            "WORKFLOW_STATE_STORAGE_URL": str(self.storage),
            "WORKFLOW_STATE_INLINE_OUTPUT_BYTES": "4096",
            "WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3",
        }

    def worker(self, *keys):
        """Run a worker that has these keys."""
        environment = self.variables | {"WORKFLOW_STATE_KEYS": ",".join(keys)}
        return forked_worker(self.url, log_file=self.log_file, environment=environment, extra_arguments=("-E",))

    def ask(self, code, *arguments, keys):
        """Run code in a process that has these keys."""
        variables = self.variables | {"WORKFLOW_STATE_KEYS": ",".join(keys)}
        return ask_in_another_process(self.url, code, *arguments, **variables)

    def command(self, *arguments, keys):
        """Run the command with these keys."""
        variables = self.variables | {"WORKFLOW_STATE_KEYS": ",".join(keys), "WORKFLOW_STATE_REDIS_URL": self.url}
        return run_python([*CLI, *arguments], env={**os.environ, **variables}, text=True)

    def asked(self, execution_id, *, keys, questions=1):
        """Wait until the execution asks so many questions, and nothing else of it runs."""

        def is_asked():
            state = self.ask(STATE, execution_id, keys=keys)
            running = [name for name, item in state["actionStates"].items() if item["status"] == "running"]
            return len(state["confirmations"]) == questions and {"ask", "ask_each"}.issuperset(running) and state

        return wait_until(is_asked, "it asks")

    def ended(self, execution_id, *, keys):
        """Wait for the end of the execution, and return its state."""
        return wait_until(
            lambda: (state := self.ask(STATE, execution_id, keys=keys)).get("completedAt") and state, "it has ended"
        )

    def everything(self):
        """Return what is at rest, by where it is: keys, dump, append-only file, storage with the names of its files."""
        with client_of(self.url) as client:
            client.config_set("rdbcompression", "no")
            client.save()
        files = [path for path in self.data.rglob("*") if path.is_file()]
        stored = [path for path in self.storage.rglob("*") if path.is_file()]
        return {
            "keys": "".join(ask_in_another_process(self.url, DUMP)).encode(),
            "dump": b"".join(path.read_bytes() for path in files if path.suffix == ".rdb"),
            "append-only file": b"".join(path.read_bytes() for path in files if path.suffix == ".aof"),
            "storage": b"".join(str(path).encode() + path.read_bytes() for path in stored),
        }


@pytest.fixture
def deployment(redis_url, definitions, service: Service, tmp_path):
    """Run a Redis with an append-only file."""
    del redis_url
    (tmp_path / "storage").mkdir()
    (tmp_path / "strict.yaml").write_text(STRICT.format(url=service.url))
    with local_redis(tmp_path / "redis") as url:
        yield Deployment(url, tmp_path, f"{definitions}:{tmp_path / 'strict.yaml'}")


def telling_plan(mark):
    """Return a plan that says the mark in every place where a plan, a server or a person can say something."""
    failing = {"actionDefinitionId": "status", "inputs": {"code": 422, "name": mark, "header.X-Said": mark}}
    tolerated = {"errorHandling": {"continueOnFailure": True}}
    document = plan(
        action("large", actionDefinitionId="items", inputs={"count": 300, "name": mark}),
        action("again", actionDefinitionId="flaky", inputs={"failures": 1, "name": mark}),
        action("strict", actionDefinitionId="strict", inputs={"name": "x", f"query.{mark}": "x"}, **tolerated),
        action("refused", **failing, errorHandling={"alternativeActionId": "instead"}),
        action("instead", inputs={"name": mark}),
        action("tolerated", **failing, **tolerated),
        action("each", forEach="${inputs.names}", inputs={"name": "${item}"}),
        asking("ask", inputs={"name": mark}),
        asking("ask_each", forEach="${inputs.names}", inputs={"name": "${item}"}),
        action("reads", ["large", "ask"], inputs={"name": "${large.output.name}"}),
        name=f"plan {mark}",
    )
    for asks in document["actions"][7:9]:
        asks["userConfirmation"] |= {"title": f"Send {mark}?", "message": f"To {mark}."}
    document["description"] = mark
    document["inputs"] = {"names": [f"{mark}-1", f"{mark}-2"]}
    wrong = {"name": f"is {mark}", "reference": "${reads.output.name}", "operator": "equals", "value": "something else"}
    document["expectedOutcome"] = {"description": mark, "validations": [wrong]}
    return document


def test_nothing_is_readable_at_rest_and_everything_with_the_keys(deployment):
    """Of plan, inputs, outputs, traces, errors, questions and answers; while it waits, at its end, and resumed."""
    mark, key = f"mark{uuid4().hex}", new_key()
    with deployment.worker(key), flower_on(deployment.url) as flower:
        execution_id = deployment.ask(SUBMIT, json.dumps(telling_plan(mark)), keys=[key])
        waiting = deployment.asked(execution_id, keys=[key], questions=3)
        at_rest = deployment.everything()
        deployment.ask(CONFIRM, execution_id, f"person-{mark}", keys=[key])
        state = deployment.ended(execution_id, keys=[key])
        resumed_id = deployment.ask(RESUME, execution_id, keys=[key])
        resumed = deployment.ended(resumed_id, keys=[key])
        at_the_end = deployment.everything()

        def is_seen():
            tasks = json.loads(flower("/api/tasks?limit=1000"))
            mine = {uuid: task for uuid, task in tasks.items() if uuid.startswith(execution_id)}
            return tasks if len(mine) >= 12 and all(task["state"] == "SUCCESS" for task in mine.values()) else None

        tasks = wait_until(is_seen, "Flower has all tasks")
        shown = json.dumps(tasks) + "".join(flower(f"/task/{uuid}") for uuid in tasks)
        with pytest.raises(OSError, match="500"):
            # Flower has no keys, and needs none.
            flower(f"/api/task/result/{execution_id}~large")
        status = deployment.command("status", execution_id, "--json", keys=[key])
        output = deployment.command("output", execution_id, "large", keys=[key])
        paths = [f"/api/executions/{execution_id}{rest}" for rest in ("", "/plan", "/actions/ask", "/actions/reads")]
        page = deployment.ask(PAGES, *paths, f"{paths[0]}/actions/large/output", "/api/executions", keys=[key])
    # Each of these has been said, in more than one place.
    assert state["status"] == "failed"
    assert state["actionStates"]["reads"]["result"]["output"]["name"] == mark
    assert state["actionStates"]["large"]["result"]["outputLocation"]["size"] > 4096
    assert state["actionStates"]["refused"]["result"]["alternativeActionId"] == "instead"
    assert mark in json.dumps(state["error"])
    assert mark in state["actionStates"]["strict"]["result"]["error"]["message"]
    assert mark in json.dumps(waiting["confirmations"])
    assert {answer["userId"] for answer in state["confirmations"]} == {f"person-{mark}"}
    assert resumed["actionStates"]["reads"]["result"]["output"]["name"] == mark
    # Digests would tell whether a guess is right.
    digests = [
        plan_digest(ExecutionPlan.model_validate(telling_plan(mark))),
        *(question["digest"] for question in waiting["confirmations"]),
        state["actionStates"]["large"]["result"]["outputLocation"]["checksum"],
    ]
    for place, content in [*at_rest.items(), *at_the_end.items()]:
        # What is looked for would be found.
        assert execution_id.encode() in content, place
        assert [text for text in (mark, *digests) if text.encode() in content] == [], place
    assert execution_id in shown
    assert mark not in shown
    assert json.loads(status.stdout)["error"] == state["error"]
    assert json.loads(output.stdout)["name"] == mark
    assert [code for code, _ in page] == [200] * len(page)
    assert all(mark in text for _, text in page)


def test_keys_are_rotated_while_an_execution_waits(deployment):
    """What the old key has encrypted is read with both; what comes then is encrypted by the new one."""
    mark, old, new = f"mark{uuid4().hex}", new_key(), new_key()
    document = plan(asking("ask", inputs={"name": mark}), after=["ask"])
    with deployment.worker(old):
        execution_id = deployment.ask(SUBMIT, json.dumps(document), "rotated", keys=[old])
        deployment.asked(execution_id, keys=[old])
    with deployment.worker(new, old):
        asked = deployment.ask(STATE, execution_id, keys=[new, old])["confirmations"][0]
        assert mark in json.dumps(asked["request"])
        deployment.ask(CONFIRM, execution_id, "grace", keys=[new, old])
        state = deployment.ended(execution_id, keys=[new, old])
        # The same plan under the same id is the same execution, whichever key has encrypted it.
        again = "print(json.dumps(execute_plan.apply_async((json.loads(sys.argv[1]),), task_id=sys.argv[2]).id))"
        assert deployment.ask(again, json.dumps(document), execution_id, keys=[new, old]) == execution_id
    assert state["status"] == "completed"
    assert deployment.ask(STATE, execution_id, keys=[new]) == state
    name, told = deployment.ask(ERROR_OF.format(call=STATE), execution_id, keys=[old])
    assert name == "MissingKeyError"
    assert "WORKFLOW_STATE_KEYS" in told


def test_who_has_not_the_keys_is_told_what_to_do(deployment):
    """In one line: whoever looks, submits, or starts a worker. Lists tell of ids and statuses all the same."""
    mark, key, other = f"mark{uuid4().hex}", new_key(), new_key()
    document = json.dumps(plan(action("one", inputs={"name": mark}), name=f"plan {mark}"))
    with deployment.worker(key):
        execution_id = deployment.ask(SUBMIT, document, keys=[key])
        deployment.ended(execution_id, keys=[key])
    for keys in ([], [other]):
        status = deployment.command("status", execution_id, keys=keys)
        assert (status.returncode, status.stdout) == (2, "")
        assert status.stderr.startswith("error: ")
        assert "WORKFLOW_STATE_KEYS" in status.stderr
        assert "Set it to the keys that the workers have" in status.stderr
        assert len(status.stderr.splitlines()) == 1
        listed = deployment.command("list", keys=keys)
        assert execution_id in listed.stdout
        assert "(encrypted)" in listed.stdout
        ((code, text),) = deployment.ask(PAGES, f"/api/executions/{execution_id}", keys=keys)
        assert (code, json.loads(text)["error"]["code"]) == (500, "MissingKeyError")
        with deployment.worker(*keys) as process:
            assert process.wait(30) == 1
        assert "WORKFLOW_STATE_KEYS: executions are encrypted by the key" in deployment.log_file.read_text()
    name, told = deployment.ask(ERROR_OF.format(call=SUBMIT), document, keys=[])
    assert name == "SettingsError"
    assert "WORKFLOW_STATE_KEYS is not set here, but what is in this Redis is encrypted" in told
    assert mark.encode() not in deployment.everything()["append-only file"]


def test_what_a_worker_can_not_decrypt_is_left_to_one_that_can(deployment):
    """Where a plan came with a newer key than the worker has, nothing fails: it goes on once a worker has the key."""
    old, new = new_key(), new_key()
    with deployment.worker(old):
        # It has started: later it would refuse to.
        deployment.ended(deployment.ask(SUBMIT, json.dumps(plan(one=[])), keys=[old]), keys=[old])
        execution_id = deployment.ask(SUBMIT, json.dumps(plan(one=[], two=["one"])), keys=[new, old])
        wait_until(lambda: "This worker can't go on" in deployment.log_file.read_text(), "the worker says so")
    with deployment.worker(new, old):
        state = deployment.ended(execution_id, keys=[new, old])
    assert state["status"] == "completed"


def test_what_was_stored_before_there_were_keys_stays_readable(deployment):
    """An execution that waits goes on with keys, and what is stored from then on is encrypted."""
    mark, key = f"mark{uuid4().hex}", new_key()
    document = plan(
        action("large", actionDefinitionId="items", inputs={"count": 300, "name": "plain"}),
        asking("ask", inputs={"name": "plain"}),
        action("reads", ["large", "ask"], inputs={"name": "${large.output.name}"}),
    )
    with deployment.worker():
        execution_id = deployment.ask(SUBMIT, json.dumps(document), keys=[])
        deployment.asked(execution_id, keys=[])
    with deployment.worker(key):
        deployment.ask(CONFIRM, execution_id, mark, keys=[key])
        state = deployment.ended(execution_id, keys=[key])
    assert state["actionStates"]["reads"]["result"]["output"]["name"] == "plain"
    assert state["confirmations"][0]["userId"] == mark
    assert mark.encode() not in deployment.everything()["append-only file"]


def test_a_value_that_was_moved_is_not_taken_for_another(deployment):
    """A result under another task's key, an action's field of another execution, a stored output's file."""
    key = new_key()
    document = plan(
        action("large", actionDefinitionId="items", inputs={"count": 300, "name": "a"}),
        action("other", actionDefinitionId="items", inputs={"count": 300, "name": "b"}),
        one=[],
        two=[],
    )
    with deployment.worker(key):
        first, second = (deployment.ask(SUBMIT, json.dumps(document), keys=[key]) for _ in range(2))
        for execution_id in (first, second):
            deployment.ended(execution_id, keys=[key])
    with client_of(deployment.url) as client:
        client.copy(f"celery-task-meta-{first}~one", f"celery-task-meta-{first}~two", replace=True)
        action_field = client.hget(f"workflow_state:execution:{second}", "action:one")
        client.hset(f"workflow_state:execution:{first}", "action:one", action_field)
        client.delete(f"celery-task-meta-{first}")
    for read in (
        "app.AsyncResult(sys.argv[1] + '~two').result",
        "from workflow_state.client.executions import read_plan; read_plan(sys.argv[1])",
        "get_execution_state(sys.argv[1])",
    ):
        name, told = deployment.ask(ERROR_OF.format(call=read), first, keys=[key])
        assert name == "DecryptionError", read
        assert "moved here" in told
    (large,), (other,) = (sorted((deployment.storage / second / name).iterdir()) for name in ("large", "other"))
    large.write_bytes(other.read_bytes())
    name, told = deployment.ask(ERROR_OF.format(call="read_output(sys.argv[1], 'large')"), second, keys=[key])
    assert (name, "moved here" in told) == ("StorageError", True)
