"""Metrics of a real worker, as Prometheus reads them; the traces are in test_trace_trees.py."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from uuid import uuid4

import pytest
from markdown import ROOT
from plans import action, plan
from processes import STATE, SUBMIT, ask_in_another_process
from support import free_port, wait_until

from workflow_state.local import local_redis

pytest.importorskip("opentelemetry.instrumentation.celery")

INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


@pytest.fixture
def redis(redis_url):
    """Run a Redis that no other worker is on."""
    with local_redis() as url:
        yield url


def test_metrics_are_exposed_as_documented(redis, tmp_path, monkeypatch):
    """By the worker itself: every name that docs/telemetry.md asks for is there, and counts what happened."""
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
        inputs = {"failures": 1, "name": uuid4().hex}
        document = plan(action("a", actionDefinitionId="flaky", inputs=inputs))
        execution_id = ask_in_another_process(redis, SUBMIT, json.dumps(document))
        wait_until(
            lambda: ask_in_another_process(redis, STATE, execution_id)["status"] == "completed", "it ends", timeout_s=60
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        process.terminate()
        process.wait(30)
    series = {re.sub(r'otel_scope_\w+="[^"]*",?', "", line).replace(",}", "}") for line in text.splitlines()}
    assert 'workflow_state_execution_duration_seconds_count{status="completed"} 1.0' in series
    assert 'workflow_state_action_retries_total{category="api_unexpected_status",definition="flaky"} 1.0' in series
    asked = set(re.findall(r"\bworkflow_state_\w+", (ROOT / "docs" / "telemetry.md").read_text()))
    assert asked
    assert {name for name in asked if f"\n{name}" not in text} == set()
