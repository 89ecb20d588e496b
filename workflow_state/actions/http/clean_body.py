"""A body without the secrets in it, as a value, a text or bytes: the one place where what is kept of one is cleaned.

Outputs, stored outputs, traces and excerpts in errors come from here. Nothing is cut before it is clean, because half
of a secret would not be recognised.
"""

import json
from dataclasses import dataclass

from pydantic import JsonValue

from workflow_state.actions.http.content_type import is_json_lines, media_type_of
from workflow_state.actions.http.response import decode_text, is_read_as_utf8, parse_value
from workflow_state.actions.http.scrubbing import Scrub

_BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class CleanBody:
    """A body without secrets: `found` has the value of JSON, `text` is that of other text; binary data have neither.

    `found` is a tuple, because null is a value too. `data` are the bytes that may be stored, and `content_type` is
    theirs.
    """

    found: tuple[JsonValue] | None
    text: str | None
    data: bytes
    content_type: str


def clean_body(body: bytes, content_type: str, scrub: Scrub) -> CleanBody:
    """Return the body without secrets. It is as it came where it has none.

    Raises MalformedResponseError where it is not the JSON that its type says.
    """
    # The type is the server's own text. Where a secret is in it, what is kept has ours.
    is_clean_type = scrub.in_any_case(content_type) == content_type
    overwritten = scrub.overwrite(body)
    if found := parse_value(body, content_type):
        value, data = _clean_json(body, overwritten, found[0], content_type, scrub)
        own_type = "application/x-ndjson" if is_json_lines(content_type) else "application/json"
        return CleanBody((value,), None, data, content_type if is_clean_type else own_type)
    text = decode_text(body, content_type)
    if text is None:
        return CleanBody(None, None, overwritten, (content_type if is_clean_type else "") or _BINARY)
    cleaned = scrub(text)
    if cleaned is text and overwritten is not body:
        # The secret is there in another charset than the one that the type names.
        cleaned = decode_text(overwritten, content_type) or ""
    media_type = (media_type_of(content_type) if is_clean_type else "") or "text/plain"
    if cleaned != text or not is_clean_type:
        return CleanBody(None, cleaned, cleaned.encode(), f"{media_type}; charset=utf-8")
    return CleanBody(None, text, body, content_type or f"{media_type}; charset=utf-8")


def _clean_json(
    body: bytes, overwritten: bytes, value: JsonValue, content_type: str, scrub: Scrub
) -> tuple[JsonValue, bytes]:
    """Return the value without secrets, and the bytes to store for it."""
    is_utf8 = is_read_as_utf8(body)
    if is_utf8 and overwritten is body and b"\\" not in body:
        # No text of the value has anything that the bytes have not. This saves going through a million values.
        return value, body
    cleaned = scrub.clean_value(value)
    if (
        cleaned is value
        and overwritten is not body
        and not is_utf8
        and (found := parse_value(overwritten, content_type))
    ):
        # Another charset makes other letters of the secret's bytes.
        cleaned = found[0]
    if cleaned is not value or overwritten is not body or _hides_secret(body, scrub):
        # Also where only the bytes have it: of a name that occurs twice the value has one.
        return cleaned, write_json(cleaned, content_type)
    return value, body


def _hides_secret(body: bytes, scrub: Scrub) -> bool:
    """Return whether a secret is there whose letters are written as escapes of JSON."""
    text = body.decode(json.detect_encoding(body), errors="replace") if b"\\" in body else ""
    if "\\u00" not in text:
        return False
    # All of it as one text, which the JSON parser reads at once.
    text = text.replace("\\\\", "\\u005c").replace('\\"', "\\u0022").replace('"', "")
    plain = str(json.loads(f'"{text}"', strict=False))
    return scrub(plain) is not plain


def write_json(value: JsonValue, content_type: str) -> bytes:
    """Return a value as bytes of its type: as JSON, or with a value in each line."""
    if is_json_lines(content_type) and isinstance(value, list):
        return b"".join(json.dumps(item).encode() + b"\n" for item in value)
    return json.dumps(value).encode()
