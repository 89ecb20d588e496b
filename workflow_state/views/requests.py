"""How a question to a person looks as text: the plan's words, and the whole request that will be sent. Pure."""

import json
from collections.abc import Iterator, Mapping
from unicodedata import east_asian_width

from workflow_state.schema import ConfirmationState, ShownRequest
from workflow_state.views.text import local_time, plain

_GOES_ON = "  … "

MOST_SHOWN_BYTES = 2**20
"""The longest body that is shown; of a longer one size and SHA-256 are, and it can be saved."""


def body_text(request: ShownRequest, stored: bytes | None = None) -> str | None:
    """Return the body as a person reads it, None where there is none: JSON over several lines, a text as it is.

    `stored` is what is at the request's `bodyLocation`.
    """
    if stored is not None:
        text = stored.decode()
        return text if request.body_is_text else _over_lines(json.loads(text))
    if "body" not in request.model_fields_set:
        return None
    return str(request.body) if request.body_is_text else _over_lines(request.body)


def question(confirmation: ConfirmationState, body: str | None = None, *, width: int | None = None) -> list[str]:
    """Return the question to a person: which action asks, what the plan says of it, and all that will be sent.

    `body` is the text of the body. Without it, where the body is stored stands in its place. On a terminal that is
    `width` columns wide no line is left to it to break: what comes after many spaces would look like a line of ours.
    """
    lines = [f"{confirmation.action_id} asks, in the plan's own words: {confirmation.title}"]
    lines.append(f"  {confirmation.message}")
    if confirmation.request:
        lines += _request(confirmation.request, body)
    if confirmation.expires_at:
        lines.append(f"  to be answered before {local_time(confirmation.expires_at)}")
    seen = map(plain, lines)
    return [*seen] if width is None else [part for line in seen for part in _broken(line, width)]


def _request(request: ShownRequest, body: str | None) -> list[str]:
    lines = [f"  {request.method} {request.url}", *_headers(request.headers, "  ")]
    # Each line has a mark of its own: none of them looks like a line of ours.
    lines += [f"  | {line}" for line in (body or "").split("\n") if body is not None]
    if body is None and (place := request.body_location):
        lines.append(f"  a body of {place.size:,} bytes, SHA-256 {place.checksum}: --save-body FILE writes it")
    if request.transport_headers:
        lines.append(f"  and by the client: {'; '.join(_headers(request.transport_headers, ''))}")
    return lines


def _broken(line: str, width: int) -> Iterator[str]:
    """Yield the parts of a line that is too long; each but the first has a mark that no line of ours begins with."""
    part, used = "", 0
    for character in line:
        columns = 2 if east_asian_width(character) in ("W", "F") else 1
        if used + columns > width:
            yield part
            part, used = _GOES_ON, len(_GOES_ON)
        part, used = part + character, used + columns
    yield part


def _headers(headers: Mapping[str, str], indent: str) -> list[str]:
    return [f"{indent}{name}: {value}" for name, value in headers.items()]


def _over_lines(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
