"""What a failed request means: its category, and whether it may be sent again. Pure functions.

A request that was never sent may be sent again whatever it does. So may a request that the server says it did not
process (425, 429, 503). Where it is unknown whether the server acted, only a request that is harmless to repeat is sent
again.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from workflow_state.actions.http.redirects import is_sent_after_acting
from workflow_state.actions.network.deadline import Exchange
from workflow_state.actions.network.egress import explain_refusal
from workflow_state.actions.network.library import httpx
from workflow_state.schema import MAY_BE_DONE, ActionDefinition, Effect, ErrorCategory, ErrorDetail

MAX_RETRY_AFTER_MS = 300_000
"""The longest pause that a server may ask for. For a longer one the action fails, and its error says how long."""

_DAILY_FROM_MS = 3_600_000
_LONGEST_DATE_CHARACTERS = 64
_LONGEST_LINE_CHARACTERS = 400
_MOST_LINES = 10
_LONGEST_RETRY_AFTER_S = 366 * 24 * 3600
# Some servers write fractions, a plus, or the unit.
# Possessive: a number of ten thousand zeros must not be tried again from each of them.
_SECONDS = re.compile(r"\+?([0-9]++)(?:\.([0-9]{0,50}))?\s{0,4}(?:s|secs?|seconds?)?", re.IGNORECASE)
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")

# These statuses mean that the request was not processed (RFC 8470, RFC 6585, RFC 9110).
_NOT_PROCESSED = frozenset({425, 429, 503})
_UNKNOWN_OUTCOME = frozenset({408, 500, 502, 504})

_CATEGORY_OF_STATUS = {
    401: ErrorCategory.AUTH_INVALID,
    403: ErrorCategory.AUTH_INVALID,
    404: ErrorCategory.API_ENDPOINT_REMOVED,
    408: ErrorCategory.NETWORK_TIMEOUT,
    410: ErrorCategory.API_ENDPOINT_REMOVED,
    429: ErrorCategory.RATE_LIMIT_BURST,
}
_SUGGESTION_OF_STATUS = {
    401: "check the credentials of the action definition",
    403: "the credentials were understood, but do not allow this; check what they may do",
    410: "the endpoint was removed; the action definition needs a new one",
    422: "the server understood the request and refuses its content; check the action's inputs",
}
_UNSAFE_SUGGESTION = (
    "the server may have acted on the request, and repeating it is not safe; look there before it is run again"
)


def make_detail(
    category: ErrorCategory, code: str, message: str, *, retryable: bool = False, **optional: Any
) -> ErrorDetail:
    """Return an ErrorDetail; an optional field that is None is left out of its JSON."""
    given = {name: value for name, value in optional.items() if value is not None}
    return ErrorDetail(category=category, code=code, message=message, retryable=retryable, **given)


def parse_retry_after(lines: Sequence[str], date: str | None, now: datetime) -> int | None:
    """Return the pause that `Retry-After` asks for, in milliseconds (RFC 9110, section 10.2.3).

    `lines` are the values of the header's lines. Of several pauses the longest counts. A number is seconds, and a
    fraction is rounded up: `1.5` is 2,000 ms. A date counts from the response's own `Date`, so that a wrong clock on
    either side does not matter. Without a `Date` it counts from `now`. Anything else gives None. The longest pause is
    a year.
    """
    # A date has a comma in it, and a line with several pauses has one between two of them.
    shown = [line[:_LONGEST_LINE_CHARACTERS] for line in lines[:_MOST_LINES]]
    parts = [part.strip(" \t\"'") for line in shown for part in (line, *line.split(","))]
    pauses_s = [pause_s for part in parts if (pause_s := _read_pause_s(part, date, now)) is not None]
    return max(pauses_s) * 1000 if pauses_s else None


def _read_pause_s(text: str, date: str | None, now: datetime) -> int | None:
    """Return a pause in whole seconds, from none to a year."""
    if number := _SECONDS.fullmatch(text):
        whole, fraction = number[1].lstrip("0") or "0", number[2]
        has_rest = bool(fraction and fraction.strip("0"))
        seconds = int(whole) + has_rest if len(whole) <= len(str(_LONGEST_RETRY_AFTER_S)) else _LONGEST_RETRY_AFTER_S
    else:
        until = _parse_date(text)
        if until is None:
            return None
        seconds = math.ceil((until - (_parse_date(date or "") or now)).total_seconds())
    return max(0, min(seconds, _LONGEST_RETRY_AFTER_S))


def _parse_date(text: str) -> datetime | None:
    """Return the time of an HTTP date, or of an ISO 8601 one, which some servers write; without a zone it is UTC."""
    shown = text[:_LONGEST_DATE_CHARACTERS]
    try:
        # Only with a time of day: of `20301231` one can't know.
        moment = datetime.fromisoformat(shown) if _ISO_DATE.match(shown) else parsedate_to_datetime(shown)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def describe_status(
    definition: ActionDefinition,
    status: int,
    *,
    retry_after_ms: int | None,
    location: str | None,
    has_key: bool,
    was_accepted: bool = False,
) -> ErrorDetail:
    """Return the error for a status other than 2xx.

    `has_key` tells whether an Idempotency-Key was sent, `was_accepted` whether the server has taken a token of these
    credentials before.
    """
    category = _CATEGORY_OF_STATUS.get(status)
    if status == httpx.codes.UNAUTHORIZED and was_accepted:
        category = ErrorCategory.AUTH_EXPIRED
    if category is None:
        is_client_error = 400 <= status < 500  # noqa: PLR2004  the class of the status (RFC 9110, section 15)
        category = ErrorCategory.VALIDATION_FAILED if is_client_error else ErrorCategory.API_UNEXPECTED_STATUS
    if category is ErrorCategory.RATE_LIMIT_BURST and (retry_after_ms or 0) >= _DAILY_FROM_MS:
        category = ErrorCategory.RATE_LIMIT_DAILY
    can_retry = _can_retry_status(definition.effective_effect, status, has_key=has_key)
    too_long = can_retry and (retry_after_ms or 0) > MAX_RETRY_AFTER_MS
    message = f"the server answered {_name_status(status)}"
    suggestion = _SUGGESTION_OF_STATUS.get(status)
    if status == httpx.codes.NOT_FOUND:
        message, suggestion = _describe_not_found(definition, message)
    if location is not None:
        message += f" and points to {location}"
        suggestion = (
            "of redirects only 301, 302, 303, 307 and 308 are followed"
            if definition.endpoint.follow_redirects
            else "redirects are not followed; put the final URL into the action definition, or set its "
            "endpoint.followRedirects"
        )
    elif too_long:
        message += f" and asks for a pause of {(retry_after_ms or 0) // 1000} s"
        suggestion = "the pause is too long to wait for; run the plan again after it"
    may_be_done = status in _UNKNOWN_OUTCOME and not can_retry
    if may_be_done:
        suggestion = _UNSAFE_SUGGESTION
    return make_detail(
        category,
        f"http_{status}",
        message,
        retryable=can_retry and not too_long,
        status_code=status,
        retry_after=retry_after_ms,
        suggestion=suggestion,
        context=dict(MAY_BE_DONE) if may_be_done else None,
    )


def _describe_not_found(definition: ActionDefinition, message: str) -> tuple[str, str]:
    """Return what a 404 says, and what to do: most often it is one thing that is not there, and not the endpoint."""
    names = definition.endpoint.placeholders
    if not names:
        return message, "check the URL of the action definition"
    listed = ", ".join(f"'{name}'" for name in names)
    advice = f"check the value of {listed}; where no value is found, the URL of the action definition is wrong"
    return f"{message}: there is nothing for this {listed}", advice


def describe_refused_redirect(definition: ActionDefinition, status: int, location: str, reason: str) -> ErrorDetail:
    """Return the error for a redirect that can't be followed; `location` is its URL without secrets."""
    unknown = definition.effective_effect is Effect.UNSAFE and is_sent_after_acting(status)
    return make_detail(
        ErrorCategory.API_UNEXPECTED_STATUS,
        "redirect_refused",
        f"the server answered {_name_status(status)} and points to {location}, which is not followed: {reason}",
        status_code=status,
        suggestion=_UNSAFE_SUGGESTION if unknown else "put the final URL into the action definition",
        context=dict(MAY_BE_DONE) if unknown else None,
    )


