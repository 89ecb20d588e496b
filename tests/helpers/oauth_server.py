"""A real token server and the API behind it, on loopback: client credentials, bearer tokens, revocation, a journal."""

import base64
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

Answer = tuple[int, Any, dict[str, str]]


@dataclass
class TokenServer:
    """`/token` gives a token to the one client that there is, `/api/<name>` echoes a request that has a good token.

    `answer_token` and `answer_api` stand in for them where a test has put something there.
    """

    url: str
    client: tuple[str, str] = ("client", "client-secret")
    lifetime: Any = 3600
    delay_s: float = 0
    answer_token: Callable[[int], Answer | None] = lambda _: None
    answer_api: Callable[[int], Answer | None] = lambda _: None
    tokens: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    token_requests: list[dict[str, Any]] = field(default_factory=list)
    api_requests: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def mint(self, request: dict[str, Any]) -> Answer:
        """Answer a token request (RFC 6749, section 4.4)."""
        with self.lock:
            self.token_requests.append(request)
            count = len(self.token_requests)
        time.sleep(self.delay_s)
        if answer := self.answer_token(count):
            return answer
        form = {name: values[0] for name, values in parse_qs(request["body"]).items()}
        if client_of(request, form) != self.client:
            return 401, {"error": "invalid_client", "error_description": f"unknown client {form}\n{request}"}, {}
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}, {}
        token = f"token-{count}-{secrets.token_urlsafe(16)}"
        self.tokens.append(token)
        answer_body = {"access_token": token, "token_type": "Bearer", "refresh_token": f"refresh-{token}"}
        lifetime = {} if self.lifetime is None else {"expires_in": self.lifetime}
        return 200, {**answer_body, **lifetime, "scope": form.get("scope", "")}, {"X-Token-Was": token}

    def serve_api(self, request: dict[str, Any]) -> Answer:
        """Answer a request to the API, with everything that it said."""
        with self.lock:
            self.api_requests.append(request)
            count = len(self.api_requests)
        if answer := self.answer_api(count):
            return answer
        token = request["headers"].get("authorization", "").removeprefix("Bearer ")
        is_good = token in self.tokens and token not in self.revoked
        return (200 if is_good else 401), {"token": token, **request}, {"X-Token-Was": token}


def client_of(request: dict[str, Any], form: dict[str, str]) -> tuple[str, str]:
    """Return id and secret of a token request, from the header or from the body."""
    header = request["headers"].get("authorization", "")
    if not header.startswith("Basic "):
        return form.get("client_id", ""), form.get("client_secret", "")
    user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    return unquote_plus(user), unquote_plus(password)


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    service = TokenServer(url=f"http://127.0.0.1:{server.server_port}")
    server.service = service  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def _serve(self) -> None:
        service: TokenServer = self.server.service  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = {"method": self.command, "path": self.path, "headers": headers, "body": body}
        status, data, more = (service.mint if self.path == "/token" else service.serve_api)(request)
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = _serve  # noqa: N815 - the names that http.server looks for

    def handle(self) -> None:
        """Serve a connection; a client that gave up resets it."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Say nothing: the journal has it."""
