"""Following a redirect: the next request, or why there is none. Pure functions.

A redirect is followed only where the definition says so. The next request carries less than in browsers and httpx,
because a server can redirect an action anywhere, and credentials must not go there.
"""

import re
from collections.abc import Sequence

from workflow_state.actions.network.library import httpx

MAX_REDIRECTS = 5

_MAX_PORT = 65_535
# RFC 9110 (section 4.1) asks for at least this many. Each URL is kept in the trace.
_LONGEST_LOCATION = 8_000
# httpx makes a host of anything: that of `https://[` is `%5B`.
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Another origin gets these and no others. A list of what to leave out would not do: any header can have a key in it.
_HARMLESS_HEADERS = frozenset({"accept", "accept-encoding", "user-agent"})
_OF_THE_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-disposition", "digest"})
# The client makes them anew for each request.
_OF_THE_MESSAGE = frozenset({"host", "content-length", "transfer-encoding"})


class RedirectRefusedError(ValueError):
    """A redirect that is not followed; the message says why, without the URL."""


def is_redirect(status: int, location: str | None) -> bool:
    """Return whether the answer is a redirect that can be followed (RFC 9110, section 15.4)."""
    return status in _REDIRECTS and location is not None


def is_sent_after_acting(status: int) -> bool:
    """Return whether servers answer so after they did what they were asked for: with 303, and by old habit 302."""
    return status in (httpx.codes.SEE_OTHER, httpx.codes.FOUND)


def make_next_request(requests: Sequence[httpx.Request], status: int, location: str) -> httpx.Request:
    """Return the request that follows a redirect; `requests` are those sent so far, of which the last was redirected.

    After 303 comes a GET without a body. The others repeat a GET, and 307 and 308 repeat any request to the same
    origin. Another origin gets no credentials, no header of the definition or the inputs, and no body. What was left
    out stays out, also where a later redirect leads back.

    Raises RedirectRefusedError for more than `MAX_REDIRECTS`, for a circle, for a way from https to http, for a URL
    that can't be used, and where the request would silently become another one.
    """
    last = requests[-1]
    url = _read_location(last.url, location)
    method = "GET" if status == httpx.codes.SEE_OTHER else last.method
    is_same_origin = _origin(url) == _origin(last.url)
    if last.url.scheme == "https" and url.scheme != "https":
        raise RedirectRefusedError("it leads from https to http")
    if method != "GET" and status in (httpx.codes.MOVED_PERMANENTLY, httpx.codes.FOUND):
        raise RedirectRefusedError(f"after {status} a {method} is a GET for some clients and a {method} for others")
    if method != "GET" and not is_same_origin:
        raise RedirectRefusedError(f"it would send the {method} and its body to another origin")
    if len(requests) > MAX_REDIRECTS:
        raise RedirectRefusedError(f"it is one more than the {MAX_REDIRECTS} that are followed")
    if any((earlier.method, earlier.url) == (method, url) for earlier in requests):
        raise RedirectRefusedError("the redirects go in a circle")
    has_body = method == last.method
    return httpx.Request(
        method,
        url,
        headers=[
            (name, value)
            for name, value in last.headers.raw
            if _goes_along(name.decode("ascii").lower(), is_same_origin=is_same_origin, has_body=has_body)
        ],
        content=(last.content or None) if has_body else None,
        extensions=last.extensions,
    )


def _goes_along(name: str, *, is_same_origin: bool, has_body: bool) -> bool:
    if name in _OF_THE_MESSAGE:
        return False
    if not is_same_origin:
        return name in _HARMLESS_HEADERS
    # The Idempotency-Key belongs to the request with the body; a GET needs none.
    return has_body or (name not in _OF_THE_BODY and name != "idempotency-key")


def _read_location(base: httpx.URL, location: str) -> httpx.URL:
    if len(location) > _LONGEST_LOCATION:
        raise RedirectRefusedError(f"its URL has more than {_LONGEST_LOCATION} characters")
    try:
        url = base.join(location).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError):
        raise RedirectRefusedError("its URL can't be read") from None
    is_address = url.scheme in ("http", "https") and _HOST.fullmatch(url.raw_host)
    if not is_address or (url.port is not None and not 0 < url.port <= _MAX_PORT):
        raise RedirectRefusedError("its URL has no http or https address")
    if url.userinfo:
        raise RedirectRefusedError("its URL holds a user name or password")
    return url


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    # httpx leaves out a scheme's default port, so :443 and no port are the same.
    return url.scheme, url.host.removesuffix("."), url.port
