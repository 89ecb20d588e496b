"""The checks before every answer: which requests are let through, and what a browser may do with the answer.

- A request that another site's page makes is refused (CSRF): by `Sec-Fetch-Site` where the browser says it, else by
  `Origin`. A POST must be JSON besides, which no form can send.
- Where the page is on loopback the `Host` must be one of its names: a name of somebody else's that resolves to
  127.0.0.1 (DNS rebinding) would otherwise make their page one of ours.
- With a token, only the style sheet and the scripts are given to everybody. `?token=` signs a browser in: it gets a
  cookie that is derived from the token, HttpOnly and SameSite=Strict. Other clients send `Authorization: Bearer`. Wrong
  tokens are counted (wrong_tokens.py); a cookie can't be guessed, so that those who are signed in stay in.
- A viewer may look, and do nothing: only GET and HEAD are let through.
- The content security policy lets a browser run and load the package's own files only. No site may frame the page.
"""

import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from typing import Final, Literal
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workflow_state.web.pages import read_page
from workflow_state.web.wrong_tokens import WrongTokens

Role = Literal["operator", "viewer"]
ROLE: Final = "workflow_state.role"
"""Where the scope says which role a token has."""

LEAST_TOKEN_CHARACTERS: Final = 16

COOKIE: Final = "workflow_state_web"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SAFE_METHODS = ("GET", "HEAD")


class Guard:
    """Refuses what is not from the page itself, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or have the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                # The package's files are asked about anew each time, and sent only where they have changed.
                is_file = "etag" in headers
                headers.setdefault("Cache-Control", "no-cache" if is_file else "no-store")
            await send(message)

        refusal = self._refuse(request)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refuse(self, request: Request) -> Response | None:
        if self._hosts is not None and (name := _host_name(request)) not in self._hosts:
            return _refusal(
                421,
                "wrong_host",
                f"this page is not at {name!r}: open it by the address that the command printed, or name the host "
                "with --allow-host",
            )
        if not _is_from_the_page(request):
            return _refusal(403, "cross_site", "another site's page asked for this; open the page itself")
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method not in _SAFE_METHODS and content_type != "application/json":
            return _refusal(415, "not_json", "send JSON: Content-Type: application/json")
        return None


class TokenGate:
    """Lets nobody in without a token, and says in the scope which role the token has."""

    def __init__(self, app: ASGIApp, tokens: Mapping[str, Role]) -> None:
        self._app = app
        self._tokens = tokens
        self._cookies = {_cookie_of(token): role for token, role in tokens.items()}
        self._wrong = WrongTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or have the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        answer = self._refuse_or_sign_in(request)
        await (answer or self._app)(scope, receive, send)

    def _refuse_or_sign_in(self, request: Request) -> Response | None:
        """Return the answer to who is not signed in, or signs in now; None for who may go on."""
        in_address = request.query_params.get("token") if request.method == "GET" else None
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        in_header = credentials.strip() if scheme.lower() == "bearer" else None
        offered = in_header if in_address is None else in_address
        if offered is None:
            role = _find(request.cookies.get(COOKIE, ""), self._cookies)
        else:
            address = request.client.host if request.client else ""
            if wait_s := self._wrong.wait_s(address):
                return _too_many(wait_s)
            role = _find(offered, self._tokens)
            if role is None:
                self._wrong.note(address)
        if role is None:
            return _unauthorized(request)
        if in_address is not None:
            return self._sign_in(request, in_address)
        request.scope[ROLE] = role
        return None

    def _sign_in(self, request: Request, token: str) -> Response:
        left = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
        # Not a redirect: where a link in a mail leads here, a browser would not send a Strict cookie with that either.
        page = read_page("signed_in.html", request).replace("{{next}}", f"?{urlencode(left)}" if left else "?")
        answer = HTMLResponse(page)
        answer.set_cookie(
            COOKIE,
            _cookie_of(token),
            path=request.scope.get("root_path") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer


class RoleGate:
    """Lets a viewer look, and do nothing."""

    def __init__(self, app: ASGIApp, role: Callable[[Request], Role]) -> None:
        self._app = app
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or have the application answer."""
        answer: Response | None = None
        if (
            scope["type"] == "http"
            and scope["method"] not in _SAFE_METHODS
            and self._role(Request(scope)) != "operator"
        ):
            answer = _refusal(403, "viewer", "a viewer may look at executions, and neither answer, cancel nor resume")
        await (answer or self._app)(scope, receive, send)


def _host_name(request: Request) -> str:
    try:
        return (urlsplit(f"//{request.headers.get('host', '')}").hostname or "").lower()
    except ValueError:
        return ""


def _is_from_the_page(request: Request) -> bool:
    """Return whether a browser says that our own page, or the person, asks; what is no browser says nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site in ("same-origin", "none"):
            return True
        # A link from anywhere may lead to the page, but not into a frame.
        is_link = request.headers.get("sec-fetch-mode") == "navigate" and request.method in _SAFE_METHODS
        return is_link and request.headers.get("sec-fetch-dest") == "document"
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


def _find(given: str, known: Mapping[str, Role]) -> Role | None:
    """Return the role of a token or cookie; it takes as long whichever of them it is like."""
    found = [role for text, role in known.items() if hmac.compare_digest(given.encode(), text.encode())]
    return found[0] if found else None


def _cookie_of(token: str) -> str:
    return hmac.new(token.encode(), b"workflow-state web cookie", hashlib.sha256).hexdigest()


def _too_many(wait_s: int) -> Response:
    answer = _refusal(429, "wrong_tokens", f"too many wrong tokens from this address; try again in {wait_s} s")
    answer.headers["Retry-After"] = str(wait_s)
    return answer


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _unauthorized(request: Request) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(read_page("sign_in.html", request), status_code=401)
    answer = _refusal(
        401, "no_token", "the token is missing or wrong: open the page with ?token=…, or send Authorization: Bearer …"
    )
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
