"""Outputs that the state can't hold: stored by a real worker, read back in every way, and removed when they expire."""

import json
import os
import pty
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from helpers.command import CLI
from helpers.forked_python import run_python, start_python
from helpers.http_service import Service
from helpers.plans import action, plan
from helpers.waiting import wait_until

from workflow_state import StorageError, execute_plan, get_execution_state, read_output, resume_execution
from workflow_state.celery import app
from workflow_state.engine.expiry import EXPIRE_EVERY_S, expire_outputs, publish_when_due
from workflow_state.store.names import record_key

pytestmark = pytest.mark.usefixtures("worker")

TIMEOUT_S = 30
ITEMS = 3_000
OUTPUT = [*CLI, "output"]


@pytest.fixture
def root():
    """Return the folder in which the worker stores."""
    return Path(os.environ["WORKFLOW_STATE_STORAGE_URL"])


def items(name, count=ITEMS, **fields):
    """Return an action whose output has 200 KB of JSON."""
    return action(name, actionDefinitionId="items", inputs={"count": count, "name": name}, **fields)


def image(name, size=200_000, **fields):
    """Return an action whose output is binary."""
    return action(name, actionDefinitionId="bytes", inputs={"size": size, "name": name}, **fields)


def run(*actions):
    """Run a plan of these actions, and return its id and its final state."""
    handle = execute_plan.delay(plan(*actions))
    return handle.id, handle.get(timeout=TIMEOUT_S)


def error_of(state, name):
    """Return why an action failed."""
    return state["actionStates"][name]["result"]["error"]


def age(root, execution_id, seconds):
    """Let an execution's files be as old as that."""
    for path in (root / execution_id).rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def forget(execution_id):
    """Do as if the execution's retention had passed."""
    backend = app.backend
    backend.client.delete(record_key(execution_id), backend.get_key_for_task(execution_id))


def test_a_large_output_is_read_back_in_every_way(service: Service, root, tmp_path):
    """By Python, by the command line, and by references, which read it as they would a small one."""
    name = uuid4().hex
    document = plan(
        items("large"),
        action(
            "reader",
            ["large"],
            actionDefinitionId="post",
            inputs={"name": name, "body": "${large.output}"},
            condition={"if": "${large.output.items[2999].index} == 2999", "then": "execute", "else": "fail"},
        ),
        action("part", ["large"], inputs={"name": "${large.output.name}", "query.at": "${large.output.content.name}"}),
    )
    document["expectedOutcome"] = {
        "description": "all of it is there",
        "validations": [
            {"name": "index", "reference": "${large.output.items[2999].index}", "operator": "equals", "value": 2999},
            {"name": "whole", "reference": "${large.output}", "operator": "exists"},
        ],
    }
    handle = execute_plan.delay(document)
    execution_id, state = handle.id, handle.get(timeout=TIMEOUT_S)
    assert state["status"] == "completed", state.get("error")
    result = state["actionStates"]["large"]["result"]
    location = result["outputLocation"]
    assert result["output"] == {
        "stored": True,
        "location": location["path"],
        "size": location["size"],
        "contentType": "application/json",
    }
    assert location["size"] > 200_000
    data = read_output(execution_id, "large")
    assert data == Path(location["path"]).read_bytes()
    assert Path(location["path"]).is_relative_to(root / execution_id / "large")

    [sent] = state["actionStates"]["reader"]["httpTrace"]
    assert state["actionStates"]["reader"]["result"]["output"]["stored"] is True
    echoed = json.loads(read_output(execution_id, "reader"))
    assert echoed["body"] == json.loads(data)
    assert sent["response"]["status"] == 200
    assert len(json.dumps(sent)) < 50_000
    part = state["actionStates"]["part"]["result"]["output"]
    assert (part["name"], part["query"]["at"]) == ("large", "large")
    index, whole = state["validations"]
    assert (index["actual"], whole["passed"]) == (2999, True)
    assert "actual" not in whole

    printed = run_python([*OUTPUT, execution_id, "large"], check=True)
    assert printed.stdout == data
    run_python([*OUTPUT, execution_id, "large", "--out", tmp_path / "file"], check=True)
    assert (tmp_path / "file").read_bytes() == data
    inline = run_python([*OUTPUT, execution_id, "part"], check=True)
    assert json.loads(inline.stdout) == part


@pytest.mark.parametrize("count", [1, ITEMS])
def test_one_plan_works_whatever_the_size(service: Service, count):
    """Inputs, a condition, a list and an expected outcome read an answer of 200 bytes and one of 200 kB."""
    name = uuid4().hex
    document = plan(
        items("list", count=count),
        action(
            "reader",
            ["list"],
            inputs={"name": f"{name}-${{list.output.name}}", "query.first": "${list.output.items[0].index}"},
            condition={"if": "size(${list.output.items}) * 2.5 >= 2.5", "then": "execute", "else": "fail"},
        ),
        action("each", ["list"], forEach="${list.output.few}", inputs={"name": f"{name}-${{item.index}}"}),
    )
    document["expectedOutcome"] = {
        "description": "it is the list",
        "validations": [
            {"name": "name", "reference": "${list.output.name}", "operator": "equals", "value": "list"},
        ],
    }
    state = execute_plan.delay(document).get(timeout=TIMEOUT_S)
    assert state["status"] == "completed", state.get("error")
    result = state["actionStates"]["list"]["result"]
    assert ("outputLocation" in result) is (count == ITEMS)
    [sent] = service.requests_to(f"/echo/{name}-list")
    assert sent["query"]["first"] == "0"
    assert len(service.requests_to(f"/echo/{name}-0")) == 1


