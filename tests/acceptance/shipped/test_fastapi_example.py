"""examples/fastapi_app over HTTP: a real uvicorn, a real worker, a real Redis."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from helpers.forked_python import start_python
from helpers.http_service import Service
from helpers.plans import action, plan
from helpers.servers import client_of, free_port
from helpers.waiting import in_time, wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
CONFIRMATION = {"required": True, "title": "Send it?", "message": "It can't be taken back."}


@contextmanager
def api_on(redis_url, log_file, **variables):
    """Run `uvicorn --app-dir examples/fastapi_app app:app`, and yield its address."""
    port = free_port()
    command = ["-m", "uvicorn", "--app-dir", EXAMPLES / "fastapi_app", "app:app", f"--port={port}"]
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": redis_url, **variables}
    with log_file.open("wb") as log:
        process = start_python(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: b"Uvicorn running" in log_file.read_bytes() or process.poll() is not None, "uvicorn runs")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Return where the API's log goes."""
    return tmp_path_factory.mktemp("api") / "api.log"


@pytest.fixture(scope="module")
def url(redis_url, worker, log):
    """Run the API beside the worker of all acceptance tests."""
    with api_on(redis_url, log) as address:
        yield address


@pytest.fixture
def api(url):
    """Return a client of the API."""
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


def ended(api, execution_id):
    """Return the state once the execution has ended."""

    def look():
        state = api.get(f"/executions/{execution_id}").raise_for_status().json()
        return state if state["status"] in ("completed", "failed", "cancelled") else None

    return wait_until(look, f"{execution_id} ends")


def read_events(api, execution_id, on_change=lambda _: None):
    """Return the events of an execution up to the end of the stream: (event, id, data)."""
    found, fields = [], {}
    with api.stream("GET", f"/executions/{execution_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
                if fields["event"] == "change":
                    on_change(found[-1][2])
                fields = {}
    return found


def test_a_plan_is_submitted_and_its_state_read(api):
    """The answer has the id, and where the state is."""
    answer = api.post("/executions", json=plan(a=[], b=["a"]))
    assert answer.status_code == 202
    execution_id = answer.json()["id"]
    assert answer.headers["location"] == f"/executions/{execution_id}"
    state = ended(api, execution_id)
    assert state["status"] == "completed"
    assert state["actionStates"]["b"]["result"]["output"]["name"] == "b"


def test_a_bad_plan_is_refused_with_what_repairs_it(api):
    """Every problem in one answer; the plan is accepted once they are mended."""
    document = plan(a=["a"], b=["nowhere"])
    answer = api.post("/executions", json=document)
    assert answer.status_code == 422
    problems = answer.json()["problems"]
    assert {problem["code"] for problem in problems} == {"self_dependency", "unknown_dependency"}
    assert all(problem["path"].startswith("/actions/") and problem["message"] for problem in problems)
    document["actions"][0]["dependencies"] = document["actions"][1]["dependencies"] = []
    assert api.post("/executions", json=document).status_code == 202


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "schema"), (b"{", "schema"), (b'{"name": "\xff"}', "schema"), (b"[" * 6 * 2**20, "plan_too_large")],
    ids=["empty", "no JSON", "no UTF-8", "endless"],
)
def test_what_is_no_plan_is_refused_in_the_same_form(api, body, code):
    """A client has one way to read what is wrong."""
    answer = api.post("/executions", content=body)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["code"] == code


def test_submitting_again_under_one_key_starts_nothing_new(api, service: Service):
    """The key is the execution's id; another plan under it is a conflict, and what can't be an id is refused."""
    key = f"order-{uuid4().hex}"
    name = uuid4().hex
    document = plan(action("a", inputs={"name": name}))
    answers = [
        api.post("/executions", json=document, headers={"Idempotency-Key": text}) for text in (key, key, f'"{key}"')
    ]
    assert [(answer.status_code, answer.json()["id"]) for answer in answers] == [(202, key)] * 3
    assert ended(api, key)["status"] == "completed"
    assert len(service.requests_to(f"/echo/{name}")) == 1
    other = api.post("/executions", json=plan(b=[]), headers={"Idempotency-Key": key})
    assert other.status_code == 409
    assert key in other.json()["error"]
    assert api.post("/executions", json=document, headers={"Idempotency-Key": "no id"}).status_code == 400


