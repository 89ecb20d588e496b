"""Taking secrets out of what is kept of a request and its answer, by the names of fields. Pure functions.

A trace is redacted by names and by known values (see `scrubbing`). An output is redacted only by value, because a field
called `token` may be just what the next action needs.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from pydantic import JsonValue

from workflow_state.actions.http.scrubbing import NO_SECRETS, REDACTED, Scrub

_SECRET_NAME = re.compile(
    r"authorization|cookie|token|secret|passw(or)?d|passphrase|credential"
    r"|(api|access|private|signing|subscription)[-_ ]?key",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?<=//)[^/?#\s@]*(?:@[^/?#\s@]*)*@")
_QUERY_PAIR = re.compile(r"([?&;])([^=?&;#\s]+)=([^&;#\s]*)")


def is_secret_name(name: str) -> bool:
    """Return whether a header, parameter or property of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def map_strings(value: JsonValue, change: Callable[[str], str]) -> JsonValue:
    """Return a copy of the value with `change` applied to every string in it, names of properties included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key): map_strings(item, change) for key, item in value.items()}
    return value


def redact_json(value: JsonValue, scrub: Scrub = NO_SECRETS) -> JsonValue:
    """Return a copy of the value with properties of secret names masked, and known secrets in all strings masked."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list):
        return [redact_json(item, scrub) for item in value]
    if isinstance(value, dict):
        return {
            scrub(key): REDACTED if is_secret_name(key) and _holds_something(item) else redact_json(item, scrub)
            for key, item in value.items()
        }
    return value


def _holds_something(value: JsonValue) -> bool:
    # `"token": null` and `"isToken": false` hold no secret, and are useful in a trace.
    return not (value is None or isinstance(value, bool))


def redact_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]], scrub: Scrub = NO_SECRETS) -> dict[str, str]:
    """Return the headers without known secrets in names and values, and with the values of secret names masked.

    Repeated headers are joined by a comma.
    """
    redacted: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        shown = redact_url(value, scrub) if "://" in value else scrub.in_any_case(value)
        shown_name = scrub.in_any_case(name)
        shown = REDACTED if is_secret_name(name) else shown
        redacted[shown_name] = f"{redacted[shown_name]}, {shown}" if shown_name in redacted else shown
    return redacted


def redact_url(url: str, scrub: Scrub = NO_SECRETS) -> str:
    """Return the URL without userinfo, and without the values of query parameters of secret names."""
    without_userinfo = _USERINFO.sub(f"{REDACTED}@", scrub.in_any_case(url))
    return _QUERY_PAIR.sub(_mask_pair, without_userinfo)


def redact_form(text: str, scrub: Scrub = NO_SECRETS) -> str:
    """Return a form body without the values of fields of secret names."""
    return redact_url(f"?{text}", scrub)[1:]


def _mask_pair(match: re.Match[str]) -> str:
    separator, name, _ = match.groups()
    return f"{separator}{name}={REDACTED}" if is_secret_name(name) else match.group()
