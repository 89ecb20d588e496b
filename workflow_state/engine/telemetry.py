"""OpenTelemetry: one tree of spans for an execution, and metrics.

`workflow_state` imports this module where Celery has been instrumented before (`opentelemetry-instrument celery …`). An
application that sets OpenTelemetry up in code calls `instrument`. The rest of the code knows only `hooks`.

Celery's instrumentation puts each task below whatever published it. That is often no good parent: another action (the
last one of a level publishes the next level), an attempt that failed, the request in which a person answered, or the
timer of a worker. So each message keeps the parent that it had when it was first published, in a header of its own. An
action's parent is its level. The parent of a level is where the execution was submitted. Retries, messages that wait
for an answer, and messages that the sweep publishes again keep the header: they are made of the request that they
follow.

Spans have ids, names and numbers. What a plan, a server or an exception says may hold secrets, and is left out. So is
the URL of a request, which is why httpx's instrumentation is not used.
"""

import http
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celery import current_task
from celery.signals import before_task_publish, task_prerun, task_retry, task_success, worker_init, worker_ready
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.celery.utils import CTX_KEY
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.propagate import get_global_textmap, inject
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from workflow_state import hooks
from workflow_state.engine.messages import Summary, from_arguments
from workflow_state.store.claims import WHICHEVER_IS_DUE
from workflow_state.store.names import ACTION_TASK, LEVEL_TASK, TASK_PREFIX

# The custom header: `{"parent": what the propagators write, "plan": attributes of the plan}`.
HEADER = "workflow_state_trace"

_PLAN_TASK = f"{TASK_PREFIX}execute_plan"
_OURS = frozenset({_PLAN_TASK, LEVEL_TASK, ACTION_TASK})
# In seconds: from an answer out of a cache to an action that waited for a person.
_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400)

_tracer = trace.get_tracer("workflow_state")
_meter = metrics.get_meter("workflow_state")
_executions = _meter.create_histogram(
    "workflow_state.execution.duration",
    unit="s",
    description="From the start of an execution to its end, by its status",
    explicit_bucket_boundaries_advisory=_BUCKETS_S,
)
_actions = _meter.create_histogram(
    "workflow_state.action.duration",
    unit="s",
    description="From the start of an action to its end, retries and waiting included, by definition and status",
    explicit_bucket_boundaries_advisory=_BUCKETS_S,
)
_retries = _meter.create_counter(
    "workflow_state.action.retries", description="Attempts that failed and are made again, by definition and category"
)

_is_on = False


def instrument() -> None:
    """Follow executions in this process from now on; may be called twice."""
    global _is_on  # noqa: PLW0603 - a process is instrumented or it isn't
    if _is_on:
        return
    _is_on = True
    celery = CeleryInstrumentor()  # type: ignore[no-untyped-call]
    if not celery.is_instrumented_by_opentelemetry:
        celery.instrument()
    # After Celery's own: they change what that has written.
    before_task_publish.connect(_keep_parent)
    task_prerun.connect(_tell_task)
    task_success.connect(_tell_end)
    worker_init.connect(_keep_spans_apart)
    worker_ready.connect(_watch_queue)
    # In place of Celery's own: it would write the whole error, which may quote what a server said, into a span.
    task_retry.disconnect(celery._trace_retry)  # noqa: SLF001 - there is no option to leave it out
    task_retry.connect(_tell_retry_of_others)
    hooks.submit = _follow_submission
    hooks.attempt = _tell_attempt
    hooks.retry = _tell_retry
    hooks.request = _follow_request


class _SpansOfEachThread(dict[Any, Any]):
    """The spans that Celery's instrumentation keeps on a task, by the thread besides the task's id.

    A retry has the id of the attempt before it, and may begin in another thread before that one has ended. By the id
    alone the one would end the other's span.
    """

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((threading.get_ident(), key), value)

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((threading.get_ident(), key), default)

    def pop(self, key: Any, default: Any = None) -> Any:
        return super().pop((threading.get_ident(), key), default)


def _keep_spans_apart(sender: Any, **_: Any) -> None:
    """Let two attempts of one step be followed at the same time in a worker."""
    setattr(sender.app.tasks[ACTION_TASK], CTX_KEY, _SpansOfEachThread())


@contextmanager
def _follow_submission(execution_id: str, plan_id: str, plan_name: str) -> Iterator[Mapping[str, Any]]:
    """Begin the execution's tree where it is submitted; the message that is stored for the sweep has it as well."""
    told = {"workflow_state.plan.id": plan_id, "workflow_state.plan.name": plan_name}
    attributes = {**told, "workflow_state.execution.id": execution_id}
    with _tracer.start_as_current_span(
        "submit execution", attributes=attributes, record_exception=False, set_status_on_exception=False
    ):
        parent: dict[str, str] = {}
        inject(parent)
        yield {HEADER: {"parent": parent, "plan": told}} if parent else {}


