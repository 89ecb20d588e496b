"""OAuth 2 client credentials: one token for each grant, however many actions need it at once.

Tokens are in this process's memory only. Each worker process asks for its own, and a restart forgets them. They are
never written, not even encrypted: another request to the token endpoint costs less than looking after a key.

No library does this. Those that are maintained bring their own client, which has neither our deadline nor a bound on
the answer, or are for asyncio, or only write the one line of the form.
"""

import base64
import json
import math
import os
import re
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from pydantic import JsonValue

from workflow_state.actions.auth.credentials import Grant
from workflow_state.actions.http.exchange import MAX_EXCERPT_CHARACTERS, Answer, make_http_request, send_once
from workflow_state.actions.http.failures import (
    describe_status,
    describe_transport_error,
    make_detail,
    parse_retry_after,
)
from workflow_state.actions.http.redaction import redact_url
from workflow_state.actions.http.request import FORM_CONTENT_TYPE, BuiltRequest
from workflow_state.actions.http.response import MalformedResponseError, parse_json
from workflow_state.actions.http.scrubbing import MAX_SECRET_CHARACTERS, Scrub, make_scrubber
from workflow_state.actions.http.trace import cut, make_entry, trace_request, trace_response
from workflow_state.actions.network.client import TransportError
from workflow_state.actions.network.deadline import begin_exchange
from workflow_state.errors import HttpActionError
from workflow_state.schema import ActionDefinition, Effect, ErrorCategory, ErrorDetail, HttpTraceEntry

RENEW_BEFORE_S = 30
"""For this long before its end a token is not used. A token that lives less than a minute is used for half its life."""
DEFAULT_LIFETIME_S = 300
"""How long a token lives where the server does not say it."""
MAX_LIFETIME_S = 24 * 3600
MAX_TOKEN_RESPONSE_BYTES = 64 * 1024

_MAX_DESCRIPTION_CHARACTERS = 200
# The trace shows these headers of an answer and no others. A list of what to leave out would not do: any header can
# have a token in it, and of an answer that can't be used nobody knows which of its words is the token.
_SHOWN_HEADERS = frozenset({"content-length", "content-type", "date", "retry-after"})
# The first is RFC 6750's; Apigee says the second unless it is told to follow the RFC.
_BEARER_TYPES = frozenset({"bearer", "bearertoken"})
# RFC 6750, section 2.1, and what servers send beyond it: anything visible that a header can hold.
_SENDABLE_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{MAX_SECRET_CHARACTERS}}}")
_TOKENS = ("access_token", "refresh_token", "id_token")
# A token endpoint answers so to credentials or a scope that it refuses (RFC 6749, section 5.2).
_REFUSALS = frozenset({400, 401, 403, 422})
_ERROR_CODES = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "invalid_scope"}
    | {"unauthorized_client", "unsupported_grant_type"}
)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; times are on the monotonic clock."""

    value: str = field(repr=False)
    asked_at_s: float
    use_until_s: float


@dataclass(frozen=True, slots=True)
class _Missed:
    """A request that gave no token. Those who have more than `unless_given_s` seconds left may try another request."""

    detail: ErrorDetail
    unless_given_s: float


@dataclass(slots=True)
class _Store:
    """A process's tokens, and the requests for one that are under way."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    tokens: dict[Grant, Token] = field(default_factory=dict)
    under_way: dict[Grant, Future[Token | _Missed]] = field(default_factory=dict)
    accepted: set[tuple[Grant, str]] = field(default_factory=set)


# By process id, like the client: a child of a fork must not wait for a thread of its parent.
_stores: dict[int, _Store] = {}


def obtain_token(definition: ActionDefinition, grant: Grant, ends_at_s: float, trace: list[HttpTraceEntry]) -> Token:
    """Return a token that can be used now: the one in memory, the one that another thread asks for, or a new one.

    `ends_at_s` (monotonic) is when it gives up. Requests that are sent are added to `trace`, without secrets. Raises
    HttpActionError where there is no token. The action itself was not sent then, so a failure that may pass is
    retryable whatever the action's effect is.
    """
    store = _store()
    outcome: Token | ErrorDetail | None = None
    while outcome is None:
        with store.lock:
            token = store.tokens.get(grant)
            if token and time.monotonic() < token.use_until_s:
                return token
            flight = store.under_way.get(grant)
            is_ours = flight is None
            if flight is None:
                flight = store.under_way[grant] = Future()
        outcome = _land(store, definition, grant, ends_at_s, trace) if is_ours else _await_landing(flight, ends_at_s)
    if isinstance(outcome, Token):
        return outcome
    context = {"actionDefinitionId": definition.id, "tokenUrl": redact_url(grant.token_url), **outcome.context}
    raise HttpActionError(outcome.model_copy(update={"context": context}), [entry.to_json_data() for entry in trace])


