"""OpenTelemetry, where its instrumentation of Celery does not lead: one tree of spans for an execution, and metrics.

Nothing imports this module but `workflow_state` itself, and that only where Celery has been instrumented before
(`opentelemetry-instrument celery …`); an application that sets OpenTelemetry up in code calls `instrument`.

Celery's instrumentation hangs each task below whatever published it. Here that is often another action (the one of a
level that ended last publishes the next level), an attempt that failed, the request in which a person answered, or the
timer of a worker. So each message keeps, in a header of its own, the parent that it had when it was first published:
for whatever goes on with the execution that is where it was submitted, for an action its level. Retries, messages that
are stored until someone answers, and those that the sweep publishes again are made of the request that they follow,
custom headers and all.

Spans have ids, names and numbers. What a plan, a server or an exception says may hold secrets, and is left out; so is
the URL of a request, which is why httpx's instrumentation is not used.
"""

import http
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from celery import current_task
from celery.signals import before_task_publish, task_prerun, task_retry, task_success, worker_ready
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.propagate import get_global_textmap, inject
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from wrapt import wrap_function_wrapper

from workflow_state.engine.messages import Summary, from_arguments
from workflow_state.schema import ErrorCategory
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
    task_retry.connect(_tell_retry)
    worker_ready.connect(_watch_queue)
    wrap_function_wrapper("workflow_state.executor", "PlanTask.submit", _in_span_of_execution)
    wrap_function_wrapper("workflow_state.engine.sending", "execute_http_action", _tell_attempt)
    wrap_function_wrapper(
        "workflow_state.actions.network.client", "PooledTransport.handle_request", _in_span_of_request
    )


def _in_span_of_execution(submit: Callable[..., Any], _: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Begin the execution's tree where it is submitted; the message that is stored for the sweep has it as well."""
    plan, execution_id = args
    told = {"workflow_state.plan.id": str(plan.id), "workflow_state.plan.name": plan.name}
    attributes = {**told, "workflow_state.execution.id": execution_id}
    with _tracer.start_as_current_span(
        "submit execution", attributes=attributes, record_exception=False, set_status_on_exception=False
    ):
        parent: dict[str, str] = {}
        inject(parent)
        if not parent:
            return submit(*args, **kwargs)
        headers = {**(kwargs.get("headers") or {}), HEADER: {"parent": parent, "plan": told}}
        return submit(*args, **{**kwargs, "headers": headers})


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


def _tell_attempt(execute: Callable[..., Any], _: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    definition, _inputs, context = args
    span = trace.get_current_span()
    # Of an alternative it is another one than the message says.
    span.set_attribute("workflow_state.action.definition", definition.id)
    span.set_attribute("workflow_state.action.attempt", context.attempt)
    return execute(*args, **kwargs)


def _in_span_of_request(
    send: Callable[[httpx.Request], httpx.Response], _: Any, args: Any, kwargs: Mapping[str, Any]
) -> httpx.Response:
    """Follow one request, until the headers of its response are there."""
    request: httpx.Request = args[0]
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
        try:
            response = send(*args, **kwargs)
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        span.set_attribute("http.response.status_code", response.status_code)
        if response.status_code >= http.HTTPStatus.BAD_REQUEST:
            span.set_attribute("error.type", str(response.status_code))
            span.set_status(StatusCode.ERROR)
        return response


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


def _tell_retry(sender: Any, request: Any, reason: Any, **_: Any) -> None:
    """Count the attempt, and have its span say no more than its category."""
    if sender.name != ACTION_TASK:
        return
    # Celery's own exception quotes the whole error.
    category = str(getattr(reason, "exc", None)).partition(":")[0]
    if category not in set(ErrorCategory):
        # Held back for a permit, or behind another that has the same alternative: no attempt was made.
        trace.get_current_span().set_attribute("celery.retry.reason", "held_back")
        return
    trace.get_current_span().set_attribute("celery.retry.reason", category)
    message = from_arguments(request.args, request.kwargs)
    _retries.add(1, {"definition": message.definition_id, "category": category})


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
