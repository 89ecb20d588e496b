"""One HTTP exchange: a request that is ready to be sent, the answer to it, and the trace of both.

`send_once` sends any request. The other functions are about a `PreparedRequest`, which is an action's: they say what a
broken exchange means, follow a redirect, and make the error of an action that fails.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import JsonValue

from workflow_state.actions.http.content_type import choose_content_type, declared_content_type
from workflow_state.actions.http.failures import describe_refused_redirect, describe_transport_error
from workflow_state.actions.http.output import Store
from workflow_state.actions.http.redaction import redact_url
from workflow_state.actions.http.redirects import RedirectRefusedError, is_sent_after_acting, make_next_request
from workflow_state.actions.http.request import BuiltRequest
from workflow_state.actions.http.response import MalformedResponseError, read_body
from workflow_state.actions.http.scrubbing import Scrub
from workflow_state.actions.http.trace import cut, make_entry, trace_body, trace_request, trace_response
from workflow_state.actions.network.client import get_client
from workflow_state.actions.network.deadline import Exchange
from workflow_state.actions.network.library import httpx
from workflow_state.errors import HttpActionError
from workflow_state.json_schema.compiled import CompiledSchema
from workflow_state.schema import MAY_BE_DONE, ActionDefinition, Effect, ErrorDetail, HttpTraceEntry
from workflow_state.settings import get_settings
from workflow_state.wording import write_path

CONNECT_TIMEOUT_S = 5.0
POOL_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 30.0
MAX_EXCERPT_CHARACTERS = 500
OUTPUT_MISMATCH = "output_mismatch"

_MAX_ERROR_BODY_BYTES = 64 * 1024
_DEFAULT_HEADERS = {
    "Accept": "application/json, text/*;q=0.9, */*;q=0.8",
    "Accept-Encoding": "gzip",
    "User-Agent": "workflow-state",
}


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """An action's request, ready to be sent, with what is needed to read the answer and to keep a trace.

    Where a redirect is followed, the next request is another PreparedRequest, which knows the ones before it.
    """

    definition: ActionDefinition
    request: httpx.Request
    started_at: datetime
    scrub_output: Scrub
    scrub_trace: Scrub
    """Takes out secrets that came with the inputs too. An output must stay usable, a trace need not."""
    store: Store
    """Puts an output that is too large or binary where this action's outputs go."""
    output_schema: CompiledSchema | None = None
    redirected: tuple[httpx.Request, ...] = ()
    """The requests before this one, each of which was answered by a redirect."""
    trace: tuple[HttpTraceEntry, ...] = ()
    """The trace of all that was sent before: redirected, for a token, or with a token that was refused."""
    may_be_done: bool = False
    """Whether an answer to one of them says that an unsafe request was acted on. Then nothing may be sent again."""
    was_accepted: bool = False
    """Whether the server has taken a token of these credentials before."""

    def redact(self, error: Exception) -> str:
        """Return an exception's text without secrets; a part of what the server sent may be in it."""
        return self.redact_location(str(error))

    def redact_location(self, location: str) -> str:
        """Return the URL of a redirect without secrets, and not longer than a message can be."""
        return cut(redact_url(location, self.scrub_trace), MAX_EXCERPT_CHARACTERS)

    def check_output(self, output: JsonValue) -> None:
        """Raise MalformedResponseError where the output is not what the definition promises."""
        if self.output_schema is None:
            return
        for found in self.output_schema.find_mismatches(output, limit=1):
            told = f"the answer does not fit the outputSchema: output{write_path(found.path)} {found.message}"
            raise MalformedResponseError(OUTPUT_MISMATCH, told)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered; `problem` is why the body is not complete or can't be used."""

    status: int
    headers: httpx.Headers
    location: str | None
    body: bytes
    problem: MalformedResponseError | httpx.TransportError | None
    duration_ms: int

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return httpx.codes.is_success(self.status)

    @property
    def content_type(self) -> str:
        """The Content-Type that counts, or an empty text."""
        return choose_content_type(self.headers.get_list("content-type"))

    def read_as(self, definition: ActionDefinition) -> str:
        """Return the Content-Type by which the body is read: of a success it is as the definition declares."""
        rules = definition.response
        declared = rules.format if rules and self.is_success else None
        return declared_content_type(self.content_type, declared)


