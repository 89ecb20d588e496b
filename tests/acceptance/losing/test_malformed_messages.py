"""Whatever is on the queue, the worker lives on: a message that can't be carried out is dropped once, and said so."""

import base64
import copy
import json
from dataclasses import fields
from pathlib import Path

import pytest
from helpers.http_service import http_service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import plan
from helpers.servers import client_of
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis
from workflow_state.engine.messages import ActionMessage

QUEUE = "workflow_state"
SECRET = "s3cret-in-a-message"
UNACKED, UNACKED_INDEX = "workflow_state:unacked", "workflow_state:unacked_index"
DROPPED = "Dropped a malformed message"
TASKS = ["execute_plan", "execute_level", "execute_action", "expire_outputs"]
WRONG = [
    None,
    1,
    -1,
    1.5,
    10**40,
    True,
    "",
    "x",
    SECRET,
    "\ud800",
    "x" * 5_000,
    [],
    [1],
    [None, SECRET],
    {},
    {"a": SECRET},
]
WRONG += [{"__type__": "datetime", "__value__": SECRET}]
FIELDS = [
    *(("body",), ("content-type",), ("content-encoding",), ("headers",), ("properties",)),
    *(("properties", name) for name in ("delivery_tag", "delivery_info", "body_encoding", "priority", "reply_to")),
    *(("properties", name) for name in ("correlation_id", "delivery_mode")),
    *(("properties", "delivery_info", name) for name in ("exchange", "routing_key", "redelivered")),
    *(("headers", name) for name in ("id", "task", "lang", "root_id", "parent_id", "group", "group_index", "eta")),
    *(("headers", name) for name in ("expires", "retries", "timelimit", "argsrepr", "kwargsrepr", "origin", "shadow")),
    *(("headers", name) for name in ("ignore_result", "stamps", "stamped_headers", "compression", "redelivered")),
    *(("headers", name) for name in ("replaced_task_nesting", "meth", "args", "chord", "workflow_state_trace")),
]
# What a message is called is in the log.
NAMES = ("id", "task", "shadow")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Run a Redis, an HTTP service and one worker, of which nothing is to die."""
    folder = tmp_path_factory.mktemp("malformed")
    with http_service() as service, local_redis() as url, client_of(url) as client:
        (folder / "actions.yaml").write_text(f'- {{id: echo, endpoint: {{url: "{service.url}/echo/{{name}}"}}}}\n')
        environment = {
            "WORKFLOW_STATE_ACTIONS": str(folder / "actions.yaml"),
            "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
            "WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3",
        }
        with forked_worker(url, log_file=folder / "worker.log", environment=environment) as worker:
            yield Stage(url, client, worker, folder / "worker.log", environment)


class Stage:
    """What the tests put messages on, and look at."""

    def __init__(self, url, client, worker, log: Path, environment):
        self.url, self.client, self.worker, self.log, self.environment = url, client, worker, log, environment

    def push(self, *messages):
        """Put these bytes on the queue, run a plan after them, and return how many of them were dropped."""
        before = self.dropped()
        self.client.lpush(QUEUE, *messages)
        wait_until(self.is_idle, "all is dealt with", 60)
        self.assert_canary_sings()
        return self.dropped() - before

    def is_idle(self):
        """Return whether nothing is on the queue or with the worker, which must be there."""
        assert self.worker.poll() is None, self.log.read_text()[-5_000:]
        return not self.client.exists(QUEUE) and not self.client.hlen(UNACKED)

    def dropped(self):
        """Return how many messages the worker has said that it dropped."""
        return self.log.read_text().count(DROPPED)

    def assert_canary_sings(self):
        """Run a plan, in the worker that has been there from the beginning."""
        execution_id = ask_in_another_process(self.url, SUBMIT, json.dumps(plan(a=[], b=["a"])), **self.environment)

        def ended():
            state = ask_in_another_process(self.url, STATE, execution_id, **self.environment)
            return state["status"] != "running" and state["status"] != "initializing" and state

        assert wait_until(ended, "the canary's plan ends", 20)["status"] == "completed"
        assert self.worker.poll() is None
        log = self.log.read_text()
        assert SECRET not in log
        assert base64.b64encode(SECRET.encode()).decode() not in log
        assert "Unrecoverable error" not in log
        assert all(len(line) < 500 for line in log.splitlines() if DROPPED in line)


def message(task="execute_action", body=None, **headers):
    """Return a message as ours are: of an execution that there is not."""
    arguments = {
        "execute_plan": [[{"name": SECRET}], {}],
        "execute_level": [[1], {}],
        "execute_action": [["no-such-execution", "a", "echo"], {}],
        "expire_outputs": [[], {}],
    }
    links = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return {
        "body": json.dumps([*arguments[task], links] if body is None else body),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": f"workflow_state.{task}", "id": "no-such-execution.a", **headers},
        "properties": {
            "delivery_tag": "no-such-tag",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": 0,
        },
    }


def written(document):
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "body", ["[1]", "{}", "null", '"x"', "", "[", "[[], {}]", "[[], {}, {}, {}]", "[null, null, null]"]
)
def test_a_body_that_is_no_body_is_dropped_once(stage, body):
    """With the examples that ended every worker that was started again."""
    assert stage.push(written({**message(), "body": body})) == 1


def test_an_id_that_is_a_list_is_dropped_once(stage):
    assert stage.push(written(message(id=["a"]))) == 1


def test_what_is_no_message_is_dropped_once(stage):
    garbage = [
        *(
            b"\x00\xff",
            b"\xff\xfe",
            b"no JSON " + SECRET.encode(),
            b"null",
            b"[1]",
            b"{}",
            b'"x"',
            b"1",
            b"1e999",
            b"{",
        ),
        *(b"[" * 100_000, b"[" * 200 + b"]" * 200, b'{"properties": {}}', b'{"body": "e30=", "headers": {}}'),
        b'{"__type__": "uuid", "__value__": "' + SECRET.encode() + b'"}',
        b'{"__type__": "decimal", "__value__": "' + SECRET.encode() + b'"}',
        b'{"__type__": ["datetime"], "__value__": 1}',
        b'{"__type__": "bytes", "__value__": {"a": 1}}',
    ]
    assert stage.push(*garbage) == len(garbage)


def test_a_field_of_any_type_or_none_ends_no_worker(stage):
    """Each field that kombu or Celery reads, with each kind of value, and without."""
    hostile = []
    for path in FIELDS:
        for wrong in [*WRONG, "missing"]:
            if path[-1] in NAMES and wrong == SECRET:
                continue
            changed = copy.deepcopy(message())
            holder = changed
            for name in path[:-1]:
                holder = holder[name]
            if wrong == "missing":
                holder.pop(path[-1], None)
            else:
                holder[path[-1]] = wrong
            hostile.append(written(changed))
    assert len(hostile) > 500
    assert stage.push(*hostile) > 200


def test_arguments_of_any_type_end_no_worker(stage):
    """Of each of our tasks: in its place, as a keyword, one too many, and none."""
    hostile = []
    for task in TASKS:
        args, kwargs, links = json.loads(message(task)["body"])
        for wrong in WRONG:
            if wrong == SECRET:
                # An id, which is in the log.
                continue
            hostile += [
                written(message(task, [[*args[:at], wrong, *args[at + 1 :]], kwargs, links])) for at in range(len(args))
            ]
            hostile += [
                written(message(task, [args, {**kwargs, name: wrong}, links]))
                for name in (*(field.name for field in fields(ActionMessage)), "plan", "level", "no_such")
            ]
            hostile += [
                written(message(task, [args, kwargs, {**links, name: wrong}]))
                for name in (*links, "id", "retries", "x", "reply_to", "delivery_info", "properties")
            ]
            hostile += [written(message(task, [args, kwargs, wrong])), written(message(task, [args, wrong, links]))]
            hostile += [written(message(task, [wrong, kwargs, links])), written(message(task, wrong))]
    assert stage.push(*hostile) > len(hostile) / 3


def test_a_body_in_another_form_ends_no_worker(stage):
    """Base64 that is none, compression that is none, and a serializer that is not accepted."""
    pickled = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    in_base64 = message()
    in_base64["properties"]["body_encoding"] = "base64"
    bodies = ["!!!", "e30", base64.b64encode(b"\xff\xfe").decode(), base64.b64encode(SECRET.encode()).decode()]
    hostile = [
        written({**message(), **pickled}),
        written({**message(), "content-type": "application/x-yaml"}),
        written({**message(), "content-type": "no/such"}),
        written({**message(), "content-encoding": "no-such"}),
        written(message(compression="gzip")),
        written(message(compression="no-such")),
        *(written({**in_base64, "body": body}) for body in bodies),
    ]
    assert stage.push(*hostile) >= len(hostile) - 1


def test_a_note_that_is_garbage_is_dropped_once(stage):
    """What is noted of messages that a dead worker held, and holds back none of the others."""
    notes = {
        "no-json": b"\x00\xff",
        "null": b"null",
        "a-list": b"[1]",
        "no-message": b'[[1], "", "workflow_state"]',
        "no-queue": json.dumps([message(), None, 5]),
        "no-headers": json.dumps([{**message(), "headers": SECRET}, "", QUEUE]),
        "deep": b"[" * 100_000,
        "good": json.dumps([message("execute_level"), "", QUEUE]),
    }
    before = stage.dropped()
    stage.client.hset(UNACKED, mapping=notes)
    stage.client.zadd(UNACKED_INDEX, dict.fromkeys([*notes, "of-nothing"], 1))
    wait_until(lambda: not stage.client.exists(UNACKED, UNACKED_INDEX), "nothing is noted any more", 30)
    stage.assert_canary_sings()
    assert stage.dropped() - before == len(notes) - 1