def _can_retry_status(effect: Effect, status: int, *, has_key: bool) -> bool:
    if status in _NOT_PROCESSED:
        return True
    # 409 to an Idempotency-Key means that the first request with this key is still being processed
    # (draft-ietf-httpapi-idempotency-key).
    if status == httpx.codes.CONFLICT:
        return effect is Effect.KEYED and has_key
    return status in _UNKNOWN_OUTCOME and effect is not Effect.UNSAFE


def _name_status(status: int) -> str:
    phrase = httpx.codes.get_reason_phrase(status)
    return f"{status} {phrase}" if phrase else str(status)


def describe_transport_error(
    definition: ActionDefinition, error: httpx.TransportError, exchange: Exchange, reason: str
) -> ErrorDetail:
    """Return the error for an exchange that broke; `reason` is the exception's text without secrets."""
    if exchange.refused_by is not None:
        message, suggestion = explain_refusal(exchange.refused_by)
        return make_detail(ErrorCategory.NETWORK_CONNECTION_REFUSED, "egress_refused", message, suggestion=suggestion)
    if exchange.certificate_problem is not None:
        return make_detail(
            ErrorCategory.NETWORK_CONNECTION_REFUSED,
            "bad_certificate",
            f"the server's certificate was refused: {exchange.certificate_problem}",
            suggestion="the certificate must be valid for the server's name and come from a known authority",
        )
    if exchange.speaks_no_tls:
        return make_detail(
            ErrorCategory.NETWORK_CONNECTION_REFUSED,
            "no_tls",
            "the server does not speak TLS at this port, and the URL begins with https://",
            retryable=True,
            suggestion="write http:// into the action definition if that is meant, or the port that serves https",
        )
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        message = f"the request can't be sent: {reason}"
        return make_detail(ErrorCategory.VALIDATION_FAILED, "bad_request", message)
    repeatable = definition.effective_effect is not Effect.UNSAFE or not exchange.sent
    category, code, message = _name_transport_error(definition, error, exchange, reason)
    if repeatable:
        return make_detail(category, code, message, retryable=True)
    return make_detail(category, code, message, suggestion=_UNSAFE_SUGGESTION, context=dict(MAY_BE_DONE))


def _name_transport_error(
    definition: ActionDefinition, error: httpx.TransportError, exchange: Exchange, reason: str
) -> tuple[ErrorCategory, str, str]:
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return ErrorCategory.NETWORK_TIMEOUT, "connect_timeout", "no connection to the server came about in time"
    if isinstance(error, httpx.TimeoutException):
        limit = f"the attempt's {definition.endpoint.timeout} ms"
        return ErrorCategory.NETWORK_TIMEOUT, "timeout", f"the server did not answer completely within {limit}"
    if isinstance(error, httpx.ConnectError):
        return ErrorCategory.NETWORK_CONNECTION_REFUSED, "connection_refused", f"no connection to the server: {reason}"
    if exchange.disconnected:
        lost = "the connection broke before the response was complete"
        return ErrorCategory.NETWORK_CONNECTION_REFUSED, "connection_lost", lost
    return ErrorCategory.API_RESPONSE_MALFORMED, "bad_http", f"the server does not speak HTTP: {reason}"
