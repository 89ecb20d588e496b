"""An HTTP server that answers with the bytes, or the misbehaviour, that a test has put there."""

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Server:
    """A server that answers every request with the raw bytes, or the behaviour, that a test has put there."""

    listener: socket.socket
    answer: Callable[[socket.socket], None] = lambda _: None
    received: list[bytes] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    connections: int = 0
    read_first: bool = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._converse, args=(connection,))
            thread.start()
            self.threads.append(thread)

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            try:
                while not self.read_first or self._read_request(connection):
                    self.answer(connection)
                    if not self.read_first:
                        return
            except OSError:
                return

    def _read_request(self, connection: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return False
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        self.received.append(head + b"\r\n\r\n" + body)
        return True

    def respond(self, status: str = "200 OK", body: bytes = b"", **headers: str) -> None:
        """Answer with a complete response; `content_type="x"` sets Content-Type."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.respond_raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def respond_json(self, value: Any, status: str = "200 OK", **headers: str) -> None:
        """Answer with a JSON document."""
        self.respond(status, json.dumps(value).encode(), content_type="application/json", **headers)

    def respond_raw(self, data: bytes, *, then_close: bool = False) -> None:
        """Answer with these bytes."""

        def answer(connection: socket.socket) -> None:
            connection.sendall(data)
            if then_close:
                connection.shutdown(socket.SHUT_RDWR)

        self.answer = answer

    def drip(self, data: bytes, pause_s: float) -> None:
        """Answer with one byte at a time."""

        def answer(connection: socket.socket) -> None:
            for byte in data:
                connection.sendall(bytes([byte]))
                if self.stopped.wait(pause_s):
                    return

        self.answer = answer

    def hang(self) -> None:
        """Never answer."""
        self.answer = lambda _: self.stopped.wait(10) and None


def reset(connection: socket.socket) -> None:
    """Close with RST in place of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()
