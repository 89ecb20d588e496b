"""Metrics of a real worker, as Prometheus reads them; the traces are in test_trace_trees.py."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.pages.markdown import ROOT
from helpers.plans import action, plan
from helpers.servers import free_port
from helpers.waiting import wait_until

from workflow_state.engine.local import local_redis

pytest.importorskip("opentelemetry.instrumentation.celery")

PROMETHEUS = shutil.which("prometheus")
TELEMETRY = ROOT / "docs" / "how-to" / "traces-and-metrics.md"
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


@pytest.fixture
def redis(redis_url):
    """Run a Redis that no other worker is on."""
    with local_redis() as url:
        yield url


@contextmanager
def worker_with_metrics(redis, tmp_path, monkeypatch):
    """Run a worker whose metrics are read at the port that is yielded."""
    port = free_port()
    monkeypatch.setenv("WORKFLOW_STATE_REDIS_URL", redis)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(port))
    command = [INSTRUMENT, sys.executable, "-m", "celery", "-A", "workflow_state", "worker"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)


def test_metrics_are_exposed_as_documented(redis, tmp_path, monkeypatch):
    """By the worker itself: every name that the page on metrics asks for is there, and counts what happened."""
    with worker_with_metrics(redis, tmp_path, monkeypatch) as port:
        inputs = {"failures": 1, "name": uuid4().hex}
        document = plan(action("a", actionDefinitionId="flaky", inputs=inputs))
        execution_id = ask_in_another_process(redis, SUBMIT, json.dumps(document))
        wait_until(
            lambda: ask_in_another_process(redis, STATE, execution_id)["status"] == "completed", "it ends", timeout_s=60
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    series = {re.sub(r'otel_scope_\w+="[^"]*",?', "", line).replace(",}", "}") for line in text.splitlines()}
    assert 'workflow_state_execution_duration_seconds_count{status="completed"} 1.0' in series
    assert 'workflow_state_action_retries_total{category="api_unexpected_status",definition="flaky"} 1.0' in series
    asked = set(re.findall(r"\bworkflow_state_\w+", TELEMETRY.read_text()))
    assert asked
    assert {name for name in asked if f"\n{name}" not in text} == set()


@pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus")
def test_the_queries_for_a_dashboard_have_answers(redis, tmp_path, monkeypatch):
    """Each one of the page on metrics, in a Prometheus that reads a worker which runs, retries and fails actions."""
    with worker_with_metrics(redis, tmp_path, monkeypatch) as port:
        scrape = {"job_name": "workflow_state", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        configuration = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": [scrape]}
        (tmp_path / "prometheus.json").write_text(json.dumps(configuration))
        address = f"127.0.0.1:{free_port()}"
        options = ["--config.file=prometheus.json", "--storage.tsdb.path=series", f"--web.listen-address={address}"]
        with (tmp_path / "prometheus.log").open("wb") as log:
            prometheus = subprocess.Popen([PROMETHEUS, *options], cwd=tmp_path, stdout=log, stderr=log)
        try:

            def ask(query):
                with suppress(httpx.TransportError):
                    answer = httpx.get(f"http://{address}/api/v1/query", params={"query": query}).json()
                    assert answer["status"] == "success", (query, answer)
                    return answer["data"]["result"]
                return []

            wait_until(lambda: ask("up == 1"), "it reads the worker")
            queries = re.findall(r"^\| [^|]+ \| `(.+)` \|$", TELEMETRY.read_text(), re.MULTILINE)
            unanswered = set(queries)

            def all_answered():
                flaky = action("a", actionDefinitionId="flaky", inputs={"failures": 1, "name": uuid4().hex})
                failing = action("b", actionDefinitionId="status", inputs={"code": 404, "name": "b"})
                ask_in_another_process(redis, SUBMIT, json.dumps(plan(flaky, failing)))
                unanswered.difference_update({query for query in unanswered if ask(query)})
                return not unanswered

            assert len(queries) >= 6
            wait_until(all_answered, "each query has an answer", timeout_s=60)
        finally:
            prometheus.terminate()
            prometheus.wait(30)
