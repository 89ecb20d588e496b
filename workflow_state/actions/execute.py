"""One attempt of an HTTP action: build, send, read, and say what came of it.

The Celery task owns the retries. The parts are elsewhere: how a request is built in request.py, how long it may take
in deadline.py, what an answer means in response.py, what a failure means in failures.py.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import httpx
from pydantic import Field, JsonValue

from workflow_state.actions.auth.credentials import Grant, resolve_credentials, resolve_grant
from workflow_state.actions.auth.oauth import drop_token, note_accepted, obtain_token, was_accepted
from workflow_state.actions.definitions.catalog import load_action_definition
from workflow_state.actions.http.failures import (
    describe_refused_redirect,
    describe_status,
    describe_transport_error,
    make_detail,
    parse_retry_after,
)
from workflow_state.actions.http.output import make_output
from workflow_state.actions.http.redaction import Scrub, is_secret_name, make_scrubber, redact_url
from workflow_state.actions.http.redirects import (
    RedirectRefusedError,
    is_redirect,
    is_sent_after_acting,
    make_next_request,
)
from workflow_state.actions.http.request import IDEMPOTENCY_KEY, build_request, reject_inputs
from workflow_state.actions.http.response import MalformedResponseError, read_body
from workflow_state.actions.http.trace import cut, make_entry, trace_body, trace_request, trace_response
from workflow_state.actions.network.client import get_client
from workflow_state.actions.network.deadline import Exchange, begin_exchange, go_on_exchange
from workflow_state.actions.storage.outputs import store_output
from workflow_state.errors import HttpActionError, SettingsError, StorageError
from workflow_state.json_schema.compiled import CompiledSchema, compile_schema
from workflow_state.json_schema.inputs import describe_wrong_inputs
from workflow_state.schema import (
    MAY_BE_DONE,
    ActionDefinition,
    ContractModel,
    Effect,
    ErrorCategory,
    ErrorDetail,
    HttpActionResult,
    HttpTraceEntry,
    StorageLocation,
    TracedRequest,
)
from workflow_state.settings import get_settings
from workflow_state.wording import write_path

CONNECT_TIMEOUT_S = 5.0
POOL_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 30.0
OUTPUT_MISMATCH = "output_mismatch"

# A request may start for a second after its execution was cancelled; whoever waited for nothing need not ask.
_LONG_WAIT_S = 0.2
_MAX_ERROR_BODY_BYTES = 64 * 1024
_MAX_EXCERPT_CHARACTERS = 500
_DEFAULT_HEADERS = {
    "Accept": "application/json, text/*;q=0.9, */*;q=0.8",
    "Accept-Encoding": "gzip",
    "User-Agent": "workflow-state",
}


class ActionContext(ContractModel):
    """For whom an attempt is made.

    `before_send` is called when the connection stands, right before the first byte of the request can leave; an
    exception of it goes through to the caller, and nothing was sent. Where redirects are followed it is called for each
    request.

    `is_wanted` is asked where a token or the connection was waited for, which can take as long as the attempt: False
    ends the attempt before its request is sent, with `user_cancelled`.
    """

    execution_id: str
    action_id: str
    attempt: int = Field(default=1, ge=1)
    before_send: Callable[[], None] | None = Field(default=None, exclude=True)
    is_wanted: Callable[[], bool] | None = Field(default=None, exclude=True)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt, ready to be sent; where a redirect is followed, the same attempt with its next request."""

    definition: ActionDefinition
    context: ActionContext | None
    request: httpx.Request
    started_at: datetime
    scrub_output: Scrub
    scrub_trace: Scrub
    """Takes out secrets that came with the inputs too; an output must stay usable, a trace need not."""
    output_schema: CompiledSchema | None = None
    redirected: tuple[httpx.Request, ...] = ()
    """The requests before this one, each of which was answered by a redirect."""
    trace: tuple[HttpTraceEntry, ...] = ()
    """The trace of all that was sent before: redirected, for a token, or with a token that was refused."""
    may_be_done: bool = False
    """Whether one of their answers says that an unsafe request was acted on: then nothing may repeat the attempt."""
    was_accepted: bool = False
    """Whether the server has taken a token of these credentials before."""

    def redact(self, error: Exception) -> str:
        """Return an exception's text without secrets; a part of what the server sent may be in it."""
        return cut(redact_url(str(error), self.scrub_trace), _MAX_EXCERPT_CHARACTERS)

    def check_output(self, output: JsonValue) -> None:
        """Raise MalformedResponseError where the output is not what the definition promises."""
        if self.output_schema is None:
            return
        for found in self.output_schema.find_mismatches(output, limit=1):
            told = f"the answer does not fit the outputSchema: output{write_path(found.path)} {found.message}"
            raise MalformedResponseError(OUTPUT_MISMATCH, told)

    def store(self, data: bytes, content_type: str) -> StorageLocation:
        """Put an output where this attempt's outputs go."""
        if self.context is None:
            return store_output(data, content_type, "no-execution", self.definition.id, 1)
        context = self.context
        return store_output(data, content_type, context.execution_id, context.action_id, context.attempt)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the server answered; `problem` is why the body is not complete or can't be used."""

    status: int
    headers: httpx.Headers
    location: str | None
    body: bytes
    problem: MalformedResponseError | httpx.TransportError | None
    duration_ms: int

    @property
    def content_type(self) -> str:
        value: str = self.headers.get("content-type", "")
        return value


