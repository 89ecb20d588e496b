"""What of a request only its definition decides, whatever a plan's inputs say. Pure functions.

    find_header_override("X-HTTP-Method-Override", definition)          makes a DELETE of the definition's POST

A plan is written by a language model, and its values come from other people's servers. A definition says where a
request goes, what it does and who sends it. Servers, proxies and frameworks let a header, a parameter or a piece of a
path change each of that. Such an input is refused when a plan is validated, and once more before anything is sent.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, unquote

from workflow_state.globs import fits
from workflow_state.schema import ActionDefinition

FRAMING_HEADERS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"}
    | {"http2-settings"}
)
"""They frame the message, name its receiver or belong to the connection: a value in one of them smuggles a request."""

_CREDENTIALS: Final = ("authorization", "proxy-*", "cookie", "cookie2")
_METHOD_OVERRIDES: Final = ("x-http-method-override", "x-http-method", "x-method-override")
# What each does, and the patterns of the folded names. A definition can allow one by its name.
_BENDING_HEADERS: Final = {
    "tells a request that is sent again from a new one, and the engine sets it": ("idempotency-key",),
    "makes another method of the definition's": _METHOD_OVERRIDES,
    "makes another path or host of the definition's": (
        *("x-original-*", "x-rewrite-*", "x-override-*", "x-host", "x-http-host-override"),
        *("x-proxy-url", "base-url", "request-uri"),
    ),
    "says where a request comes from, and servers trust it": (
        *("forwarded", "forwarded-*", "x-forwarded", "x-forwarded-*", "x-forwarder-*", "via", "x-envoy-*"),
        *("x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-originating-ip", "x-remote-*", "remote-*"),
        *("client-ip", "true-client-ip", "cf-connecting-ip*", "fastly-client-ip", "wl-proxy-*", "x-proxyuser-ip"),
        *("proxy", "x-forward-for", "x-scheme", "x-url-scheme", "front-end-https"),
    ),
    # What a proxy that has asked who somebody is tells the server behind it.
    "says who sends a request, and servers trust it": (
        *(
            "x-auth-request-*",
            "x-authenticated-*",
            "x-goog-authenticated-*",
            "x-goog-iap-*",
            "x-amzn-oidc-*",
            "x-ms-token-*",
        ),
        *("x-ms-client-principal*", "cf-access-*", "x-middleware-subrequest"),
    ),
}
# The client gives each request one of these. A plan may set it by its very name, and by no other that is read as it.
_REPLACEABLE: Final = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})
_SIGN: Final = re.compile(r"[^0-9a-z]")
# Most names and values are such: nothing in them can be read in another way.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_DOT_SEGMENTS: Final = frozenset({".", ".."})
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f]")
# Forms of `.`, `/` and `\` that some servers decode although no standard has them: `%u002e`, and too many bytes.
_ODD_ESCAPES: Final = re.compile(r"%u00([0-9a-f]{2})|%c0%([89ab][0-9a-f])|%c1%([89ab][0-9a-f])", re.IGNORECASE)
# No client sends a longer URL. To decode megabytes again and again would hold up the whole process.
_LONGEST_VALUE: Final = 65_536
# A value is encoded once here. Who decodes it more often than this has harder problems.
_MOST_DECODINGS: Final = 5


@dataclass(frozen=True, slots=True)
class Override:
    """Why a plan can't set an input, as a sentence, and what to do instead."""

    problem: str
    suggestion: str


def fold_header(name: str) -> str:
    """Return what a header's name is for a server behind CGI, WSGI or a proxy: `X_Api.Key` is `x-api-key`."""
    # CGI makes an underscore of each sign that can't be in the name of a variable.
    return _SIGN.sub("-", name.lower())


def find_header_override(name: str, definition: ActionDefinition | None) -> Override | None:
    """Return why a plan can't set the header, or None where it can.

    With None as the definition, only what no definition could allow is refused, and what carries credentials.
    """
    folded = fold_header(name)
    if folded in FRAMING_HEADERS:
        return Override(f"the header {name} is set by the client itself or not at all", "leave it out")
    if definition and (override := _find_own_header(name, folded, definition)):
        return override
    if folded in _REPLACEABLE:
        is_itself = name.lower() == folded
        return None if is_itself else Override(f"the header {name} is {folded} for some servers", f"write {folded}")
    if definition and name.lower() in (allowed.lower() for allowed in definition.allowed_headers):
        return None
    if fits(folded, _CREDENTIALS):
        return _carries_credentials(name)
    return find_bending_header(name) if definition else None