def _keep_parent(sender: str = "", headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Let a message keep its parent, or note the one that it has just been given."""
    if headers is None or sender not in _OURS:
        return
    if HEADER in headers:
        headers.update(headers[HEADER]["parent"])
        return
    parent = {name: headers[name] for name in get_global_textmap().fields if name in headers}
    if parent:
        headers[HEADER] = {"parent": parent, "plan": _header_of(current_task).get("plan", {})}


def _header_of(task: Any) -> Mapping[str, Any]:
    """Return what a task's message says of its trace."""
    headers: Mapping[str, Any] = (task.request.headers if task else None) or {}
    kept: Mapping[str, Any] = headers.get(HEADER) or {}
    return kept


def _tell_task(task: Any, task_id: str, args: Any, kwargs: Mapping[str, Any], **_: Any) -> None:
    """Say which execution, level or action a task's span is about."""
    if task.name not in _OURS:
        return
    span = trace.get_current_span()
    if task.name == ACTION_TASK:
        message = from_arguments(args, kwargs)
        span.set_attribute("workflow_state.execution.id", message.execution_id)
        span.set_attribute("workflow_state.action.id", message.step)
        span.set_attribute("workflow_state.action.definition", message.definition_id)
        # Of a message that was published for a lost one only the claim knows.
        if message.attempt != WHICHEVER_IS_DUE:
            span.set_attribute("workflow_state.action.attempt", message.attempt)
    else:
        span.set_attribute("workflow_state.execution.id", task_id)
        span.set_attribute("workflow_state.level", args[0] if task.name == LEVEL_TASK and args else 0)
        if not _header_of(task):
            # Submitted by a process that knows nothing of this: what goes on with the execution hangs below this span.
            parent: dict[str, str] = {}
            inject(parent)
            task.request.headers = {**(task.request.headers or {}), HEADER: {"parent": parent, "plan": {}}}
    for name, value in _header_of(task).get("plan", {}).items():
        span.set_attribute(name, value)


def _tell_attempt(definition_id: str, number: int) -> None:
    """Say which attempt a task's span is about: the claim knows where the message does not."""
    span = trace.get_current_span()
    span.set_attribute("workflow_state.action.definition", definition_id)
    span.set_attribute("workflow_state.action.attempt", number)


def _tell_retry(definition_id: str, category: str | None) -> None:
    """Say why the step comes again, and count the attempt that failed.

    It is called before the retry is published. Celery's signal comes later, when the next attempt of the same task id
    may be under way in this process, and Celery's instrumentation finds spans by the task's id.
    """
    trace.get_current_span().set_attribute("celery.retry.reason", category or "held_back")
    if category:
        _retries.add(1, {"definition": definition_id, "category": category})


def _tell_retry_of_others(sender: Any, **told: Any) -> None:
    """Leave the tasks of other applications in this process to Celery's instrumentation."""
    if sender.name not in _OURS:
        CeleryInstrumentor._trace_retry(sender=sender, **told)  # type: ignore[no-untyped-call]  # noqa: SLF001 - see instrument


@contextmanager
def _follow_request(request: hooks.OutgoingRequest) -> Iterator[Callable[[int], None]]:
    """Follow one request, until the headers of its response are there."""
    attributes: dict[str, str | int] = {
        "http.request.method": request.method,
        "server.address": request.url.host,
        "server.port": request.url.port or (443 if request.url.scheme == "https" else 80),
    }
    with _tracer.start_as_current_span(
        request.method,
        kind=SpanKind.CLIENT,
        attributes=attributes,
        # It may quote a header.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        # Random ids only: no tracestate, no baggage, whatever else this process passes on to its own kind.
        if "traceparent" in carrier and "traceparent" not in request.headers:
            request.headers["traceparent"] = carrier["traceparent"]

        def tell_status(status: int) -> None:
            span.set_attribute("http.response.status_code", status)
            if status >= http.HTTPStatus.BAD_REQUEST:
                span.set_attribute("error.type", str(status))
                span.set_status(StatusCode.ERROR)

        try:
            yield tell_status
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


def _tell_end(sender: Any, result: Any, **_: Any) -> None:
    """Say how an action or an execution ended, and measure it."""
    if sender.name not in _OURS or not isinstance(result, Summary):
        return
    state = result.data
    status, outcome = str(state["status"]), state.get("result") or {}
    error = outcome.get("error") or state.get("error") or {}
    span = trace.get_current_span()
    span.set_attribute("workflow_state.status", status)
    if status == "failed":
        span.set_attribute("error.type", str(error.get("category", "action_failed")))
        span.set_status(StatusCode.ERROR)
    if sender.name == ACTION_TASK:
        message = from_arguments(sender.request.args, sender.request.kwargs)
        labels = {"definition": message.definition_id, "status": status}
        _actions.record((state.get("duration") or 0) / 1000, labels)
    else:
        _executions.record((state["metrics"].get("totalDuration") or 0) / 1000, {"status": status})


def _watch_queue(sender: Any, **_: Any) -> None:
    """Measure the queue whenever metrics are read: each worker tells of all of it."""
    app = sender.app

    def measure(_: CallbackOptions) -> Iterator[Observation]:
        with app.connection_or_acquire() as connection:
            for name in app.amqp.queues.consume_from:
                # All of its priorities.
                length = connection.default_channel._size(name)  # noqa: SLF001 - kombu has no public name for it
                yield Observation(length, {"queue": name})

    _meter.create_observable_gauge(
        "workflow_state.queue.length", [measure], description="Messages that no worker has taken yet"
    )