def execute_http_action(
    action_definition_id: str | ActionDefinition,
    inputs: Mapping[str, JsonValue],
    context: ActionContext | Mapping[str, object] | None = None,
) -> HttpActionResult:
    """Send the action's request once and return its output, with the trace.

    Raises ActionDefinitionError for an unknown id. Raises HttpActionError where the attempt fails: `detail` says
    whether it may be tried again, `http_trace` holds one entry where the network was tried, and one more for each
    redirect that was followed and for what OAuth 2 needed. Calling it again sends another request.
    """
    definition = (
        action_definition_id
        if isinstance(action_definition_id, ActionDefinition)
        else load_action_definition(action_definition_id)
    )
    ends_at_s = time.monotonic() + definition.endpoint.timeout / 1000
    attempt = _prepare(definition, inputs, None if context is None else ActionContext.model_validate(context))
    if grant := resolve_grant(definition, os.environ):
        return _execute_with_token(attempt, grant, inputs, ends_at_s)
    return _conclude(*_send_on(attempt, ends_at_s))


def _execute_with_token(
    unauthorized: _Attempt, grant: Grant, inputs: Mapping[str, JsonValue], ends_at_s: float
) -> HttpActionResult:
    """Send the request with a token; where it is refused, and was not made just now, once more with a new one.

    A 401 says that the request was not processed, so that goes for every effect; not so where a redirect before it says
    that the server has acted. One from another origin, which the token was not sent to, says nothing about the token.
    """
    definition, context = unauthorized.definition, unauthorized.context
    began_at_s = time.monotonic()
    trace: list[HttpTraceEntry] = []
    tokens: list[str] = []
    while True:
        waits_since_s = time.monotonic()
        token = obtain_token(definition, grant, ends_at_s, trace)
        is_late = time.monotonic() - waits_since_s > _LONG_WAIT_S
        if is_late and context and context.is_wanted and not context.is_wanted():
            raise _call_off(definition, trace)
        tokens.append(token.value)
        prepared = _prepare(definition, inputs, context, tokens)
        attempt = replace(prepared, trace=tuple(trace), was_accepted=was_accepted(definition, grant))
        attempt, answer, exchange = _send_on(attempt, ends_at_s)
        has_authorization = "authorization" in attempt.request.headers
        if has_authorization and httpx.codes.is_success(answer.status):
            note_accepted(definition, grant)
        if not has_authorization or answer.status != httpx.codes.UNAUTHORIZED:
            return _conclude(attempt, answer, exchange)
        drop_token(grant, token)
        if attempt.may_be_done or len(tokens) > 1 or token.asked_at_s >= began_at_s:
            return _conclude(attempt, answer, exchange)
        refused = _trace(attempt, answer, "the token was refused; a new one is asked for")
        trace = [*attempt.trace, refused.model_copy(update={"continued": True})]


def _call_off(definition: ActionDefinition, trace: Sequence[HttpTraceEntry]) -> HttpActionError:
    message = "the execution was cancelled before the request could be sent"
    context = {"actionDefinitionId": definition.id}
    detail = make_detail(ErrorCategory.USER_CANCELLED, "cancelled", message, context=context)
    return HttpActionError(detail, [entry.to_json_data() for entry in trace])


def _send_on(attempt: _Attempt, ends_at_s: float) -> tuple[_Attempt, _Answer, Exchange]:
    """Send the request, and those that redirects ask for where that is allowed, by `ends_at_s` (monotonic)."""
    definition = attempt.definition
    before_send = partial(_before_send, attempt, time.monotonic()) if attempt.context else None
    with begin_exchange(ends_at_s - time.monotonic(), before_send) as exchange:
        answer = _exchange(attempt, exchange)
        while definition.endpoint.follow_redirects and is_redirect(answer.status, answer.location):
            attempt = _follow(attempt, answer)
            # Asked anew for each request: a worker that was stopped between two of them may have lost its claim.
            go_on_exchange(exchange, before_send)
            answer = _exchange(attempt, exchange)
    return attempt, answer, exchange