def find_bending_header(name: str) -> Override | None:
    """Return what the header changes for some servers, so that a plan sets it only where its definition allows it."""
    why = _what_is_bent(fold_header(name))
    if why is None:
        return None
    return Override(
        f"the header {name} {why}, so a plan can't set it",
        f"leave it out; or allow it in the definition: allowedHeaders: [{name}]",
    )


# The inputs of a plan's many actions have few names, and so have the definitions few URLs.
@lru_cache(maxsize=1_024)
def _what_is_bent(folded: str) -> str | None:
    return next((why for why, patterns in _BENDING_HEADERS.items() if fits(folded, patterns)), None)


def _find_own_header(name: str, folded: str, definition: ActionDefinition) -> Override | None:
    if definition.authentication_header and folded == fold_header(definition.authentication_header):
        return _carries_credentials(name)
    own = next((own for own in definition.endpoint.headers if fold_header(own) == folded), None)
    if own is None:
        return None
    same = "" if own.lower() == name.lower() else f", which is {own} for some servers,"
    return Override(f"the header {name}{same} is the definition's own, and a plan can't set it", "leave it out")


def _carries_credentials(name: str) -> Override:
    return Override(
        f"the header {name} carries credentials, which only the definition can set",
        "leave it out: the authentication of the definition says who sends the request",
    )


def find_query_override(name: str, definition: ActionDefinition) -> Override | None:
    """Return why a plan can't set the query parameter, or None where it can.

    Servers differ in what they take for one name. `Amount`, `amount[]` and `amount[0]` are all `amount` for some.
    """
    parts = _fold_parameter(name)
    for own, others in _own_parameters(definition.endpoint.url):
        if parts[: len(others)] == others[: len(parts)]:
            same = "" if own == name else f", which is '{own}' for some servers,"
            problem = f"the query parameter '{name}'{same} is the definition's own, and a plan can't set it"
            return Override(problem, "leave it out")
    if fold_header(name) in _METHOD_OVERRIDES or name.lower() == "_method":
        return Override(
            f"the query parameter '{name}' makes another method of the definition's, so a plan can't set it",
            "leave it out, or use a definition that has that method",
        )
    return None


@lru_cache(maxsize=1_024)
def _own_parameters(url: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the query parameters that a definition's URL itself has, each as it is written and as it is read."""
    query = url.partition("#")[0].partition("?")[2]
    return tuple((name, _fold_parameter(name)) for name, _ in parse_qsl(query, keep_blank_values=True))


def _fold_parameter(name: str) -> tuple[str, ...]:
    """Return the name as the most lenient server reads it (PHP): `Filter[status][]` is filter, status."""
    if _PLAIN.fullmatch(name):
        return (name.lower(),)
    plain = unicodedata.normalize("NFKC", name).lower().partition("\0")[0].strip()
    parts = [re.sub(r"[. +]", "_", part) for part in re.split(r"[\[\]]+", plain)]
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return tuple(parts)


def find_path_problem(name: str, value: str) -> str | None:
    """Return why a value can't stand for a segment of a path, or None where it can.

    It can't where a server might take it for a way out of its segment: an empty one, `.`, `..`, or either of these
    between slashes, with a parameter (`..;x`), or encoded (`%2e%2e`).
    """
    if _PLAIN.fullmatch(value):
        return None
    if not value:
        return f"the value of '{name}' is empty"
    if len(value) > _LONGEST_VALUE:
        return f"the value of '{name}' has {len(value)} characters, and a URL at most {_LONGEST_VALUE}"
    if _CONTROL_CHARACTER.search(value):
        return f"the value of '{name}' contains a control character"
    if any(is_dot_segment(part) for text in _decodings(value) for part in re.split(r"[/\\]", text)):
        return f"the value of '{name}' contains a '.' or '..' path segment"
    return None


def is_dot_segment(segment: str) -> bool:
    """Return whether a decoded segment is `.` or `..` for some server: Java's cut `;x` off, others what is blank."""
    plain = _CONTROL_CHARACTER.sub("", segment.partition(";")[0]).strip()
    return plain in _DOT_SEGMENTS


def _decodings(value: str) -> Iterator[str]:
    """Yield the text, and what it becomes when it is decoded again and again: many servers do so twice."""
    for _ in range(_MOST_DECODINGS):
        yield value
        text = unicodedata.normalize("NFKC", value)
        yield text
        decoded = unquote(_ODD_ESCAPES.sub(_read_odd_escape, text))
        if decoded == value:
            return
        value = decoded


def _read_odd_escape(match: re.Match[str]) -> str:
    plain, low, high = match.groups()
    if plain:
        return chr(int(plain, 16))
    # The last six bits of each of two bytes (RFC 3629, section 3): %c0%ae is a dot, %c1%9c a backslash.
    return chr(int(low or high, 16) & 0x3F | (0x40 if high else 0))