def make_http_request(built: BuiltRequest, timeout_s: float) -> httpx.Request:
    """Return the request with the client's own headers and time limits; `timeout_s` bounds the exchange as a whole."""
    names = {name.lower() for name in built.headers}
    defaults = {name: value for name, value in _DEFAULT_HEADERS.items() if name.lower() not in names}
    # A read may take all of the time: an operator who allows two minutes knows a slow server.
    timeout = httpx.Timeout(
        connect=min(CONNECT_TIMEOUT_S, timeout_s),
        read=timeout_s,
        write=min(WRITE_TIMEOUT_S, timeout_s),
        pool=min(POOL_TIMEOUT_S, timeout_s),
    )
    return httpx.Request(
        built.method,
        built.url,
        headers=[(name.encode("ascii"), value.encode()) for name, value in {**defaults, **built.headers}.items()],
        content=built.body,
        extensions={"timeout": timeout.as_dict()},
    )


def send_once(request: httpx.Request, *, limit_bytes: int, error_limit_bytes: int) -> Answer:
    """Send the request and return the answer; the two limits are for the body of a success and of anything else.

    A body that can't be read is the answer's `problem`. Raises TransportError where no answer came.
    """
    started_s = time.monotonic()
    response = get_client().send(request, stream=True)
    body, problem = b"", None
    try:
        body = read_body(response, limit_bytes if response.is_success else error_limit_bytes)
    except (MalformedResponseError, httpx.TransportError) as error:
        problem = error
    finally:
        response.close()
    return Answer(
        status=response.status_code,
        headers=response.headers,
        location=response.extensions.get("location"),
        body=body,
        problem=problem,
        duration_ms=round((time.monotonic() - started_s) * 1000),
    )


def send_prepared(prepared: PreparedRequest, exchange: Exchange) -> Answer:
    """Send an action's request within the exchange. Raises HttpActionError where no answer came."""
    limit_bytes = get_settings().max_response_bytes
    # Of an error's body only an excerpt is kept.
    error_limit_bytes = min(limit_bytes, _MAX_ERROR_BODY_BYTES)
    try:
        return send_once(prepared.request, limit_bytes=limit_bytes, error_limit_bytes=error_limit_bytes)
    except httpx.TransportError as error:
        detail = describe_transport_error(prepared.definition, error, exchange, prepared.redact(error))
        # `from None`: the exceptions of httpx carry the request, credentials included.
        raise fail(prepared, detail) from None


def follow_redirect(prepared: PreparedRequest, answer: Answer) -> PreparedRequest:
    """Return the request that the redirect asks for. Raises HttpActionError where it is refused."""
    location = answer.location or ""
    requests = (*prepared.redirected, prepared.request)
    try:
        request = make_next_request(requests, answer.status, location)
    except RedirectRefusedError as error:
        shown = prepared.redact_location(location)
        detail = describe_refused_redirect(prepared.definition, answer.status, shown, str(error))
        raise fail(prepared, detail, answer) from None
    is_unsafe = prepared.definition.effective_effect is Effect.UNSAFE
    return replace(
        prepared,
        request=request,
        started_at=datetime.now(UTC),
        redirected=requests,
        trace=(*prepared.trace, trace_exchange(prepared, answer)),
        may_be_done=prepared.may_be_done or (is_unsafe and is_sent_after_acting(answer.status)),
    )


def fail(prepared: PreparedRequest, detail: ErrorDetail, answer: Answer | None = None) -> HttpActionError:
    """Return the error of an action that fails so, with what was asked for and the whole trace."""
    context = {
        "actionDefinitionId": prepared.definition.id,
        "method": prepared.request.method,
        "url": redact_url(str(prepared.request.url), prepared.scrub_trace),
    }
    full = detail.model_copy(update={"context": {**context, **detail.context}})
    if prepared.may_be_done:
        full = full.model_copy(update={"retryable": False, "context": {**full.context, **MAY_BE_DONE}})
    trace = [*prepared.trace, trace_exchange(prepared, answer, detail.message)]
    return HttpActionError(full, [entry.to_json_data() for entry in trace])


def trace_exchange(prepared: PreparedRequest, answer: Answer | None, error: str | None = None) -> HttpTraceEntry:
    """Return the trace of the request, with its answer where one came and what was wrong with it."""
    request = trace_request(prepared.request, prepared.scrub_trace)
    if answer is None:
        return make_entry(prepared.started_at, request, None, error)
    headers = answer.headers.multi_items()
    if answer.location is not None:
        headers.append(("location", answer.location))
    response = trace_response(answer.status, headers, answer.duration_ms, prepared.scrub_trace)
    if answer.body:
        response.body = trace_body(answer.body, answer.read_as(prepared.definition), prepared.scrub_trace)
    return make_entry(prepared.started_at, request, response, error)
