"""An action's output, which other actions read: made of the body of a successful response."""

import json
from collections.abc import Callable

from pydantic import JsonValue

from workflow_state.actions.http.content_type import is_json_lines, media_type_of
from workflow_state.actions.http.redaction import Scrub, map_strings
from workflow_state.actions.http.response import decode_text, parse_value
from workflow_state.schema import StorageLocation
from workflow_state.settings import get_settings

MAX_CONTENT_TYPE_CHARACTERS = 200

Store = Callable[[bytes, str], StorageLocation]
Check = Callable[[JsonValue], None]


def make_output(
    body: bytes, content_type: str, scrub: Scrub, store: Store, check: Check | None = None
) -> tuple[JsonValue, StorageLocation | None]:
    """Return the output, and where it was stored if the state can't hold it.

    The output of JSON is its value, of a JSON value in each line the list of them, of text `{"text": …}`, and of an
    empty body null. Binary data, and all that is larger than the inline limit, is stored; then the output is
    `{"stored": true, "location", "size", "contentType"}`. Known secrets are taken out of JSON and text, stored or not.

    `check` gets the value that is JSON or text, also where it is stored. Of binary data it gets the object that stands
    for it. Raises MalformedResponseError where the body is not what its type says, and whatever `store` and `check`
    raise.
    """
    if not body:
        nothing: JsonValue = [] if is_json_lines(content_type) else None
        _run(check, nothing)
        return nothing, None
    output, data, stored_type = _read(body, content_type, scrub)
    if output is not None:
        _run(check, output[0])
    if output is not None and (output[0] is None or len(body) <= get_settings().inline_output_bytes):
        return output[0], None
    location = store(data, stored_type)
    summary: JsonValue = {
        "stored": True,
        "location": location.path,
        "size": location.size,
        "contentType": location.content_type,
    }
    if output is None:
        _run(check, summary)
    return summary, location


def _run(check: Check | None, value: JsonValue) -> None:
    if check is not None:
        check(value)


def _read(body: bytes, content_type: str, scrub: Scrub) -> tuple[tuple[JsonValue] | None, bytes, str]:
    """Return the inline output, the bytes to store, and their type.

    The output is in a tuple, because null is an output too. It is None for binary data.
    """
    shown_type = content_type[:MAX_CONTENT_TYPE_CHARACTERS]
    if found := parse_value(body, content_type):
        [value] = found
        clean = map_strings(value, scrub)
        return (clean,), body if clean == value else _write(clean, content_type), shown_type
    text = decode_text(body, content_type)
    if text is None:
        return None, body, shown_type or "application/octet-stream"
    clean_text = scrub(text)
    if clean_text == text:
        return ({"text": text},), body, shown_type or "text/plain; charset=utf-8"
    return ({"text": clean_text},), clean_text.encode(), f"{media_type_of(content_type) or 'text/plain'}; charset=utf-8"


def _write(value: JsonValue, content_type: str) -> bytes:
    """Write a value as bytes of its type."""
    if is_json_lines(content_type) and isinstance(value, list):
        return b"".join(json.dumps(item).encode() + b"\n" for item in value)
    return json.dumps(value).encode()
