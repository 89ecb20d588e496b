"""Answers that cost much of the processor are read and parsed one after the other.

A server may answer in ten million pieces of a byte, or say `103 Early Hints` without end. Reading that takes one thread
all of a core, for as long as the action's `timeout`. Four such threads would leave the others of the process, which run
other people's actions, a fifth of its time. So a thread whose exchange has used more than `FREE_CPU_S` of the processor
waits for its turn after each read. There is one turn for each process: however many there are of these answers, they
cost the others no more than one of them does.

A turn is held from one read to the next, while what came is taken apart, and never while something is waited for. It
ends with the exchange at the latest.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

FREE_CPU_S = 0.25
"""How much of the processor an exchange may use before it has to wait. 10 MB in usual pieces need less."""

LARGE_BYTES = 2**20
"""From how many bytes on bodies are parsed one after the other."""

# By process: a child of a fork must not wait for a turn that a thread of its parent had.
_turns: dict[int, threading.Lock] = {}
# A thread may take this one again: what cleans a body parses it.
_parsing: dict[int, AbstractContextManager[bool]] = {}


@dataclass(slots=True)
class Turn:
    """One exchange's turn. It is made, taken and ended by the thread that has the exchange."""

    began_cpu_s: float = field(default_factory=time.thread_time)
    _held: "threading.Lock | None" = None

    def take(self, timeout_s: float | None) -> bool:
        """Wait for the turn, where the exchange needs one. Return False where it did not come in time."""
        if self._held or time.thread_time() - self.began_cpu_s < FREE_CPU_S:
            return True
        turn = _turns.setdefault(os.getpid(), threading.Lock())
        if not turn.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        self._held = turn
        return True

    def end(self) -> None:
        """Let another exchange go on. May be called where the turn was not taken."""
        if held := self._held:
            self._held = None
            held.release()


@contextmanager
def parsing_turn(size_bytes: int) -> Iterator[None]:
    """Parse a body of this size within the block; large ones of a process are parsed one after the other.

    May be nested. Nothing that waits for a server, Redis or the storage belongs into the block.

    A step of the parser holds the interpreter for up to a fifth of a second. Eight threads that do so by turns leave
    nothing to the others, which need the interpreter a hundred times for one request.
    """
    if size_bytes < LARGE_BYTES:
        yield
        return
    with _parsing.setdefault(os.getpid(), threading.RLock()):
        yield