def _before_send(attempt: _Attempt, since_s: float) -> None:
    """Ask once more whether the request is wanted, where connecting took long; then the caller's own hook."""
    context = attempt.context
    is_late = time.monotonic() - since_s > _LONG_WAIT_S
    if is_late and context and context.is_wanted and not context.is_wanted():
        raise _call_off(attempt.definition, attempt.trace)
    if context and context.before_send:
        context.before_send()


def preview_http_action(
    definition: ActionDefinition, inputs: Mapping[str, JsonValue], context: ActionContext
) -> tuple[TracedRequest, str]:
    """Return what would be sent, with secrets masked, and a digest that tells it from any other request.

    Credentials are no part of the digest: a rotated token makes no other request. Raises HttpActionError where no
    request can be made of the inputs.
    """
    attempt = _prepare(definition, inputs, context)
    plain = build_request(definition, inputs, idempotency_key=f"{context.execution_id}.{context.action_id}")
    told = json.dumps([plain.method, plain.url, plain.headers]).encode() + (plain.body or b"")
    return trace_request(attempt.request, attempt.scrub_trace), hashlib.sha256(told).hexdigest()


def _prepare(
    definition: ActionDefinition,
    inputs: Mapping[str, JsonValue],
    context: ActionContext | None,
    tokens: Sequence[str] = (),
) -> _Attempt:
    """Return the attempt, with the last of the tokens; none of them is to be in what is kept."""
    if wrong := describe_wrong_inputs(definition, inputs):
        raise reject_inputs(definition, wrong, "the action's inputs must fit the inputSchema of its definition")
    # A schema that can't be used must be known before the request has its effect.
    output_schema = None if definition.output_schema is None else compile_schema(definition.output_schema)
    credentials = resolve_credentials(definition, os.environ, tokens[-1] if tokens else None)
    secrets = [*credentials.secrets, *tokens]
    key = f"{context.execution_id}.{context.action_id}" if context else None
    built = build_request(definition, inputs, own_headers=credentials.headers, idempotency_key=key)
    names = {name.lower() for name in built.headers}
    defaults = {name: value for name, value in _DEFAULT_HEADERS.items() if name.lower() not in names}
    total_s = definition.endpoint.timeout / 1000
    # A read may take all the time that the attempt has: an operator who allows two minutes knows a slow server.
    timeout = httpx.Timeout(
        connect=min(CONNECT_TIMEOUT_S, total_s),
        read=total_s,
        write=min(WRITE_TIMEOUT_S, total_s),
        pool=min(POOL_TIMEOUT_S, total_s),
    )
    request = httpx.Request(
        built.method,
        built.url,
        headers=[(name.encode("ascii"), value.encode()) for name, value in {**defaults, **built.headers}.items()],
        content=built.body,
        extensions={"timeout": timeout.as_dict()},
    )
    return _Attempt(
        definition=definition,
        context=context,
        request=request,
        started_at=datetime.now(UTC),
        scrub_output=make_scrubber(secrets),
        scrub_trace=make_scrubber([*secrets, *_find_secret_inputs(inputs)]),
        output_schema=output_schema,
    )


def _find_secret_inputs(inputs: Mapping[str, JsonValue]) -> list[str]:
    """Return the values of inputs with secret names: a token from a login action, say. `Bearer X` gives X too."""
    values = [value for name, value in inputs.items() if is_secret_name(name) and isinstance(value, str)]
    return [*values, *(value.rpartition(" ")[2] for value in values)]


def _exchange(attempt: _Attempt, exchange: Exchange) -> _Answer:
    try:
        return _send(attempt.request)
    except httpx.TransportError as error:
        detail = describe_transport_error(attempt.definition, error, exchange, attempt.redact(error))
        # `from None`: the exceptions of httpx carry the request, credentials included.
        raise _fail(attempt, detail) from None


def _follow(attempt: _Attempt, answer: _Answer) -> _Attempt:
    """Return the attempt with the request that the redirect asks for; raise HttpActionError where it is refused."""
    location = answer.location or ""
    requests = (*attempt.redirected, attempt.request)
    try:
        request = make_next_request(requests, answer.status, location)
    except RedirectRefusedError as error:
        shown = _show_location(attempt, location)
        raise _fail(
            attempt, describe_refused_redirect(attempt.definition, answer.status, shown, str(error)), answer
        ) from None
    is_unsafe = attempt.definition.effective_effect is Effect.UNSAFE
    return replace(
        attempt,
        request=request,
        started_at=datetime.now(UTC),
        redirected=requests,
        trace=(*attempt.trace, _trace(attempt, answer)),
        may_be_done=attempt.may_be_done or (is_unsafe and is_sent_after_acting(answer.status)),
    )


