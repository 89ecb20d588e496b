"""An action's output, which other actions read: made of the body of a successful response."""

from collections.abc import Callable

from pydantic import JsonValue

from workflow_state.actions.http.clean_body import clean_body
from workflow_state.actions.http.content_type import is_json_lines
from workflow_state.actions.http.scrubbing import Scrub
from workflow_state.actions.network.turns import parsing_turn
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
    `{"stored": true, "location", "size", "contentType"}`. Known secrets are taken out of all of it, stored or not; in
    binary data they are overwritten.

    `check` gets the value that is JSON or text, also where it is stored. Of binary data it gets the object that stands
    for it. Raises MalformedResponseError where the body is not what its type says, and whatever `store` and `check`
    raise.
    """
    if not body:
        nothing: JsonValue = [] if is_json_lines(content_type) else None
        _run(check, nothing)
        return nothing, None
    with parsing_turn(len(body)):
        output, data, kept_type = _read(body, content_type, scrub)
        is_read = output is not None
        if output is not None:
            _run(check, output[0])
            if output[0] is None or len(body) <= get_settings().inline_output_bytes:
                return output[0], None
        # The value of 10 MB of JSON may take 64 MiB. It goes before another thread makes one.
        del output
    location = store(data, kept_type[:MAX_CONTENT_TYPE_CHARACTERS])
    summary: JsonValue = {
        "stored": True,
        "location": location.path,
        "size": location.size,
        "contentType": location.content_type,
    }
    if not is_read:
        _run(check, summary)
    return summary, location


def _read(body: bytes, content_type: str, scrub: Scrub) -> tuple[tuple[JsonValue] | None, bytes, str]:
    """Return the value of the body, None for binary data; and what may be stored of it, with its type."""
    clean = clean_body(body, content_type, scrub)
    text: JsonValue = {"text": clean.text}
    return clean.found or (None if clean.text is None else (text,)), clean.data, clean.content_type


def _run(check: Check | None, value: JsonValue) -> None:
    if check is not None:
        check(value)