def test_events_tell_each_change_and_end_with_the_execution(api):
    """The first has every action, the next what changed; a question is in them, and its answer lets the plan go on."""
    document = plan(
        action("ask", ["first"], actionDefinitionId="secret", userConfirmation=CONFIRMATION),
        first=[],
        last=["ask"],
    )
    execution_id = api.post("/executions", json=document).json()["id"]

    def answer(change):
        for question in change["questions"]:
            told = {"confirmed": True, "userId": "ada", "digest": question["digest"]}
            path = f"/executions/{execution_id}/actions/{question['actionId']}/confirmation"
            assert api.post(path, json=told).json()["userId"] == "ada"

    found = read_events(api, execution_id, answer)
    assert [event for event, _, _ in found] == ["change"] * (len(found) - 1) + ["end"]
    changes = [data for _, _, data in found[:-1]]
    assert changes[0]["actions"].keys() == {"first", "ask", "last"}
    assert changes[-1]["status"] == "completed"
    assert all(change["actions"] or change["questions"] or change["status"] for change in changes)
    versions = [int(number) for _, number, _ in found[:-1]]
    assert versions == sorted(set(versions))
    seen = {}
    for change in changes:
        seen |= {name: item["status"] for name, item in change["actions"].items()}
    assert seen == {"first": "completed", "ask": "completed", "last": "completed"}
    path, late = f"/executions/{execution_id}/actions/ask/confirmation", {"confirmed": False}
    assert api.post(path, json=late).status_code == 422
    again = api.post(path, json=late | {"digest": "0" * 64})
    assert again.status_code == 409
    assert "ada" in again.json()["error"]
    # Of one that has ended there are events too: its end.
    assert [event for event, _, _ in read_events(api, execution_id)] == ["change", "end"]


def test_cancelling_ends_the_stream_of_events(api):
    """It may be asked for twice."""
    execution_id = api.post("/executions", json=plan(action("ask", userConfirmation=CONFIRMATION))).json()["id"]

    def cancel(change):
        if change["questions"]:
            for _ in range(2):
                assert api.post(f"/executions/{execution_id}/cancel").status_code == 202

    *_, (_, _, last), (end, _, _) = read_events(api, execution_id, cancel)
    assert (last["status"], end) == ("cancelled", "end")


def test_what_there_is_not_is_not_found(api):
    """For each of the endpoints, the stream of events too."""
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/events", None),
        ("POST", "/cancel", None),
        ("POST", "/actions/a/confirmation", {"confirmed": True, "digest": "0" * 64}),
    ):
        answer = api.request(method, f"/executions/{uuid4()}{path}", json=body)
        assert answer.status_code == 404
        assert "there is no execution" in answer.json()["error"]


def test_ten_slow_clients_do_not_hold_up_a_state(api, url):
    """Ten that do not read their events, and ten that never finish to send their plan."""
    waiting = plan(action("ask", userConfirmation=CONFIRMATION), *(action(f"a{number}") for number in range(200)))
    slow_id = api.post("/executions", json=waiting).json()["id"]
    host, port = urlsplit(url).netloc.split(":")
    requests = (
        f"GET /executions/{slow_id}/events HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"POST /executions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n" + '{"name": ',
    )
    with ExitStack() as stack:
        for request in requests * 10:
            connection = stack.enter_context(socket.socket())
            # As little as there can be of what nobody reads.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.connect((host, int(port)))
            connection.sendall(request.encode())
        quick = in_time(1, lambda: api.get(f"/executions/{slow_id}").raise_for_status().json())
        assert quick["id"] == slow_id
        assert in_time(2, lambda: ended(api, api.post("/executions", json=plan(a=[])).json()["id"]))
    api.post(f"/executions/{slow_id}/cancel")
    assert ended(api, slow_id)["status"] == "cancelled"