def note_accepted(definition: ActionDefinition, grant: Grant) -> None:
    """Remember that the definition's server took a token of this grant."""
    _store().accepted.add((grant, definition.id))


def was_accepted(definition: ActionDefinition, grant: Grant) -> bool:
    """Return whether the definition's server has ever taken a token of this grant, as far as this process knows."""
    return (grant, definition.id) in _store().accepted


def drop_token(grant: Grant, token: Token) -> None:
    """Forget a token that a server refused, unless it was replaced already. May be called twice."""
    store = _store()
    with store.lock:
        if store.tokens.get(grant) is token:
            del store.tokens[grant]


def forget_tokens() -> None:
    """Forget everything; for tests."""
    _stores.clear()


def _store() -> _Store:
    # setdefault is one step: of two threads that come first, both get the same store.
    return _stores.setdefault(os.getpid(), _Store())


def _land(
    store: _Store, definition: ActionDefinition, grant: Grant, ends_at_s: float, trace: list[HttpTraceEntry]
) -> Token | ErrorDetail:
    """Ask for a token, and hand the outcome to every thread that waits for it."""
    given_s = ends_at_s - time.monotonic()
    broken_off = "the token request was broken off"
    landed: Token | _Missed = _Missed(
        make_detail(ErrorCategory.STATE_INCONSISTENT, "token_request_broken_off", broken_off, retryable=True), 0.0
    )
    try:
        outcome = _ask(definition, grant, ends_at_s, trace)
        # Where the time was over, a thread with more time can still get a token. Any other failure is everybody's.
        in_vain_s = given_s if time.monotonic() >= ends_at_s else math.inf
        landed = outcome if isinstance(outcome, Token) else _Missed(outcome, in_vain_s)
    finally:
        # This also happens where this thread is being ended: the others must not wait for ever.
        with store.lock:
            flight = store.under_way.pop(grant)
            if isinstance(landed, Token):
                store.tokens[grant] = landed
        flight.set_result(landed)
    return outcome


def _await_landing(flight: Future[Token | _Missed], ends_at_s: float) -> Token | ErrorDetail | None:
    """Return the outcome of another thread's request, or None where there is time for a request of our own."""
    try:
        landed = flight.result(max(0.0, ends_at_s - time.monotonic()))
    except TimeoutError:
        return make_detail(ErrorCategory.NETWORK_TIMEOUT, "token_timeout", "no token came in time", retryable=True)
    if isinstance(landed, Token):
        return landed
    return None if ends_at_s - time.monotonic() > landed.unless_given_s else landed.detail


def _ask(
    definition: ActionDefinition, grant: Grant, ends_at_s: float, trace: list[HttpTraceEntry]
) -> Token | ErrorDetail:
    """Send the token request once."""
    # Asking for a token changes nothing, so it may be repeated whatever the action does.
    endpoint = definition.endpoint.model_copy(update={"url": grant.token_url})
    as_safe = definition.model_copy(update={"effect": Effect.SAFE, "endpoint": endpoint})
    scrub = make_scrubber(grant.secrets)
    asked_at_s, started_at = time.monotonic(), datetime.now(UTC)
    request = make_http_request(_build_request(grant), max(0.001, ends_at_s - asked_at_s))
    traced = trace_request(request, scrub)
    with begin_exchange(ends_at_s - asked_at_s) as exchange:
        try:
            answer = send_once(
                request, limit_bytes=MAX_TOKEN_RESPONSE_BYTES, error_limit_bytes=MAX_TOKEN_RESPONSE_BYTES
            )
            if answer.problem:
                raise answer.problem
        except TransportError as error:
            detail = describe_transport_error(as_safe, error, exchange, redact_url(str(error), scrub))
            trace.append(make_entry(started_at, traced, None, detail.message))
            return _as_token_failure(detail)
        except MalformedResponseError as error:
            trace.append(make_entry(started_at, traced, None, str(error)))
            return _bad_answer(str(error))
    # Also where the answer can't be used: a token that it has may be in its headers and in the words of an error.
    known = make_scrubber([*grant.secrets, *_issued_in(answer)])
    outcome = _read(as_safe, answer, known, asked_at_s)
    # The body is never shown: it is all about secrets, and the words of an error are in the message.
    headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() in _SHOWN_HEADERS]
    shown = trace_response(answer.status, headers, answer.duration_ms, known)
    entry = make_entry(started_at, traced, shown, None if isinstance(outcome, Token) else outcome.message)
    if isinstance(outcome, Token):
        entry.continued = True
    trace.append(entry)
    return outcome


