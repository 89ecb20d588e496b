"""Where a trace could break: other pools, answers and messages from elsewhere, and requests that fail."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from helpers.http_service import Service
from helpers.other_process import ask_in_another_process
from helpers.otlp_collector import otlp_collector
from helpers.plans import action, plan
from helpers.servers import free_port
from helpers.waiting import wait_until

from workflow_state.engine.local import local_redis

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
TOKEN = "t0ken-of-the-telemetry/+=&"
MARKER = "an-input-of-the-telemetry"
CONFIRMATION = {"required": True, "title": "Send it?", "message": "It can't be taken back."}
DEFINITIONS = """
- id: echo
  endpoint: {{url: "{url}/echo/{{name}}", method: GET}}
- id: flaky
  endpoint: {{url: "{url}/flaky/{{failures}}/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 4, initialDelayMs: 20, maxDelayMs: 50, backoffMultiplier: 2}}
- id: secret
  endpoint: {{url: "{url}/echo/{{name}}", method: POST}}
  authentication: {{type: bearer, token: "${{env.TELEMETRY_TOKEN}}"}}
- id: gone
  endpoint: {{url: "http://127.0.0.1:{closed}/{{name}}", method: GET}}
  authentication: {{type: api_key, header: X-Api-Key, value: "${{env.TELEMETRY_TOKEN}}"}}
  retryPolicy: {{maxAttempts: 2, initialDelayMs: 20, maxDelayMs: 50, backoffMultiplier: 2}}
- id: restless
  endpoint: {{url: "http://127.0.0.1:{closed}/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 10, initialDelayMs: 1, maxDelayMs: 1, backoffMultiplier: 1}}
"""
# A worker in which the next attempt has begun before Celery tells that the one before it is retried.
SLOW_TO_TELL = """
import time
from workflow_state.celery import app
from workflow_state.executor import ActionTask
ActionTask.on_retry = lambda *_: time.sleep(0.05)
"""
CONFIRM = """
from workflow_state import confirm_action
*_, asked = get_execution_state(sys.argv[1]).confirmations
print(json.dumps(confirm_action(*sys.argv[1:], digest=asked.digest).action_id))
"""
LOSE = "print(json.dumps(client.delete('workflow_state')))"


@contextmanager
def instrumented(service_name, arguments, environment, log_file):
    """Run a command under `opentelemetry-instrument`."""
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [BIN / "opentelemetry-instrument", *arguments],
            env={**environment, "OTEL_SERVICE_NAME": service_name},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def engine(tmp_path_factory, service: Service):
    """Run a collector, a Redis and an API; yield what it takes to start a worker and to ask them."""
    folder = tmp_path_factory.mktemp("telemetry")
    definitions = folder / "actions.yaml"
    (folder / "slow_to_tell.py").write_text(SLOW_TO_TELL)
    definitions.write_text(DEFINITIONS.format(url=service.url, closed=free_port()))
    with otlp_collector() as collector, local_redis() as redis_url:
        variables = {
            "WORKFLOW_STATE_ACTIONS": str(definitions),
            "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
            "WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3",
            "TELEMETRY_TOKEN": TOKEN,
        }
        environment = {
            **os.environ,
            **variables,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "WORKFLOW_STATE_REDIS_URL": redis_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        port, metrics_port = free_port(), free_port()
        uvicorn = ["uvicorn", "--app-dir", str(ROOT / "examples" / "fastapi_app"), "app:app", f"--port={port}"]

        @contextmanager
        def worker(*arguments, app="workflow_state"):
            with_metrics = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port)}
            command = ["celery", "-A", app, "worker", "-E", "--without-mingle", "--without-gossip"]
            log_file = folder / "worker.log"
            with instrumented("worker", [*command, *arguments], {**environment, **with_metrics}, log_file) as process:
                yield process

        with (
            instrumented("api", uvicorn, environment, folder / "api.log"),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as api,
        ):

            def is_up():
                try:
                    return api.get("/openapi.json").is_success
                except httpx.HTTPError:
                    return False

            wait_until(is_up, "the API is up")
            ask = lambda code, *words: ask_in_another_process(redis_url, code, *words, **variables)  # noqa: E731
            yield {
                "api": api,
                "ask": ask,
                "collector": collector,
                "metrics": f"http://127.0.0.1:{metrics_port}/metrics",
                "redis_url": redis_url,
                "worker": worker,
            }


def submit(engine, document):
    answer = engine["api"].post("/executions", json=document).raise_for_status()
    return answer.json()["id"]


def wait_for(engine, execution_id, status):
    def has_it():
        state = engine["api"].get(f"/executions/{execution_id}").json()
        return state if state["status"] == status else None

    return wait_until(has_it, f"{execution_id} is {status}")


def test_every_request_is_below_the_call_that_submitted_its_plan(engine, service: Service):
    """After a retry, and a confirmation that another process gives while no worker runs; in both pools."""
    collector = engine["collector"]
    name = uuid4().hex
    document = plan(
        action("try_it", actionDefinitionId="flaky", inputs={"failures": 1, "name": name}),
        action("ask", ["try_it"], userConfirmation=CONFIRMATION),
        first=[],
        last=["ask", "first"],
    )
    with engine["worker"]():
        execution_id = submit(engine, document)
        wait_for(engine, execution_id, "paused_for_confirmation")
    # No process of this is left but the API, and it is not asked: the answer comes from one that is not traced.
    assert engine["ask"](CONFIRM, execution_id, "ask") == "ask"
    with engine["worker"]("--pool", "processes", "--concurrency", "2"):
        wait_for(engine, execution_id, "completed")
        wait_until(lambda: collector.of_action(execution_id, "last"), "the last action's span has come")
    runs = {action_id: collector.of_action(execution_id, action_id) for action_id in ("first", "try_it", "ask", "last")}
    assert {action_id: len(spans) for action_id, spans in runs.items()} == {
        "first": 1,
        "try_it": 2,
        # Once to ask, and once to send.
        "ask": 2,
        "last": 1,
    }
    attempts = sorted(span.attributes["workflow_state.action.attempt"] for span in runs["try_it"])
    assert attempts == [1, 2]
    requests = {
        key: [span for run in spans for span in collector.below(run) if span.name == "GET"]
        for key, spans in runs.items()
    }
    assert {key: len(spans) for key, spans in requests.items()} == {"first": 1, "try_it": 2, "ask": 1, "last": 1}
    assert sorted(span.attributes["http.response.status_code"] for span in requests["try_it"]) == [200, 503]
    levels = {"first": 0, "try_it": 0, "ask": 1, "last": 2}
    for action_id, spans in requests.items():
        for span in spans:
            run, publishing, level, execution, root = collector.ancestors(span)
            assert run in runs[action_id]
            assert publishing.name == "apply_async/workflow_state.execute_action"
            assert level.attributes["workflow_state.level"] == levels[action_id]
            assert execution.name == "submit execution"
            assert (root.name, root.service, root.parent_id) == ("POST /executions", "api", b"")
            for told in (run, level, execution):
                assert told.attributes["workflow_state.execution.id"] == execution_id
                assert told.attributes["workflow_state.plan.name"] == document["name"]
                assert told.attributes["workflow_state.plan.id"]
    ended = [span for span in collector.spans if span.attributes.get("workflow_state.status") == "completed"]
    assert {"run/workflow_state.execute_level", "run/workflow_state.execute_action"} == {span.name for span in ended}
    # The server can go on with the trace.
    sent = service.requests_to(f"/flaky/1/{name}")
    trace_id = requests["try_it"][0].trace_id.hex()
    ids = {span.id.hex() for span in requests["try_it"]}
    assert {tuple(entry["headers"]["traceparent"].split("-")[1:3]) for entry in sent} == {
        (trace_id, id_) for id_ in ids
    }


@pytest.mark.parametrize("lost", ["first", "level"])
def test_what_the_sweep_publishes_again_stays_in_the_tree(engine, lost):
    """The message of a plan that was just submitted, and that of an action whose level has begun."""
    collector, ask = engine["collector"], engine["ask"]
    document = plan(action("late", ["ask"]), action("ask", userConfirmation=CONFIRMATION))
    execution_id = submit(engine, document)
    if lost == "level":
        with engine["worker"]():
            wait_for(engine, execution_id, "paused_for_confirmation")
        assert ask(CONFIRM, execution_id, "ask") == "ask"
    assert ask(LOSE) == 1
    with engine["worker"]():
        if lost == "first":
            wait_for(engine, execution_id, "paused_for_confirmation")
            (asked,) = engine["api"].get(f"/executions/{execution_id}").json()["confirmations"]
            told = {"confirmed": True, "digest": asked["digest"]}
            engine["api"].post(f"/executions/{execution_id}/actions/ask/confirmation", json=told)
        wait_for(engine, execution_id, "completed")
        wait_until(lambda: collector.of_action(execution_id, "late"), "the action's span has come")
    for action_id in ("ask", "late"):
        sent = [span for span in collector.of_action(execution_id, action_id) if collector.below(span)]
        assert sent
        for span in sent:
            assert span.attributes["workflow_state.action.attempt"] == 1
            *_, execution, root = collector.ancestors(span)
            assert (execution.name, root.name) == ("submit execution", "POST /executions")


def test_no_secret_and_no_input_is_in_a_span(engine):
    """Not of a request that is answered, refused, or can't be sent, nor why it is tried again."""
    collector = engine["collector"]
    tolerated = {"errorHandling": {"continueOnFailure": True}}
    inputs = {"name": MARKER, "query.api_key": MARKER, "query.q": MARKER, "header.X-Own": MARKER, "body.text": MARKER}
    document = plan(
        action("answered", actionDefinitionId="secret", inputs=inputs),
        action("not_sent", actionDefinitionId="gone", inputs={"name": MARKER, "query.q": MARKER}, **tolerated),
        action(
            "refused", actionDefinitionId="secret", inputs={"name": MARKER, "header.X-Own": f"{MARKER}\n"}, **tolerated
        ),
    )
    with engine["worker"]():
        execution_id = submit(engine, document)
        state = wait_for(engine, execution_id, "completed")
        spans = wait_until(
            lambda: len(found := collector.of_action(execution_id, "not_sent")) == 2 and found, "both attempts' spans"
        )
        wait_until(lambda: all(collector.of_action(execution_id, name) for name in state["actionStates"]), "all spans")
    assert MARKER in json.dumps(state)
    assert {span.attributes.get("celery.retry.reason") for span in spans} == {"network_connection_refused", None}
    for span in spans:
        (request,) = [other for other in collector.below(span) if other.name == "GET"]
        assert request.is_error
        assert request.attributes["error.type"] == "ConnectError"
        assert request.attributes.keys() <= {"http.request.method", "server.address", "server.port", "error.type"}
    told = "".join(collector.text)
    assert execution_id in told
    for text in (MARKER, TOKEN, "/echo/", httpx.URL(f"http://x/?{TOKEN}").query.decode(), "traceback"):
        assert text not in told


def test_a_retry_says_its_category_however_soon_it_follows(engine):
    """The next attempt may begin in the same worker before Celery has told of the one that failed.

    Celery's instrumentation then took the one's span for the other's, and wrote the whole error into it.
    """
    collector = engine["collector"]
    names = [f"restless{number}" for number in range(12)]
    tolerated = {"errorHandling": {"continueOnFailure": True}}
    document = plan(*(action(name, actionDefinitionId="restless", **tolerated) for name in names))
    with engine["worker"](app="slow_to_tell"):
        execution_id = submit(engine, document)
        wait_for(engine, execution_id, "completed")
        spans = {name: [] for name in names}

        def have_come():
            spans.update({name: collector.of_action(execution_id, name) for name in names})
            return all(len(found) == 10 for found in spans.values())

        wait_until(have_come, "the spans of all attempts have come")
    for found in spans.values():
        reasons = {span.attributes["workflow_state.action.attempt"]: reason_of(span) for span in found}
        assert reasons == {**dict.fromkeys(range(1, 10), "network_connection_refused"), 10: None}


def reason_of(span):
    """Return why a task says that it is retried, or None."""
    return span.attributes.get("celery.retry.reason")


def test_where_nothing_is_instrumented_nothing_is_followed():
    """That the packages are installed is not enough (redis-py imports them by itself, to see whether it is wanted)."""
    code = "import sys, workflow_state; print('workflow_state.engine.telemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