def test_an_execution_that_nobody_follows_is_not_read(api, redis_url, log):
    """The watcher ends with its last client, however that one goes; and two clients have one watcher."""
    execution_id = api.post("/executions", json=plan(action("ask", userConfirmation=CONFIRMATION))).json()["id"]
    path = f"/executions/{execution_id}/events"
    with client_of(redis_url) as client:

        def reads_in(seconds):
            before = client.info("commandstats")["cmdstat_hgetall"]["calls"]
            time.sleep(seconds)
            return client.info("commandstats")["cmdstat_hgetall"]["calls"] - before

        with api.stream("GET", path) as one, httpx.stream("GET", f"{api.base_url}{path}", timeout=30) as other:
            lines = [one.iter_lines(), other.iter_lines()]
            assert all(next(line) for line in lines)
            # Two reads each time, four times a second.
            assert 0 < reads_in(1) <= 10
        wait_until(lambda: reads_in(0.5) == 0, "nobody reads the state any more")
    api.post(f"/executions/{execution_id}/cancel")
    assert "Traceback" not in log.read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_commands_of_its_readme_work(tmp_path):
    """Each curl command of the README, against what the commands above them start."""
    port = free_port()
    definitions = (EXAMPLES / "actions" / "httpbin.yaml").read_text()
    (tmp_path / "httpbin.yaml").write_text(re.sub(r"\b18081\b", str(port), definitions))
    variables = {
        "WORKFLOW_STATE_ACTIONS": str(tmp_path),
        "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
        "DEMO_TOKEN": "a",
        "DEMO_API_KEY": "b",
    }
    readme = (EXAMPLES / "fastapi_app" / "README.md").read_text()
    commands = [line.partition(" #")[0] for line in readme.splitlines() if line.startswith("curl ")]
    service = subprocess.Popen([sys.executable, EXAMPLES / "demo_service.py", str(port)], stdout=subprocess.PIPE)
    try:
        assert service.stdout.readline() == b"ready\n"
        with (
            local_redis() as url,
            forked_worker(url, environment=variables, log_file=tmp_path / "worker.log"),
            api_on(url, tmp_path / "api.log", **variables) as address,
            httpx.Client(base_url=address, timeout=30) as api,
        ):
            printed, digest = [], ""
            for command in commands:
                if "/actions/pay/" in command:
                    wait_until(lambda: '"digest"' in api.get("/executions/order-17").text, "it asks")
                    (question,) = api.get("/executions/order-17").json()["confirmations"]
                    digest = question["digest"]
                # A person has time to look before the next command.
                if command.endswith("/cancel"):
                    ended(api, "order-17")
                told = command.replace("localhost:8000", address).replace("DIGEST", digest).removesuffix("&").strip()
                if "/events" in command:
                    events = subprocess.Popen(told, shell=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S602
                    continue
                done = subprocess.run(told, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S602
                printed.append(json.loads(done.stdout))
            stream = events.communicate(timeout=30)[0]
            assert printed[0] == printed[1] == {"id": "order-17"}
            assert printed[2]["id"] == "order-17"
            assert printed[3]["confirmed"] is True
            assert ended(api, printed[4]["id"])["status"] == "completed"
            assert printed[5] == {"id": "order-17", "status": "completed"}
            assert printed[6]["problems"][0]["suggestion"]
            assert '"status":"completed"' in stream.replace(" ", "")
            assert stream.rstrip().endswith("data: {}")
    finally:
        service.terminate()
        service.wait()
        service.stdout.close()


def test_redis_away_is_503_and_says_nothing_of_where_it_is(tmp_path, definitions):
    """The answer comes in the time that the connection's attempts take."""
    gone = f"redis://127.0.0.1:{free_port()}/0"
    with api_on(gone, tmp_path / "api.log") as address, httpx.Client(base_url=address, timeout=60) as api:
        answers = [api.get("/executions/x"), api.post("/executions", json=plan(a=[]))]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "127.0.0.1" not in answer.text
