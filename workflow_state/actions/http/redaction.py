"""Taking secrets out of everything that is kept: by the name of a field, and by the known value. Pure functions.

A trace is redacted in both ways. An output is redacted only by value, because a field called `token` may be just what
the next action needs.
"""

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote, quote_plus

from pydantic import JsonValue

REDACTED = "[redacted]"
MIN_SECRET_LENGTH = 4
"""Shorter values are not taken for secrets: replacing them would only destroy text."""

Scrub = Callable[[str], str]

_SECRET_NAME = re.compile(
    r"authorization|cookie|token|secret|passw(or)?d|passphrase|credential"
    r"|(api|access|private|signing|subscription)[-_ ]?key",
    re.IGNORECASE,
)
# For a text that was escaped for a pattern, in which a backslash is two.
_ESCAPE = re.compile(r"%[0-9A-F]{2}|\\\\u[0-9a-f]{4}")
# JSON writers escape more than they must: PHP the slash, Go `<`, `>` and `&`, .NET more.
_HTML_IN_JSON = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}
_MORE_IN_JSON = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'+`"}
_USERINFO = re.compile(r"(?<=//)[^/?#\s@]*(?:@[^/?#\s@]*)*@")
_QUERY_PAIR = re.compile(r"([?&;])([^=?&;#\s]+)=([^&;#\s]*)")


def is_secret_name(name: str) -> bool:
    """Return whether a header, parameter or property of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def make_scrubber(secrets: Iterable[str]) -> Scrub:
    """Return a function that replaces each secret in a text, in every form in which a server could echo it."""
    forms = {form for secret in secrets if len(secret) >= MIN_SECRET_LENGTH for form in _forms_of(secret)}
    if not forms:
        return _keep
    # The longest comes first: where one secret contains another, nothing of it may be left over.
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    pattern = re.compile("|".join(_match_any_case_of_escapes(form) for form in longest_first))
    return lambda text: pattern.sub(REDACTED, text)


def _match_any_case_of_escapes(form: str) -> str:
    return _ESCAPE.sub(lambda match: f"(?i:{match.group()})", re.escape(form))


def _keep(text: str) -> str:
    return text


def _forms_of(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    quoted = {quote(raw, safe=""), quote(raw, safe="/"), quote_plus(raw), quote_plus(raw, safe="/")}
    encoded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    unpadded = {form.rstrip("=") for form in encoded}
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    in_json |= {form.replace("/", "\\/") for form in in_json}
    in_json |= {form.translate(table) for form in in_json for table in (_HTML_IN_JSON, _MORE_IN_JSON)}
    # .NET writes a quote so.
    in_json |= {form.replace('\\"', "\\u0022") for form in in_json}
    return {secret, html.escape(secret), html.escape(secret, quote=False), *quoted, *encoded, *unpadded, *in_json}


def map_strings(value: JsonValue, change: Scrub) -> JsonValue:
    """Return a copy of the value with `change` applied to every string in it, names of properties included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key): map_strings(item, change) for key, item in value.items()}
    return value


def redact_json(value: JsonValue, scrub: Scrub = _keep) -> JsonValue:
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


def redact_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]], scrub: Scrub = _keep) -> dict[str, str]:
    """Return the headers with the values of secret names masked; repeated headers are joined by a comma."""
    redacted: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        shown = REDACTED if is_secret_name(name) else redact_url(scrub(value)) if "://" in value else scrub(value)
        redacted[name] = f"{redacted[name]}, {shown}" if name in redacted else shown
    return redacted


def redact_url(url: str, scrub: Scrub = _keep) -> str:
    """Return the URL without userinfo, and without the values of query parameters of secret names."""
    without_userinfo = _USERINFO.sub(f"{REDACTED}@", scrub(url))
    return _QUERY_PAIR.sub(_mask_pair, without_userinfo)


def redact_form(text: str, scrub: Scrub = _keep) -> str:
    """Return a form body without the values of fields of secret names."""
    return redact_url(f"?{text}", scrub)[1:]


def _mask_pair(match: re.Match[str]) -> str:
    separator, name, _ = match.groups()
    return f"{separator}{name}={REDACTED}" if is_secret_name(name) else match.group()
