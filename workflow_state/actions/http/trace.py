"""The trace of a request: what was sent and answered, short and without secrets. Pure functions.

Secrets are taken out before a text is cut: half of a secret would not be recognised.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from pydantic import JsonValue

from workflow_state.actions.http.clean_body import clean_body
from workflow_state.actions.http.content_type import media_type_of
from workflow_state.actions.http.redaction import redact_form, redact_headers, redact_json, redact_url
from workflow_state.actions.http.request import FORM_CONTENT_TYPE
from workflow_state.actions.http.response import MalformedResponseError
from workflow_state.actions.http.scrubbing import Scrub
from workflow_state.actions.network.library import httpx
from workflow_state.schema import HttpTraceEntry, TracedRequest, TracedResponse

MAX_BODY_CHARACTERS = 2_048
MAX_HEADER_CHARACTERS = 512
MAX_HEADERS = 64
# Of one name there may be several lines.
_MAX_HEADER_LINES = 4 * MAX_HEADERS
_MAX_TRACED_BYTES = 64 * 1024

# The repetitions are bounded: with unbounded ones, a page of letters from a server would take minutes.
_SECRET_IN_TEXT = re.compile(
    r"""((?:token|secret|passw(?:or)?d|api[-_]?key)[\w-]{0,40}["']?\s{0,4}[:=]\s{0,4}["']?)[^\s"',;&<>]+""",
    re.IGNORECASE,
)


def trace_request(request: httpx.Request, scrub: Scrub) -> TracedRequest:
    """Return what was sent, without secrets."""
    traced = TracedRequest(
        method=request.method,
        url=redact_url(str(request.url), scrub),
        headers=_trace_headers(request.headers.multi_items(), scrub),
    )
    if request.content:
        traced.body = trace_body(request.content, request.headers.get("content-type", ""), scrub)
    return traced


def trace_response(status: int, headers: Iterable[tuple[str, str]], duration_ms: int, scrub: Scrub) -> TracedResponse:
    """Return what was answered, without secrets and without the body."""
    return TracedResponse(status=status, headers=_trace_headers(headers, scrub), duration=duration_ms)


def make_entry(
    started_at: datetime, request: TracedRequest, response: TracedResponse | None, error: str | None
) -> HttpTraceEntry:
    """Return the trace of one request. A response or an error that is None is left out."""
    entry = HttpTraceEntry(timestamp=started_at, request=request)
    if response is not None:
        entry.response = response
    if error is not None:
        entry.error = error
    return entry


def trace_body(body: bytes, content_type: str, scrub: Scrub) -> JsonValue:
    """Return a body for the trace: JSON where it is short, otherwise text, with a note where it was cut."""
    media_type = media_type_of(content_type)
    not_shown = f"[{len(body)} bytes of {scrub.in_any_case(media_type) or 'unknown type'}, not shown]"
    if len(body) > _MAX_TRACED_BYTES:
        return not_shown
    try:
        clean = clean_body(body, content_type, scrub)
    except MalformedResponseError:
        return cut(_redact_text(scrub(scrub.overwrite(body).decode(errors="replace"))), MAX_BODY_CHARACTERS)
    if clean.found:
        value = redact_json(clean.found[0])
        text = json.dumps(value, ensure_ascii=False)
        return value if len(text) <= MAX_BODY_CHARACTERS else cut(text, MAX_BODY_CHARACTERS)
    if clean.text is None:
        return not_shown
    if media_type == FORM_CONTENT_TYPE:
        return cut(redact_form(clean.text, scrub), MAX_BODY_CHARACTERS)
    return cut(_redact_text(clean.text), MAX_BODY_CHARACTERS)


def cut(text: str, limit: int) -> str:
    """Return the text, or its beginning and a note of how many characters are missing."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def _redact_text(text: str) -> str:
    return _SECRET_IN_TEXT.sub(r"\1[redacted]", text)


def _trace_headers(headers: Iterable[tuple[str, str]], scrub: Scrub) -> dict[str, str]:
    redacted = redact_headers(islice(headers, _MAX_HEADER_LINES), scrub)
    return {
        cut(name, MAX_HEADER_CHARACTERS): cut(value, MAX_HEADER_CHARACTERS)
        for name, value in list(redacted.items())[:MAX_HEADERS]
    }