def test_a_guard_keeps_a_reference_from_being_read(service: Service):
    """Where the action failed, it has no output; the condition does not hold, and nothing is sent."""
    name = uuid4().hex
    _, state = run(
        action(
            "check",
            actionDefinitionId="status",
            inputs={"code": 422, "name": name},
            errorHandling={"continueOnFailure": True},
        ),
        action(
            "reader",
            ["check"],
            inputs={"name": name},
            condition={"if": "${check.status} == 'completed' && ${check.output.x}", "then": "execute", "else": "skip"},
        ),
    )
    assert state["status"] == "completed", state.get("error")
    result = state["actionStates"]["reader"]["result"]
    assert (result["status"], "does not hold" in result["reason"]) == ("skipped", True)
    assert service.requests_to(f"/echo/{name}") == []


def test_elements_of_a_list_are_read_one_by_one():
    """Each has a location of its own; a dependent reads those that it names."""
    execution_id, state = run(
        items("list", count=2),
        action(
            "each",
            ["list"],
            actionDefinitionId="bytes",
            forEach="${list.output.items}",
            inputs={"size": 100_001, "name": "${itemIndex}"},
        ),
        items("large"),
        action("over", ["large"], forEach="${large.output.items}", forEachLimit=ITEMS - 1, inputs={"name": "x"}),
    )
    locations = [item["outputLocation"] for item in state["actionStates"]["each"]["elements"]]
    assert [Path(location["path"]).parent.name for location in locations] == ["each%5B0%5D", "each%5B1%5D"]
    assert len(read_output(execution_id, "each[1]")) == 100_001
    with pytest.raises(StorageError, match="is a list, whose elements"):
        read_output(execution_id, "each")
    with pytest.raises(StorageError, match=r"no output of 'each\[2\]'; its actions are .*list"):
        read_output(execution_id, "each[2]")
    with pytest.raises(StorageError, match="over has no output: it is failed"):
        read_output(execution_id, "over")
    assert "has 3000 elements; at most 2999" in error_of(state, "over")["message"]


@pytest.mark.parametrize(
    ("made_by", "reference", "why"),
    [
        (image("made"), "${made.output.content}", "binary (image/png); its .location can be handed on"),
        (
            items("made"),
            "${made.output.location}",
            'there is no key "location", made.output is an object with the keys',
        ),
        (items("made"), "${made.output.nothing}", "made.output is an object with the keys few, items, name"),
        (items("made", count=20_000), "${made.output.items}", "larger than 1048576 bytes"),
        (items("made", count=1), "${made.output.content}", 'there is no key "content"'),
    ],
)
def test_what_a_reference_can_not_read_fails_the_action(service: Service, made_by, reference, why):
    """Nothing is sent, and the message says what to do."""
    name = uuid4().hex
    _, state = run(made_by, action("reader", ["made"], inputs={"name": name, "query.value": reference}))
    error = error_of(state, "reader")
    assert error["category"] == "validation_failed"
    assert why in error["message"]
    assert service.requests_to(f"/echo/{name}") == []


def test_an_output_that_only_looks_stored_is_not_followed(service: Service):
    """A server that answers with somebody's location gets nothing."""
    execution_id, _ = run(items("large"))
    looks = get_execution_state(execution_id).to_json_data()["actionStates"]["large"]["result"]["output"]
    body = {"output": looks}
    _, state = run(
        action("liar", actionDefinitionId="post", inputs={"name": "liar", "body": body}),
        action("reader", ["liar"], inputs={"name": "${liar.output.body.output.name}"}),
    )
    assert 'there is no key "name"' in error_of(state, "reader")["message"]


