"""Looking up a host name within a time.

getaddrinfo blocks, can't be interrupted, and takes the resolver's own time-outs, half a minute and more. So it runs in
a thread that is left behind where it takes too long. A thread for each look-up, and not a pool that stays: there is one
only for a new connection, it costs a tenth of a millisecond, and nothing is left when the worker is idle. They are
daemons, because a worker that stops must not wait for a resolver that does not answer, as it would for the threads of
concurrent.futures. How many there are at once is bounded, so that a dead resolver can't fill the process with threads;
whoever finds no place waits within its own time. The system's resolver and not a DNS client of our own: /etc/hosts,
search domains and nsswitch are an operator's to set.
"""

import queue
import socket
import threading
import time
from typing import Any

MAX_LOOKUPS = 64

AddressInfo = tuple[int, int, int, str, Any]
"""Family, kind, protocol, canonical name, and the address for `connect`, whose first item is its text."""


def look_up(host: str, port: int, timeout_s: float | None, places: threading.Semaphore) -> list[AddressInfo]:
    """Return the host's addresses, in the order in which they should be tried; one look-up, never repeated.

    Raises TimeoutError after `timeout_s`, OSError where there is no such host, UnicodeError for a name that can't be
    one. `places` bounds how many look-ups there are at once.
    """
    gives_up_at_s = None if timeout_s is None else time.monotonic() + timeout_s
    if not places.acquire(timeout=timeout_s):
        raise TimeoutError("too many look-ups are waiting for the resolver")
    outcome: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            outcome.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except Exception as error:  # noqa: BLE001  it is raised where somebody waits for it
            outcome.put(error)
        finally:
            places.release()

    try:
        threading.Thread(target=ask, name="look-up", daemon=True).start()
    except RuntimeError as error:
        places.release()
        raise OSError("the process can't start another thread") from error
    left_s = None if gives_up_at_s is None else max(0.0, gives_up_at_s - time.monotonic())
    try:
        answer = outcome.get(timeout=left_s)
    except queue.Empty:
        raise TimeoutError("the host name was not resolved in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