def _show_location(attempt: _Attempt, location: str) -> str:
    return cut(redact_url(location, attempt.scrub_trace), _MAX_EXCERPT_CHARACTERS)


def _send(request: httpx.Request) -> _Answer:
    started_s = time.monotonic()
    response = get_client().send(request, stream=True)
    body, problem = b"", None
    try:
        # Of an error's body only an excerpt is kept, and that it can't be read changes nothing.
        limit = get_settings().max_response_bytes
        body = read_body(response, limit if response.is_success else min(limit, _MAX_ERROR_BODY_BYTES))
    except (MalformedResponseError, httpx.TransportError) as error:
        problem = error
    finally:
        response.close()
    return _Answer(
        status=response.status_code,
        headers=response.headers,
        location=response.extensions.get("location"),
        body=body,
        problem=problem,
        duration_ms=round((time.monotonic() - started_s) * 1000),
    )


def _conclude(attempt: _Attempt, answer: _Answer, exchange: Exchange) -> HttpActionResult:
    """Return the result of a complete and usable success; raise HttpActionError for everything else."""
    if not httpx.codes.is_success(answer.status):
        raise _fail(attempt, _describe_answer(attempt, answer), answer)
    try:
        if answer.problem:
            raise answer.problem
        output, location = make_output(
            answer.body, answer.content_type, attempt.scrub_output, attempt.store, attempt.check_output
        )
    except httpx.TransportError as error:
        detail = describe_transport_error(attempt.definition, error, exchange, attempt.redact(error))
    except MalformedResponseError as error:
        # A server that is about to catch up may answer in full the next time.
        again = error.code == OUTPUT_MISMATCH and attempt.definition.effective_effect is not Effect.UNSAFE
        detail = make_detail(ErrorCategory.API_RESPONSE_MALFORMED, error.code, attempt.redact(error), retryable=again)
    except (OSError, SettingsError, StorageError) as error:
        detail = make_detail(
            ErrorCategory.STATE_INCONSISTENT,
            "output_not_stored",
            f"the request succeeded, but its output is lost: {attempt.redact(error)}",
            retryable=attempt.definition.effective_effect is not Effect.UNSAFE,
        )
    else:
        result = HttpActionResult(output=output, http_trace=[*attempt.trace, _trace(attempt, answer)])
        if location:
            result.output_location = location
        return result
    # The server says that it was done; only what it did is not known.
    unread = dict(MAY_BE_DONE) if attempt.definition.effective_effect is Effect.UNSAFE else {}
    update = {"status_code": answer.status, "context": {**detail.context, **unread}}
    raise _fail(attempt, detail.model_copy(update=update), answer)


def _describe_answer(attempt: _Attempt, answer: _Answer) -> ErrorDetail:
    retry_after_ms = parse_retry_after(answer.headers.get("retry-after"), answer.headers.get("date"), datetime.now(UTC))
    location = None if answer.location is None else _show_location(attempt, answer.location)
    detail = describe_status(
        attempt.definition,
        answer.status,
        retry_after_ms=retry_after_ms,
        location=location,
        has_key=IDEMPOTENCY_KEY in attempt.request.headers,
        was_accepted=attempt.was_accepted,
    )
    if answer.body:
        excerpt = trace_body(answer.body, answer.content_type, attempt.scrub_trace)
        text = excerpt if isinstance(excerpt, str) else json.dumps(excerpt, ensure_ascii=False)
        detail.context["response"] = cut(text, _MAX_EXCERPT_CHARACTERS)
    return detail


def _fail(attempt: _Attempt, detail: ErrorDetail, answer: _Answer | None = None) -> HttpActionError:
    context = {
        "actionDefinitionId": attempt.definition.id,
        "method": attempt.request.method,
        "url": redact_url(str(attempt.request.url), attempt.scrub_trace),
    }
    full = detail.model_copy(update={"context": {**context, **detail.context}})
    if attempt.may_be_done:
        full = full.model_copy(update={"retryable": False, "context": {**full.context, **MAY_BE_DONE}})
    trace = [*attempt.trace, _trace(attempt, answer, detail.message)]
    return HttpActionError(full, [entry.to_json_data() for entry in trace])


def _trace(attempt: _Attempt, answer: _Answer | None, error: str | None = None) -> HttpTraceEntry:
    request = trace_request(attempt.request, attempt.scrub_trace)
    if answer is None:
        return make_entry(attempt.started_at, request, None, error)
    headers = answer.headers.multi_items()
    if answer.location is not None:
        headers.append(("location", answer.location))
    response = trace_response(answer.status, headers, answer.body, answer.duration_ms, attempt.scrub_trace)
    return make_entry(attempt.started_at, request, response, error)
