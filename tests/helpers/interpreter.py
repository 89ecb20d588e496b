"""How long a call held the interpreter, so that no other thread of its process could run."""

import threading
import time
from collections.abc import Callable
from typing import Any


def longest_hold_s(call: Callable[[], Any]) -> float:
    """Return the longest time, of this thread's processor, in which another thread did not get to run.

    The processor's time, because on a busy machine other processes run in between.
    """
    clock = time.pthread_getcpuclockid(threading.get_ident())
    longest_s = 0.0
    is_over = threading.Event()

    def watch() -> None:
        nonlocal longest_s
        last_s = time.clock_gettime(clock)
        while not is_over.is_set():
            time.sleep(0.001)
            now_s = time.clock_gettime(clock)
            longest_s, last_s = max(longest_s, now_s - last_s), now_s

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        is_over.set()
        watcher.join()
    return longest_s
