"""The spans of two attempts of which the next begins before the one that failed has ended.

A worker has several threads: one may take the message of the next attempt while another still ends the attempt that
failed. Both attempts are one task with one id. Here two threads send Celery's own signals in that order.
"""

import pytest
from helpers.other_process import ask_in_another_process

SECRET = "what-the-server-said"
RUN = """
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from celery import signals
from celery.exceptions import Retry
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from workflow_state.engine import telemetry

exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
telemetry.instrument()
app.finalize()
telemetry._keep_spans_apart(SimpleNamespace(app=app))
task = app.tasks["workflow_state.execute_action"]

def begin(attempt):
    task.push_request(id="e.a", hostname="w")
    signals.task_prerun.send(sender=task, task_id="e.a", task=task, args=["e", "a"], kwargs={"attempt": attempt})

def tell_retry():
    reason = Retry("", WorkflowStateError("network_timeout: " + sys.argv[1]), 0.009)
    signals.task_retry.send(sender=task, request=task.request, reason=reason, einfo=None)

def end(state):
    signals.task_postrun.send(sender=task, task_id="e.a", task=task, args=[], kwargs={}, retval=None, state=state)
    task.pop_request()

first, second = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
first.submit(begin, 1).result()
first.submit(telemetry._tell_retry, "echo", "network_timeout").result()
second.submit(begin, 2).result()
first.submit(tell_retry).result()
first.submit(end, "RETRY").result()
second.submit(end, "SUCCESS").result()
print(json.dumps([dict(span.attributes) for span in exporter.get_finished_spans()]))
"""


@pytest.fixture(scope="module")
def spans():
    """Return the attributes of both spans."""
    return ask_in_another_process("redis://127.0.0.1:1/0", RUN, SECRET)


def test_no_span_quotes_why_an_attempt_failed(spans):
    """Whichever thread is first."""
    assert len(spans) == 2
    assert SECRET not in str(spans)


def test_each_attempt_has_its_own_span(spans):
    """The one that failed says why, by its category; both say how they ended."""
    told = [(span.get("celery.retry.reason"), span["celery.state"]) for span in spans]
    assert told == [("network_timeout", "RETRY"), (None, "SUCCESS")]
