"""Resuming after a worker was killed by -9 in the middle of unsafe requests: what is sent again is a person's decision.

One worker is lost for the whole module; each test resumes what it left behind in its own way, which starts a new
execution each time. The service's journal says how often each request arrived.
"""

import json
import os
import signal
from dataclasses import dataclass
from uuid import uuid4

import pytest
from helpers.command import CLI
from helpers.forked_python import run_python
from helpers.http_service import Service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

VARIABLES = {"WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3"}
SLOW_MS = 20_000

RESUME = """
try:
    print(json.dumps(resume_execution(sys.argv[1], **json.loads(sys.argv[2])).id))
except WorkflowStateError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def post(action_id, dependencies=(), **fields):
    return action(action_id, list(dependencies), actionDefinitionId="post", **fields)


def fails(action_id, dependencies, name):
    return action(action_id, dependencies, actionDefinitionId="status", inputs={"code": 422, "name": name})


def single_plan(name):
    """Pay, and fail after that, so that what is resumed can be resumed again."""
    pay = post("pay", ["before"], inputs={"name": f"{name}-pay", "query.delay_once_ms": SLOW_MS})
    receipt = post("receipt", ["pay"], inputs={"name": f"{name}-receipt", "body.of": "${pay.output.number}"})
    before = post("before", inputs={"name": f"{name}-before"})
    return plan(before, pay, receipt, fails("last", ["receipt"], name))


def list_plan(name):
    """Pay three times; the second is the one that is lost."""
    items = [{"name": f"{name}-{number}", "wait": SLOW_MS if number == 1 else 0} for number in range(3)]
    inputs = {"name": "${item.name}", "query.delay_once_ms": "${item.wait}"}
    each = post("each", forEach="${inputs.items}", inputs=inputs)
    last = post("last", ["each"], inputs={"name": f"{name}-last", "body.all": "${each.output}"})
    return {**plan(each, last), "inputs": {"items": items}}


def alternative_plan(name):
    """Pay otherwise, because paying failed; that is lost."""
    primary = {**fails("pay", [], name), "errorHandling": {"alternativeActionId": "otherwise"}}
    return plan(primary, post("otherwise", inputs={"name": f"{name}-other", "query.delay_once_ms": SLOW_MS}))


@dataclass
class Lost:
    """What the lost worker left: a name for the requests, and the executions by their plan's name."""

    url: str
    name: str
    executions: dict[str, str]
    definitions: str

    def resume(self, which, **arguments):
        """Resume in Python, and return the new execution's id, or the error's name and text."""
        return ask_in_another_process(self.url, RESUME, self.executions.get(which, which), json.dumps(arguments))

    def end_of(self, execution_id):
        """Wait for an execution's end, and return its state."""

        def ended():
            state = ask_in_another_process(self.url, STATE, execution_id)
            return state if state["status"] in {"completed", "failed"} else None

        return wait_until(ended, "the execution ends", timeout_s=40)

    def cli(self, *arguments):
        """Run `workflow-state`."""
        return run_python([*CLI, *arguments], env={**os.environ, "WORKFLOW_STATE_REDIS_URL": self.url}, text=True)


@pytest.fixture(scope="module")
def lost(redis_url, definitions, tmp_path_factory, service: Service):
    """Kill a worker in the middle of three plans, and start another that ends them."""
    folder = tmp_path_factory.mktemp("lost")
    name = uuid4().hex
    documents = {"single": single_plan(name), "list": list_plan(f"{name}-list"), "other": alternative_plan(name)}
    with local_redis() as url:
        with forked_worker(url, log_file=folder / "one.log", environment=VARIABLES) as worker:
            executions = {
                key: ask_in_another_process(url, SUBMIT, json.dumps(document)) for key, document in documents.items()
            }

            def under_way():
                arrived = all(
                    service.requests_to(f"/echo/{name}-{path}")
                    for path in ("pay", "list-0", "list-1", "list-2", "other")
                )
                elements = arrived and ask_in_another_process(url, STATE, executions["list"])["actionStates"]["each"]
                return elements and [item["status"] for item in elements["elements"]] == [
                    "completed",
                    "running",
                    "completed",
                ]

            wait_until(under_way, "all requests have arrived")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        with forked_worker(url, log_file=folder / "two.log", environment=VARIABLES):
            left = Lost(url, name, executions, str(definitions))
            for execution_id in executions.values():
                assert left.end_of(execution_id)["status"] == "failed"
            yield left


@pytest.fixture
def arrivals(lost, service: Service):
    """Return how many requests to a path have arrived since the test began."""
    before = len(service.journal)

    def count(path):
        with service.lock:
            return [entry["path"] for entry in service.journal[before:]].count(f"/echo/{lost.name}-{path}")

    return count


def told(state):
    return {name: (item["kept"], item["reason"]) for name, item in state["resumed"]["actions"].items()}


@pytest.mark.parametrize(("which", "request_name"), [("single", "pay"), ("list", "each[1]"), ("other", "otherwise")])
def test_nothing_is_resumed_without_a_decision(lost, service: Service, which, request_name):
    """The error names the request and both options, and nothing is sent."""
    sent = len(service.journal)
    kind, text = lost.resume(which)
    assert kind == "OutcomeUnknownError"
    for part in (request_name, "the outcome is unknown", "assume_done=", "send_again="):
        assert part in text
    assert len(service.journal) == sent


