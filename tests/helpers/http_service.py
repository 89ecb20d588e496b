"""A real HTTP server on loopback, with a journal of every request: what the acceptance tests call.

An entry of the journal says when the request was there (`at`), when it was over (`endedAt`), and how it was answered
(`status`); None where the client had gone away by then. It is over before the answer leaves: what the client does on it
comes later, however busy the machine is.
"""

import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Service:
    """The server's address, and its journal: one entry for each request, in the order of arrival."""

    url: str
    journal: list[dict[str, Any]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    released: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def requests_to(self, path_prefix: str) -> list[dict[str, Any]]:
        """Return the journal's entries for a path."""
        with self.lock:
            return [entry for entry in self.journal if entry["path"].startswith(path_prefix)]


@contextmanager
def http_service() -> Iterator[Service]:
    """Serve until the block ends.

    /echo/<name>            what was sent, as JSON; ?delay_ms=… waits first, ?delay_once_ms=… only the first time
    /hold/<name>            the same, once the name is in `released`
    /status/<code>/<name>   that status, with the headers that were sent
    /flaky/<n>/<name>       503 for the first n requests to this very path, then like /echo
    /later/<s>/<name>       503 with Retry-After: <s> for the first request to this very path, then like /echo
    /stall/<part>/<name>    the first answer ends after half of its header or body; the next are like /echo
    /unavailable/<name>     503, with Retry-After: 280
    /pause/<s>/<name>       the first request to any of them: 503, with Retry-After: <s>; the next are like /echo
    /text/<name>            plain text
    /bytes/<n>/<name>       n bytes, which are no text
    /items/<n>/<name>       JSON with that name, a list of n items of about 70 bytes, and the first few of them
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    service = Service(url=f"http://127.0.0.1:{server.server_port}")
    server.service = service  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_HALF_BODY = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{"half": '


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one write: otherwise each answer waits 40 ms for a delayed acknowledgement.
    wbufsize = -1

    def _serve(self) -> None:
        service: Service = self.server.service  # type: ignore[attr-defined]
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if "json" in self.headers.get("Content-Type", "") and raw else raw.decode() or None
        entry = {
            "at": time.time(),
            "method": self.command,
            "path": split.path,
            "query": query,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
            "status": None,
            "endedAt": None,
        }
        self.entry = entry
        with service.lock:
            service.journal.append(entry)
            service.seen[split.path] += 1
            count = service.seen[split.path]
            service.seen["/pause"] += split.path.startswith("/pause/")
            is_first_pause = split.path.startswith("/pause/") and service.seen["/pause"] == 1
            is_first_pause |= split.path.startswith("/later/") and count == 1
        delay_ms = query.get("delay_ms", query.get("delay_once_ms", 0) if count == 1 else 0)
        kind, *rest = split.path.strip("/").split("/")
        if self._is_left_alone_for(int(delay_ms) / 1000) or (kind == "hold" and self._is_left_alone_with(rest[-1])):
            entry["endedAt"] = time.time()
            self.close_connection = True
            return
        if kind == "status":
            self._answer(int(rest[0]), {"error": f"as asked for: {rest[0]}", "headers": entry["headers"]})
        elif kind == "flaky" and count <= int(rest[0]):
            self._answer(503, {"error": "not yet"})
        elif kind == "stall" and count == 1:
            self._stall(rest[0])
        elif kind == "unavailable":
            self._send(503, b"", "text/plain", {"Retry-After": "280"})
        elif is_first_pause:
            self._send(503, b"", "text/plain", {"Retry-After": rest[0]})
        elif kind == "bytes":
            self._send(200, (bytes(range(256)) * (int(rest[0]) // 256 + 1))[: int(rest[0])], "image/png")
        elif kind == "items":
            items = [{"index": index, "text": "x" * 50} for index in range(int(rest[0]))]
            self._answer(200, {"name": rest[-1], "few": items[:3], "items": items})
        elif kind == "text":
            self._send(200, b"plain text", "text/plain")
        else:
            self._answer(
                200,
                {
                    "name": rest[-1] if rest else None,
                    "method": self.command,
                    "query": query,
                    "body": body,
                    "headers": entry["headers"],
                },
            )

    def handle(self) -> None:
        """Serve a connection; a client that was killed resets it, which is nothing to tell of."""
        with suppress(ConnectionError):
            super().handle()

    def _is_left_alone_for(self, seconds: float) -> bool:
        """Wait, and return whether the client went away meanwhile; it has nothing else to say before the answer."""
        if not select.select([self.connection], [], [], seconds)[0]:
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names that http.server looks for

    def _is_left_alone_with(self, name: str) -> bool:
        """Wait until the name is released, and return whether the client went away before."""
        service: Service = self.server.service  # type: ignore[attr-defined]
        while name not in service.released:
            if self._is_left_alone_for(0.05):
                return True
        return False

    def _stall(self, part: str) -> None:
        """Send half of an answer, and wait until the client is gone."""
        self.wfile.write({"header": b"HTTP/1.1 200 OK\r\nContent-Ty", "body": _HALF_BODY}.get(part, b""))
        self.wfile.flush()
        self._is_left_alone_for(60)
        self.entry["endedAt"] = time.time()
        self.close_connection = True

    def _answer(self, status: int, data: Any) -> None:
        self._send(status, json.dumps(data).encode(), "application/json")

    def _send(self, status: int, data: bytes, content_type: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.entry["endedAt"] = time.time()
        try:
            self.wfile.flush()
            self.entry["status"] = status
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: the journal has it."""
