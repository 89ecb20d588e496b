"""The HTTP client with its pool of connections: one for each process, made when it is first needed.

httpx's own transport takes no network backend, so there is a small one here, over httpcore's public pool. Everything
that a client does beyond sending is off: no proxies or netrc from the environment, no cookies, no logged URLs. It
follows no redirects; `http/redirects` does, where the definition says so.
"""

import http.cookiejar
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from workflow_state import hooks
from workflow_state.actions.network.deadline import DeadlineBackend, DeadlineStream
from workflow_state.actions.network.library import httpcore, httpx

KEEPALIVE_EXPIRY_S = 5
MAX_IDLE_CONNECTIONS = 50

TransportError = httpx.TransportError
"""What the client raises where no complete answer came."""

_clients: dict[int, httpx.Client] = {}
_locks: dict[int, threading.Lock] = {}

_HTTPX_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}


def get_client() -> httpx.Client:
    """Return this process's client, which is made at the first call.

    Client and lock are kept by process id. A child of a fork must not share its parent's connections. And it must not
    wait for a lock that a thread of the parent held when it forked.
    """
    process = os.getpid()
    client = _clients.get(process)
    if client is None:
        with _locks.setdefault(process, threading.Lock()):
            client = _clients.get(process)
            if client is None:
                client = _clients[process] = _make_client()
    return client


def close_client() -> None:
    """Close this process's client and its connections; the next request makes a new one. May be called twice."""
    if client := _clients.pop(os.getpid(), None):
        client.close()


def _make_client() -> httpx.Client:
    # httpx logs full URLs at INFO, and httpcore logs response headers at DEBUG: both can hold secrets.
    for name in (httpx.__name__, httpcore.__name__):
        logging.getLogger(name).setLevel(logging.WARNING)
    return httpx.Client(
        transport=PooledTransport(),
        trust_env=False,
        follow_redirects=False,
        cookies=_NoCookies(),
        event_hooks={"response": [_hide_location]},
    )


def _hide_location(response: httpx.Response) -> None:
    # The client parses the Location even with redirects off, and would raise for a bad one instead of answering.
    if "location" in response.headers:
        response.extensions["location"] = response.headers.pop("location")


class _NoCookies(http.cookiejar.CookieJar):
    """A jar that stays empty: the session of one action must not be sent with the request of another."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Ignore the cookies of a response."""


class PooledTransport(httpx.BaseTransport):
    """httpcore's connection pool, with a deadline in its streams."""

    def __init__(self) -> None:
        self._pool = httpcore.ConnectionPool(
            # This reads SSL_CERT_FILE and SSL_CERT_DIR, by which an operator adds an authority.
            ssl_context=httpx.create_ssl_context(),
            # The worker's concurrency is the bound. Another one here would only make its threads wait.
            max_connections=None,
            max_keepalive_connections=MAX_IDLE_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_EXPIRY_S,
            network_backend=DeadlineBackend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; return when the response's headers are there."""
        with hooks.request(request) as tell_status, _as_httpx_errors():
            response = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.read(),
                    extensions=request.extensions,
                )
            )
            tell_status(response.status)
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_PooledBody(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _PooledBody(httpx.SyncByteStream):
    """A response's body; closing it gives the connection back to the pool."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response
        self._last_chunk = b""

    def __iter__(self) -> Iterator[bytes]:
        stream = self._response.stream
        if not isinstance(stream, Iterable):
            raise TypeError("a synchronous pool gave an asynchronous body")
        with _as_httpx_errors():
            for chunk in stream:
                self._last_chunk = chunk
                yield chunk

    def close(self) -> None:
        connection = self._response.extensions.get("network_stream")
        # Bytes that a server sent after its response would be read as the response to the next request, which may be
        # another action's. The pool drops a closed connection.
        if isinstance(connection, DeadlineStream) and connection.has_read_beyond(self._end_of_message()):
            connection.close()
        self._response.close()

    def _end_of_message(self) -> bytes:
        is_chunked = any(name.lower() == b"transfer-encoding" for name, _ in self._response.headers)
        return self._last_chunk if self._last_chunk and not is_chunked else b"\r\n\r\n"


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    try:
        yield
    except tuple(_HTTPX_ERRORS) as error:
        raise _HTTPX_ERRORS[type(error)](str(error)) from error
