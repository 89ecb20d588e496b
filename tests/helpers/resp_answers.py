"""A server that answers whatever it is asked with one text, as a Redis in trouble does, or something that is none."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def answering(text: bytes) -> Iterator[int]:
    """Serve until the block ends, and yield the port; without a text nothing is answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, text), daemon=True).start()
        yield server.getsockname()[1]
        # The thread is in accept, which closing alone would not end.
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, text: bytes) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_answer, args=(client, text), daemon=True).start()


def _answer(client: socket.socket, text: bytes) -> None:
    with client, suppress(OSError):
        while client.recv(65536):
            client.sendall(text)
