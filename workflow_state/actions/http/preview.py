"""The request that a person is asked about: all that the plan decided, and nothing cut. Pure functions.

A trace is short, and masks whatever has a name like a secret's. Here that would hide what is sent: the sum in
`tokenAmount`, or the end of a long text. So only two things are masked: the values of known secrets, wherever they
stand, and the headers and parameters by which the definition itself says who sends the request.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from workflow_state.actions.http.content_type import charset_of
from workflow_state.actions.http.redaction import is_secret_name, map_strings
from workflow_state.actions.http.request import encode_json, is_written_as_json, reject_inputs
from workflow_state.actions.http.response import MalformedResponseError, parse_json
from workflow_state.actions.http.scrubbing import REDACTED, Scrub
from workflow_state.actions.http.url_template import split_template
from workflow_state.actions.network.library import httpx
from workflow_state.errors import HttpActionError
from workflow_state.schema import URL_PLACEHOLDER, ActionDefinition, ShownRequest

MAX_HEADER_BYTES = 64 * 1024
"""No server takes longer headers, and a person reads none; a request that asks may have that much."""

TEXT_CONTENT_TYPE = "text/plain; charset=utf-8"
"""Of the stored text of a body that is no JSON."""

_HEADER_INPUT = "header."


@dataclass(frozen=True, slots=True)
class Preview:
    """A request as a person is shown it; `body` is the text of its body, with the same masks, if it has one.

    `digest` tells the request from any other.
    """

    request: ShownRequest
    body: bytes | None
    digest: str


def show_request(
    definition: ActionDefinition,
    inputs: Mapping[str, JsonValue],
    request: httpx.Request,
    credentials: Collection[str],
    scrub: Scrub,
) -> tuple[ShownRequest, bytes | None]:
    """Return the request as a person is shown it, and the text of its body in UTF-8.

    What the plan decided comes first. `credentials` are the lower-case names of the headers that say who sends it.
    Raises HttpActionError where the headers are longer than MAX_HEADER_BYTES.
    """
    of_plan = _plan_headers(inputs)
    of_definition = [*map(str.lower, definition.endpoint.headers), *sorted(credentials)]
    left = dict(request.headers.multi_items())
    headers = {name: left.pop(name) for name in dict.fromkeys([*of_plan, *of_definition]) if name in left}
    size = sum(len(name) + len(value.encode()) for name, value in headers.items())
    if size > MAX_HEADER_BYTES:
        raise too_many_headers(definition, size)
    shown = ShownRequest(
        method=request.method,
        url=_mask_definitions_query(definition, scrub(str(request.url))),
        headers={
            name: REDACTED if name not in of_plan and (name in credentials or is_secret_name(name)) else scrub(value)
            for name, value in headers.items()
        },
        # What is left the client adds by itself.
        transport_headers={name: scrub(value) for name, value in left.items()},
    )
    if not request.content:
        return shown, None
    content_type = request.headers.get("content-type", "")
    if (found := _read_json(request.content, content_type)) is not None:
        shown.body = map_strings(found[0], scrub)
        return shown, encode_json(shown.body)
    shown.body, shown.body_is_text = scrub(_exact_text(request.content, content_type)), True
    return shown, shown.body.encode("utf-8", "backslashreplace")


def too_many_headers(definition: ActionDefinition, size: int) -> HttpActionError:
    """Return the error for headers that nobody could read."""
    return reject_inputs(
        definition,
        f"the headers of a request that a person confirms take {size:,} bytes; they may take {MAX_HEADER_BYTES:,}",
        "send long values in the body",
    )


def _plan_headers(inputs: Mapping[str, JsonValue]) -> list[str]:
    return [
        name.removeprefix(_HEADER_INPUT).lower()
        for name, value in inputs.items()
        if name.startswith(_HEADER_INPUT) and value is not None
    ]


def _mask_definitions_query(definition: ActionDefinition, url: str) -> str:
    """Return the URL without the keys that the definition's own URL has; what a plan fills in is shown."""
    for pair in (split_template(definition.endpoint.url).query or "").split("&"):
        name, equals, value = pair.partition("=")
        if equals and is_secret_name(name) and not URL_PLACEHOLDER.search(value):
            url = url.replace(pair, f"{name}={REDACTED}", 1)
    return url


def _read_json(body: bytes, content_type: str) -> tuple[JsonValue] | None:
    """Return the value of a JSON body, in a tuple; None where it would not be written in the very bytes that are sent.

    Such is one with a name that comes twice, of which a server may take either.
    """
    if not is_written_as_json(content_type):
        return None
    try:
        value = parse_json(body, content_type)
        return (value,) if encode_json(value) == body else None
    except (MalformedResponseError, ValueError):
        return None


def _exact_text(body: bytes, content_type: str) -> str:
    """Return the text that these bytes are in their charset; bytes that are none are written as escapes."""
    charset = charset_of(content_type) or "utf-8"
    try:
        text = body.decode(charset)
        is_exact = text.encode(charset) == body
    except UnicodeError:
        is_exact = False
    return text if is_exact else body.decode("utf-8", "backslashreplace")
