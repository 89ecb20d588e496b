"""Ports for servers, and clients of private Redis servers."""

import random
import socket
from urllib.parse import unquote, urlsplit

from redis import Redis


def free_port() -> int:
    """Return a port for a server that can't choose one itself.

    It is below those that the kernel gives to whoever asks for any: until the server has started nobody gets it so.
    """
    # Not by the seed of the test: another process may run the same one.
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def client_of(redis_url: str) -> Redis:
    """Return a client of a private Redis, whose address is a socket's."""
    return Redis(unix_socket_path=unquote(urlsplit(redis_url).path))