def test_assumed_done_is_not_sent_and_stays_so(lost, arrivals):
    """Its output is read by others, its state says that it was assumed, and a second resume needs no decision."""
    state = lost.end_of(lost.resume("single", assume_done={"pay": {"number": 7}}))
    pay = state["actionStates"]["pay"]
    assert pay["result"] == {"status": "success", "output": {"number": 7}, "assumed": True}
    assert (pay["status"], pay["attempts"], "duration" in pay) == ("completed", 1, False)
    assert state["actionStates"]["receipt"]["result"]["output"]["body"] == {"of": 7}
    assert told(state)["pay"] == (True, "assumed done, by decision")

    again = lost.end_of(lost.resume(state["id"]))
    assert told(again)["pay"] == (True, "assumed done, by an earlier decision")
    assert again["actionStates"]["pay"] == pay
    assert (arrivals("before"), arrivals("pay"), arrivals("receipt")) == (0, 0, 1)


def test_sent_again_by_decision(lost, arrivals):
    """Once."""
    state = lost.end_of(lost.resume("single", send_again=["pay"]))
    assert told(state)["pay"] == (False, "sent again, by decision")
    assert state["actionStates"]["pay"]["status"] == "completed"
    assert (arrivals("before"), arrivals("pay")) == (0, 1)


def test_a_decision_about_anything_else_is_refused(lost):
    """It would not do what its author believes."""
    kind, text = lost.resume("single", assume_done={"pay": 1}, send_again=["last"])
    assert (kind, "'last'" in text) == ("ExecutionConflictError", True)


def test_from_the_command_line(lost, arrivals):
    """The message has the command lines to go on with, the short forms will do, and both ways end as they should."""
    execution_id = lost.executions["single"]
    refused = lost.cli("resume", execution_id)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"workflow-state resume {execution_id} --assume-done=pay=OUTPUT\n" in refused.stderr
    assert f"workflow-state resume {execution_id} --send-again=pay\n" in refused.stderr
    assert "Traceback" not in refused.stderr

    assumed = lost.cli("resume", execution_id, "--assume-done", '{"number": 8}')
    assert "kept  assumed done, by decision" in assumed.stdout
    pay = lost.end_of(assumed.stdout.split()[0])["actionStates"]["pay"]
    assert pay["result"]["output"] == {"number": 8}
    assert arrivals("pay") == 0

    again = lost.cli("resume", "--send-again", execution_id)
    assert "runs  sent again, by decision" in again.stdout
    assert lost.end_of(again.stdout.split()[0])["actionStates"]["pay"]["status"] == "completed"
    assert arrivals("pay") == 1


def test_an_element_from_the_command_line(lost, arrivals):
    """The suggested line is quoted for a shell; of the list only what was decided is shown."""
    execution_id = lost.executions["list"]
    refused = lost.cli("resume", execution_id, "--assume-done", "paid", "--send-again", "each[1]")
    assert (refused.returncode, "more outputs to assume" in refused.stderr) == (2, True)
    suggested = lost.cli("resume", execution_id).stderr
    assert f"workflow-state resume {execution_id} '--assume-done=each[1]=OUTPUT'\n" in suggested
    assumed = lost.cli("resume", execution_id, "--assume-done=each[1]=paid")
    assert [line.split()[0] for line in assumed.stdout.splitlines()[1:]] == ["each", "each[1]", "last"]
    each = lost.end_of(assumed.stdout.split()[0])["actionStates"]["each"]
    assert (each["result"]["output"][1], arrivals("list-1")) == ("paid", 0)


def test_elements_that_completed_are_not_sent_again(lost, arrivals):
    """Only the lost one is, and the outputs are in order."""
    state = lost.end_of(lost.resume("list", send_again=["each"]))
    each = state["actionStates"]["each"]
    assert state["status"] == "completed"
    assert [output["name"] for output in each["result"]["output"]] == [f"{lost.name}-list-{n}" for n in range(3)]
    assert [item["kept"] for item in state["resumed"]["actions"]["each"]["elements"]] == [True, False, True]
    assert [arrivals(f"list-{number}") for number in range(3)] == [0, 1, 0]


def test_an_element_that_is_assumed_done_completes_the_list(lost, arrivals):
    """Nothing of the list is left to send: what comes after it is."""
    state = lost.end_of(lost.resume("list", assume_done={"each[1]": "paid"}))
    each = state["actionStates"]["each"]
    assert (state["status"], each["result"]["output"][1], each["elements"][1]["assumed"]) == ("completed", "paid", True)
    assert [item["reason"] for item in state["resumed"]["actions"]["each"]["elements"]] == [
        "it completed, with the same inputs",
        "assumed done, by decision",
        "it completed, with the same inputs",
    ]
    assert [arrivals(f"list-{number}") for number in (0, 1, 2, "last")] == [0, 0, 0, 1]


def test_an_assumed_alternative_has_done_its_primarys_work(lost, arrivals, service: Service):
    """Neither is sent: a payment otherwise is a payment."""
    sent = len(service.requests_to(f"/status/422/{lost.name}"))
    state = lost.end_of(lost.resume("other", assume_done={"otherwise": "paid"}))
    result = state["actionStates"]["pay"]["result"]
    assert state["status"] == "completed"
    assert (result["output"], result["alternativeActionId"], result["assumed"]) == ("paid", "otherwise", True)
    assert told(state)["pay"] == (True, "its alternative otherwise is assumed done, by decision")
    assert (arrivals("other"), len(service.requests_to(f"/status/422/{lost.name}")) - sent) == (0, 0)


def test_an_alternative_is_sent_again_after_its_primary(lost, arrivals):
    """The primary fails again, and the alternative takes its place."""
    state = lost.end_of(lost.resume("other", send_again=True))
    assert state["actionStates"]["pay"]["result"]["alternativeActionId"] == "otherwise"
    assert arrivals("other") == 1
