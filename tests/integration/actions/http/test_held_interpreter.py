"""No answer holds the interpreter for long: what would is read in pieces, or refused."""

import base64
import json
from contextlib import suppress

import pytest
from helpers.http_calls import call
from helpers.interpreter import longest_hold_s
from helpers.waiting import in_time

from workflow_state.errors import HttpActionError
from workflow_state.settings import get_settings

LONGEST_S = 0.2
# A call as a whole, of which other threads may have most.
AT_MOST_S = 10
MEGABYTES = 3 * 2**20
TOKEN = "Tok3n-S3cret/+v%lue&=Zq9"

ANSWERS = {
    "values": ("application/json", b"[" + b"1," * 900_000 + b"1]", {}),
    "lists": ("application/json", b"[" + b"[]," * (MEGABYTES // 3) + b"[]]", {}),
    "lines": ("application/x-ndjson", b"{}\n" * (MEGABYTES // 3), {}),
    "surrogates": ("application/json", b'"' + b"\\ud800" * (MEGABYTES // 6) + b'"', {}),
    "escapes": ("application/json", b'["' + b"\\u0061" * (MEGABYTES // 6) + b'"]', {}),
    "no text": ("text/plain; charset=cp1253", b"\xff" * MEGABYTES, {}),
    "no UTF-32": ("text/plain; charset=utf-32", b"\xff" * MEGABYTES, {}),
    "punycode": ("text/plain; charset=punycode", b"a-" + b"b" * 100_000, {}),
    "echoes": ("text/plain", TOKEN.encode() * (MEGABYTES // len(TOKEN)), {}),
    "encoded echoes": ("image/png", base64.b64encode(TOKEN.encode()) * (MEGABYTES // 40), {}),
    "zeros": ("text/plain", b"", {"Retry_After": "0" * 60_000 + "x"}),
    "blanks": ("text/plain;" + " " * 60_000 + "x", b"", {}),
    "a schema": ("application/json", json.dumps([[[[1.5]]] * 1_000]).encode(), {}),
    "a pattern": ("application/json", json.dumps(["ab" * 200_000]).encode(), {}),
}
SCHEMAS = {
    "a schema": {"items": {"items": {"items": {"items": {"oneOf": [{"const": number} for number in range(2_000)]}}}}},
    "a pattern": {"items": {"pattern": "(?:[ab]{1,400}[abc]){1,20}[0-9]"}},
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_does_not_hold_the_interpreter(server, monkeypatch, kind):
    """Each of these took seconds, and some of them an hour, in which the worker's lease ran out."""
    monkeypatch.setenv("TEST_SECRET", TOKEN)
    monkeypatch.setenv("WORKFLOW_STATE_MAX_RESPONSE_BYTES", str(2 * MEGABYTES))
    get_settings.cache_clear()
    content_type, body, headers = ANSWERS[kind]
    status = "503 Oh" if headers else "200 OK"
    server.respond(status, body, content_type=content_type, **headers)
    fields = {"authentication": {"type": "bearer", "token": "${env.TEST_SECRET}"}, "timeout": 20_000}
    if kind in SCHEMAS:
        fields["outputSchema"] = SCHEMAS[kind]

    def ask():
        with suppress(HttpActionError):
            call(server, **fields)

    # A busy machine lets this thread run on for a while, now and then. What holds on does so each time.
    assert any(in_time(AT_MOST_S, lambda: longest_hold_s(ask)) < LONGEST_S for _ in range(3))