def test_a_stored_output_that_is_lost_says_so(root):
    """To Python, to the command line with exit code 2, and in a later action, which sends nothing."""
    large = items("large")
    waits = action("waits", ["large"], inputs={"name": "w", "query.delay_ms": 1_500})
    handle = execute_plan.delay(
        plan(large, waits, action("reader", ["large", "waits"], inputs={"name": "${large.output.name}"}))
    )
    wait_until(lambda: get_execution_state(handle.id).action_states["waits"].attempts, "waits has begun")
    [path] = (root / handle.id / "large").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b" ")
    with pytest.raises(StorageError, match="checksum is wrong"):
        read_output(handle.id, "large")
    path.unlink()
    error = error_of(handle.get(timeout=TIMEOUT_S), "reader")
    assert (error["category"], error["code"]) == ("state_inconsistent", "output_not_read")
    done = run_python([*OUTPUT, handle.id, "large"], text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not there: it has expired" in done.stderr


def test_binary_is_not_written_to_a_terminal():
    """It would paint over it; text is shown without escape sequences."""
    execution_id, _ = run(image("image"), items("large"))
    for name, code, told in (("image", 2, b"name a file with --out"), ("large", 0, b'"index": 2999')):
        own, theirs = pty.openpty()
        with start_python([*OUTPUT, execution_id, name], stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            told_in_all = b"".join(iter(partial(_read, own), b""))
            assert process.wait(timeout=60) == code
        os.close(own)
        assert told in told_in_all.replace(b"\r\n", b"")


def _read(descriptor):
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""


def test_outputs_expire_with_their_execution(root):
    """Not before, not while they are young, and never anything else that is in the folder."""
    (root / "someone").mkdir(exist_ok=True)
    (root / "someone" / "elses").mkdir(exist_ok=True)
    (root / "someone" / "elses" / "file").write_text("x")
    age(root, "someone", 10**9)
    execution_id, _ = run(image("image"), items("large"))
    folder = root / execution_id
    week_s = 7 * 24 * 3600

    age(root, execution_id, week_s + 60)
    expire_outputs(app)
    assert folder.exists()
    forget(execution_id)
    age(root, execution_id, week_s - 60)
    expire_outputs(app)
    assert folder.exists()
    age(root, execution_id, week_s + 60)
    done = run_python([*CLI, "expire"], text=True)
    assert done.stdout == "removed the stored outputs of 1 execution\n"
    assert not folder.exists()
    assert (root / "someone" / "elses" / "file").exists()


def test_an_output_lives_as_long_as_an_execution_that_was_resumed_with_it(service: Service, root):
    """Also where that was resumed by way of another; and what it is compared by is the stored value."""
    name = uuid4().hex
    document = plan(
        items("large"),
        action("reader", ["large"], inputs={"name": f"{name}-${{large.output.name}}"}),
        action(
            "each",
            ["large", "reader"],
            forEach="${large.output.few}",
            inputs={"name": f"{name}-each-${{item.index}}"},
            condition={"if": "${large.output.name} == 'large'", "then": "execute", "else": "fail"},
        ),
        action("bad", ["reader", "each"], actionDefinitionId="status", inputs={"code": 422, "name": name}),
    )
    first = execute_plan.delay(document)
    assert first.get(timeout=TIMEOUT_S)["status"] == "failed"
    second = resume_execution(first.id)
    state = second.get(timeout=TIMEOUT_S)
    kept = {key: item["kept"] for key, item in state["resumed"]["actions"].items()}
    assert kept == {"large": True, "reader": True, "each": True, "bad": False}
    assert len(service.requests_to(f"/echo/{name}-large")) == 1
    assert len(service.requests_to(f"/echo/{name}-each")) == 3
    third = resume_execution(second.id)
    third.get(timeout=TIMEOUT_S)

    for gone in (first.id, second.id):
        forget(gone)
        age(root, first.id, 8 * 24 * 3600)
        expire_outputs(app)
        assert len(read_output(third.id, "large")) > 200_000
    forget(third.id)
    assert expire_outputs(app) == 1
    assert not (root / first.id).exists()


def test_an_output_that_can_not_be_kept_stops_the_resumption(root):
    """Before anything is stored or sent."""
    handle = execute_plan.delay(
        plan(image("image"), action("bad", actionDefinitionId="status", inputs={"code": 422, "name": "bad"}))
    )
    handle.get(timeout=TIMEOUT_S)
    [path] = (root / handle.id / "image").iterdir()
    path.unlink()
    with pytest.raises(StorageError, match="is not there"):
        resume_execution(handle.id)


def test_one_worker_an_hour_looks_for_what_has_expired(root):
    """By a task, which any worker may run."""
    client = app.backend.client
    execution_id, _ = run(image("image"))
    forget(execution_id)
    age(root, execution_id, 8 * 24 * 3600)
    # Not before: the worker asks once a minute, and might have the turn.
    client.delete("workflow_state:expiry")
    assert [publish_when_due(app) for _ in range(3)] == [True, False, False]
    wait_until(lambda: not (root / execution_id).exists(), "the worker removed the outputs")
    assert 0 < client.ttl("workflow_state:expiry") <= EXPIRE_EVERY_S


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("oci://key:hunter2@bucket/x", "oci:// is not installed"),
        ("file:///dev/null/x", "outputs can't be stored in /dev/null/x: "),
        ("outputs", "must be an absolute path"),
    ],
)
def test_a_worker_that_could_store_nothing_does_not_start(url, why):
    """One line says why, before any request is sent whose answer would be lost."""
    command = ["-m", "celery", "-A", "workflow_state", "worker"]
    environment = {**os.environ, "WORKFLOW_STATE_STORAGE_URL": url}
    done = run_python(command, env=environment, text=True)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: WORKFLOW_STATE_STORAGE_URL: ")
    assert why in last
    assert "hunter2" not in done.stdout + done.stderr
