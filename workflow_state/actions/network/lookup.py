"""Looking up a host name within a time limit.

getaddrinfo blocks, can't be interrupted, and may take the resolver's own time-outs, half a minute and more. So it runs
in a thread, which is left behind where it takes too long. Each look-up has a thread of its own: only new connections
need one, it costs a tenth of a millisecond, and nothing is left when the worker is idle.

The threads are daemons, because a worker that stops must not wait for a resolver that does not answer. It would wait
for the threads of concurrent.futures. Their number is bounded, so that a dead resolver can't fill the process with
threads. A look-up beyond that number waits, within its own time limit.

The system's resolver is used, and not a DNS client of our own, so that /etc/hosts, search domains and nsswitch count.
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

    Raises TimeoutError after `timeout_s`, OSError where there is no such host, and UnicodeError for a text that can't
    be a name. `places` bounds how many look-ups there are at once.
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