def _build_request(grant: Grant) -> BuiltRequest:
    fields = {"grant_type": "client_credentials"}
    if grant.scopes:
        fields["scope"] = " ".join(grant.scopes)
    headers = {
        "Accept": "application/json",
        "Content-Type": FORM_CONTENT_TYPE,
    }
    if grant.method == "client_secret_post":
        fields |= {"client_id": grant.client_id, "client_secret": grant.client_secret}
    else:
        headers["Authorization"] = f"Basic {base64.b64encode(grant.basic_pair.encode()).decode()}"
    return BuiltRequest("POST", grant.token_url, headers, urlencode(fields).encode())


def _issued_in(answer: Answer) -> list[str]:
    """Return the tokens in an answer, of whatever kind."""
    try:
        told = parse_json(answer.body, answer.content_type)
    except MalformedResponseError:
        return []
    return [text for name in _TOKENS if isinstance(told, dict) and isinstance(text := told.get(name), str)]


def _read(as_safe: ActionDefinition, answer: Answer, scrub: Scrub, asked_at_s: float) -> Token | ErrorDetail:
    """Return the token of an answer (RFC 6749, section 5.1), or why there is none (section 5.2)."""
    try:
        told = parse_json(answer.body, answer.content_type)
    except MalformedResponseError as error:
        told, problem = None, str(error)
    else:
        problem = "it is no JSON object"
    if not answer.is_success:
        return _describe_refusal(as_safe, answer, told, scrub)
    if not isinstance(told, dict):
        return _bad_answer(problem)
    if "access_token" not in told and isinstance(told.get("error"), str):
        # Some servers refuse with 200.
        return _refuse(answer.status, told, scrub)
    value = told.get("access_token")
    if not isinstance(value, str) or not _SENDABLE_TOKEN.fullmatch(value):
        return _bad_answer(f"it has no access_token that a header of {MAX_SECRET_CHARACTERS} characters can hold")
    if str(told.get("token_type") or "bearer").lower() not in _BEARER_TYPES:
        return _bad_answer("its token is of another type than Bearer")
    lifetime_s = _lifetime_s(told.get("expires_in"))
    return Token(value, asked_at_s, asked_at_s + lifetime_s - min(RENEW_BEFORE_S, lifetime_s / 2))


def _lifetime_s(expires_in: JsonValue) -> float:
    """Return for how many seconds the token lives. Some servers write the number as a string."""
    try:
        lifetime_s = float(expires_in) if isinstance(expires_in, str | int | float) else math.nan
    except (ValueError, OverflowError):
        lifetime_s = math.nan
    if isinstance(expires_in, bool) or math.isnan(lifetime_s):
        return DEFAULT_LIFETIME_S
    return max(0.0, min(lifetime_s, MAX_LIFETIME_S))


def _describe_refusal(as_safe: ActionDefinition, answer: Answer, told: JsonValue, scrub: Scrub) -> ErrorDetail:
    headers = answer.headers
    detail = describe_status(
        as_safe,
        answer.status,
        retry_after_ms=parse_retry_after(headers.get_list("retry-after"), headers.get("date"), datetime.now(UTC)),
        location=None if answer.location is None else cut(redact_url(answer.location, scrub), MAX_EXCERPT_CHARACTERS),
        has_key=False,
    )
    if answer.status not in _REFUSALS:
        return _as_token_failure(detail)
    return _refuse(answer.status, told if isinstance(told, dict) else {}, scrub)


def _refuse(status: int, told: dict[str, JsonValue], scrub: Scrub) -> ErrorDetail:
    words = [word for name in ("error", "error_description") if isinstance(word := told.get(name), str)]
    # Written as JSON, because a server's text may have line breaks in it.
    said = cut(json.dumps(scrub(" - ".join(words)), ensure_ascii=False), _MAX_DESCRIPTION_CHARACTERS)
    return make_detail(
        ErrorCategory.AUTH_INVALID,
        words[0] if words and words[0] in _ERROR_CODES else "token_refused",
        f"the token endpoint answered {status} and gave no token{f': {said}' if words else ''}",
        status_code=status,
        suggestion="check clientId, clientSecret, scope and tokenEndpointAuthMethod of the action definition",
    )


def _bad_answer(problem: str) -> ErrorDetail:
    message = f"the token endpoint's answer can't be used: {problem}"
    return make_detail(ErrorCategory.API_RESPONSE_MALFORMED, "bad_token_response", message)


def _as_token_failure(detail: ErrorDetail) -> ErrorDetail:
    update = {"code": f"token_{detail.code}", "message": f"no token could be had: {detail.message}"}
    return detail.model_copy(update=update)
