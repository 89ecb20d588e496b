"""The URL of a definition: `https://api.example.com/users/{userId}?key=${env.MAPS_KEY}`. Pure functions.

A placeholder stands for one value, which can't leave its place. Scheme, host and port are the operator's: placeholders
and the worker's variables are only in the path and the query.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, unquote

from workflow_state.overrides import find_path_problem, is_dot_segment
from workflow_state.schema import ENV_REFERENCE, URL_PLACEHOLDER

_TEMPLATE = re.compile(
    r"(?P<origin>https?://[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?", re.IGNORECASE | re.DOTALL
)
_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s\[\]{}$@:\\%<>\"|^`]+)(:(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
# A URL of plain letters can be sent as it is. What else can be sent is for httpx to say.
PLAIN_URL = re.compile(
    r"https?://(?:localhost|127\.0\.0\.1|(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,63})(?::[0-9]{1,5})?"
    r"(?:/[\w.~%/-]{0,1000})?(?:\?[\w.~%/=&-]{0,1000})?",
    re.ASCII,
)
# What a path may have as it is, the slash among it (RFC 3986, section 3.3): the secret of a webhook is often several
# segments, `T01/B02/x3Y`.
_SAFE_IN_PATH = "/:@!$&'()*+,;="
_MAX_PORT = 65_535
RESERVED_NAMES = frozenset({"body"})


class TemplateValueError(ValueError):
    """A value can't stand in the URL; the message says why."""


@dataclass(frozen=True, slots=True)
class UrlTemplate:
    """A URL in its parts, as the operator wrote them; `query` is None where there is no question mark."""

    origin: str
    path: str
    query: str | None


def split_template(url: str) -> UrlTemplate:
    """Return the parts of a URL in which `find_template_problems` finds no problem."""
    match = _TEMPLATE.fullmatch(url)
    if match is None:
        raise ValueError("the URL must start with http:// or https://")
    return UrlTemplate(match["origin"], match["path"], match["query"])


def find_placeholders(url: str) -> list[str]:
    """Return the names of the placeholders, in the order of the URL."""
    return URL_PLACEHOLDER.findall(url)


def find_template_problems(url: str) -> list[str]:
    """Return what is wrong with a definition's URL, a sentence for each problem."""
    match = _TEMPLATE.fullmatch(url)
    if match is None:
        return ["the URL must start with a literal http:// or https://"]
    problems = _find_origin_problems(match["origin"])
    if re.search(r"[\s\ud800-\udfff]", url) or _CONTROL_CHARACTER.search(url):
        problems.append("the URL contains a space or a control character")
    if match["fragment"] is not None:
        problems.append("the URL has a fragment (#…), which is never sent")
    query = match["query"] or ""
    if any(ENV_REFERENCE.search(pair.partition("=")[0]) for pair in query.split("&")):
        problems.append(
            "${env.NAME} stands for the name of a query parameter; it can only be the value: ?key=${env.NAME}"
        )
    rest = ENV_REFERENCE.sub("x", f"{match['path']}?{query}")
    literal = URL_PLACEHOLDER.sub("", rest)
    if "{" in literal or "}" in literal:
        problems.append("a placeholder is not written as {name} (letters, digits, _ and -, a letter first)")
    if any(is_dot_segment(unquote(segment)) for segment in match["path"].split("/")):
        problems.append("the path has a '.' or '..' segment")
    names = find_placeholders(rest)
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"the placeholder {{{name}}} occurs twice" for name in twice]
    problems += [f"a placeholder can't be called {name}" for name in sorted(RESERVED_NAMES.intersection(names))]
    return problems


def _find_origin_problems(origin: str) -> list[str]:
    if "{" in origin or "$" in origin:
        return ["scheme, host and port must be literal: {name} and ${env.NAME} can only stand in the path or the query"]
    if "@" in origin:
        return ["the URL holds a user name or password; use `authentication` of type basic"]
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return ["the URL has no valid host and port"]
    if match["port"] is not None and not 0 < int(match["port"]) <= _MAX_PORT:
        return [f"the port {match['port']} does not exist"]
    return []


def find_url_problem(url: str) -> str | None:
    """Return why a URL without placeholders can't be sent, or None where it can."""
    if PLAIN_URL.fullmatch(url):
        return None
    from workflow_state.actions.network.library import httpx  # noqa: PLC0415 - it takes longer to import than a plan to validate, and is seldom needed for that

    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        return str(error)
    return None


def fill_variables(url: str, look_up: Callable[[str], str]) -> tuple[str, list[str]]:
    """Return the URL with the value of each `${env.NAME}`, and these values as they stand in it now, percent-encoded.

    `look_up` returns the value of a variable. A slash stays one in the path, and is encoded in the query. No brace is
    left of a value, so that nothing of it is taken for a placeholder.
    """
    written: list[str] = []

    def write(safe: str, match: re.Match[str]) -> str:
        written.append(quote(look_up(match.group(1)), safe=safe))
        return written[-1]

    path, mark, query = url.partition("?")
    path = ENV_REFERENCE.sub(partial(write, _SAFE_IN_PATH), path)
    return path + mark + ENV_REFERENCE.sub(partial(write, ""), query), written


def fill_path(path: str, values: Mapping[str, str]) -> str:
    """Return the path with the values of its placeholders percent-encoded. No value adds or removes a segment.

    Raises TemplateValueError for a value that a server may take for a way out of its segment after decoding it.
    """

    def encode(match: re.Match[str]) -> str:
        name = match.group(1)
        if problem := find_path_problem(name, values[name]):
            raise TemplateValueError(problem)
        return _encode(name, values[name])

    filled = URL_PLACEHOLDER.sub(encode, path)
    # Two harmless values side by side can still make a dot segment: /{a}{b}.
    if any(is_dot_segment(unquote(segment)) for segment in filled.split("/")):
        raise TemplateValueError("the values make a '.' or '..' segment of the path")
    return filled


def fill_query(query: str, values: Mapping[str, str]) -> str:
    """Return the query with the values of its placeholders percent-encoded, so that none adds a parameter."""
    return URL_PLACEHOLDER.sub(lambda match: _encode(match.group(1), values[match.group(1)]), query)


def encode_query_pair(name: str, value: str) -> str:
    """Return `name=value`, percent-encoded."""
    return f"{_encode(name, name)}={_encode(name, value)}"


def _encode(name: str, text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise TemplateValueError(f"the value of '{name}' contains half a character (a lone surrogate)") from None
