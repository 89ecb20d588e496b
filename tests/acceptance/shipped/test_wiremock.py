"""Against somebody else's server: WireMock, whose own journal has to say the same as the traces in our states."""

import json
import shutil
import subprocess
import urllib.request

import pytest
from helpers.other_process import SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.servers import free_port
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

ENDED = """
import time
while (state := get_execution_state(sys.argv[1])).completed_at is None:
    time.sleep(0.1)
print(json.dumps(state.to_json_data()))
"""
POLICY = {"maxAttempts": 4, "initialDelayMs": 20, "maxDelayMs": 50, "backoffMultiplier": 2}
JSON = {"Content-Type": "application/json"}
BROKEN = {"empty", "garbage", "reset"}


def definition(name, method, path, **fields):
    return {"id": name, "endpoint": {"url": f"{{server}}{path}", "method": method}, "retryPolicy": POLICY, **fields}


KEY = {"type": "api_key", "header": "X-Key", "value": "k3y-of-tests"}
DEFINITIONS = [
    definition("customer", "GET", "/customers/{id}"),
    definition("search", "GET", "/search"),
    definition("order", "POST", "/orders"),
    definition("replace", "PUT", "/orders/{id}"),
    definition("remove", "DELETE", "/orders/{id}"),
    definition("flaky", "GET", "/flaky"),
    definition("broken", "GET", "/broken/{kind}"),
    definition("secret", "GET", "/secret", authentication=KEY),
]


def stub(method, path, value=None, **response):
    """Return what WireMock answers to a request."""
    answer = response if value is None else {"jsonBody": value, "headers": JSON, **response}
    return {"request": {"method": method, "urlPath": path}, "response": answer}


def refused_first(times, answer):
    """Return stubs that answer 503 so many times, and then like this one."""
    path = answer["request"]["urlPath"]
    stubs = [*(stub("GET", path, status=503) for _ in range(times)), answer]
    names = ["Started", *(f"after {number}" for number in range(1, times + 1)), "done"]
    return [
        {**item, "scenarioName": path, "requiredScenarioState": names[at], "newScenarioState": names[at + 1]}
        for at, item in enumerate(stubs)
    ]


STUBS = [
    stub("GET", "/customers/a%20b%2Fc", {"email": "a@b"}),
    stub("GET", "/search", {"found": 2}),
    stub("POST", "/orders", {"id": 7}, status=201),
    stub("PUT", "/orders/7", {"ok": True}),
    stub("DELETE", "/orders/7", status=204),
    stub("GET", "/broken/empty", fault="EMPTY_RESPONSE"),
    stub("GET", "/broken/garbage", fault="MALFORMED_RESPONSE_CHUNK"),
    stub("GET", "/broken/reset", fault="CONNECTION_RESET_BY_PEER"),
    stub("GET", "/secret", {"in": True}),
    *refused_first(2, stub("GET", "/flaky", {"n": 3})),
]


def ask(url, data=None):
    """Speak to WireMock's own interface."""
    request = urllib.request.Request(url, json.dumps(data).encode() if data else None, JSON)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())


@pytest.fixture(scope="module")
def wiremock(tmp_path_factory):
    """Run WireMock from its npm package, with the stubs."""
    if not (shutil.which("npm") and shutil.which("java")):
        pytest.skip("WireMock needs npm and Java")
    folder = tmp_path_factory.mktemp("wiremock")
    patience = ["--fetch-retries=0", "--fetch-timeout=15000"]
    install = ["npm", "install", "--no-audit", "--no-fund", *patience, "--prefix", str(folder), "wiremock@3.13.2"]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("WireMock can't be installed: the npm registry does not answer")
    if done.returncode:
        pytest.skip(f"WireMock can't be installed: {done.stderr.strip().splitlines()[-1]}")
    [jar] = folder.glob("node_modules/wiremock/build/*.jar")
    port = free_port()
    command = [
        "java",
        "-Xmx128m",
        "-jar",
        str(jar),
        "--port",
        str(port),
        "--bind-address",
        "127.0.0.1",
        "--disable-banner",
    ]
    with (folder / "wiremock.log").open("wb") as log:
        server = subprocess.Popen([*command, "--root-dir", str(folder)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def is_up():
        assert server.poll() is None, (folder / "wiremock.log").read_text()
        try:
            return ask(f"{url}/__admin/health")
        except OSError:
            return None

    try:
        wait_until(is_up, "WireMock answers", timeout_s=60)
        for mapping in STUBS:
            ask(f"{url}/__admin/mappings", mapping)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.usefixtures("redis_url")
def test_the_journal_says_what_the_traces_say(wiremock, tmp_path):
    """Every request, in order, with its method, URL, body and answer; and not one more."""
    text = json.dumps(DEFINITIONS).replace("{server}", wiremock)
    (tmp_path / "actions.json").write_text(text)
    variables = {"WORKFLOW_STATE_ACTIONS": str(tmp_path / "actions.json")}
    tolerated = {"errorHandling": {"continueOnFailure": True}}
    body = {"body.to": "${customer.output.email}", "body.n": 1.5}
    number = {"id": "${order.output.id}"}
    document = plan(
        action("customer", inputs={"id": "a b/c"}),
        action("search", inputs={"query.q": "1&admin=true#", "query.n": 5}),
        action("flaky", inputs={}),
        action("secret", inputs={}),
        *(action(kind, inputs={"kind": kind}, **tolerated) for kind in BROKEN),
        action("order", ["customer"], inputs=body),
        action("replace", ["order"], inputs={**number, "body": [1, None]}),
        action("remove", ["replace", "order"], inputs=number),
    )
    for item in document["actions"]:
        item["actionDefinitionId"] = "broken" if item["id"] in BROKEN else item["id"]
    with local_redis() as url, forked_worker(url, log_file=tmp_path / "worker.log", environment=variables):
        execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document), **variables)
        states = ask_in_another_process(url, ENDED, execution_id, **variables)["actionStates"]
    traces = [entry for state in states.values() for entry in state["httpTrace"]]
    recorded = by_url((entry["timestamp"], entry["request"], status_of(entry)) for entry in traces)
    requests = ask(f"{wiremock}/__admin/requests")["requests"]
    journal = by_url((entry["request"]["loggedDate"], read_request(entry), status_in(entry)) for entry in requests)
    assert recorded == journal
    assert len(journal[f"{wiremock}/flaky"]) == 3
    changing = [entry["request"] for entry in requests if entry["request"]["method"] != "GET"]
    keys = [request["headers"]["Idempotency-Key"] for request in changing]
    assert sorted(keys) == sorted(f"{execution_id}.{name}" for name in ("order", "replace", "remove"))
    assert {name for name, state in states.items() if state["status"] == "failed"} == BROKEN
    assert "k3y-of-tests" not in json.dumps(states)


def read_request(entry):
    """Return a request of WireMock's journal the way that a trace has it."""
    request = entry["request"]
    body = json.loads(request["body"]) if request["body"] else None
    return {"method": request["method"], "url": request["absoluteUrl"], "body": body}


def status_in(entry):
    """Return the status that WireMock has sent, unless it broke the answer off."""
    return None if entry["response"].get("fault") else entry["response"]["status"]


def status_of(entry):
    """Return the status that the trace has, unless the answer broke off."""
    response = entry.get("response")
    return None if response is None or entry.get("error", "").startswith("the connection broke") else response["status"]


def by_url(entries):
    """Return, for each URL, what came in which order: method, body and status."""
    found = {}
    for _, request, status in sorted(entries, key=lambda entry: entry[0]):
        found.setdefault(request["url"], []).append((request["method"], request.get("body"), status))
    return found
