"""A command on a terminal of its own, at which a test types."""

import fcntl
import os
import pty
import select
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from helpers.forked_python import start_python

_WITHIN_S = 30


class Terminal:
    """The test's end of a pseudoterminal, and all that has been shown on it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.seen = ""
        self.process: Any = None

    def start(self, arguments: Sequence[str], **options: Any) -> None:
        """Start a command on it; `options` may put other streams in the place of the terminal."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self.theirs)
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **options.pop("env", {})}
        self.process = start_python(list(arguments), **{**streams, "env": environment, **options})

    def type(self, text: str) -> None:
        """Type it, whether or not somebody reads."""
        os.write(self.ours, text.encode())

    def wait_for(self, text: str) -> str:
        """Read until this has been shown, and return all that has been shown since the last call."""
        ends_at_s, begun = time.monotonic() + _WITHIN_S, len(self.seen)
        while text not in self.seen[begun:]:
            assert time.monotonic() < ends_at_s, f"{text!r} was not shown: {self.seen}"
            assert self._read(), f"{text!r} was not shown before the command ended: {self.seen}"
        return self.seen[begun:]

    def wait_for_end(self) -> int:
        """Read until the command has ended, and return its exit code."""
        ends_at_s = time.monotonic() + _WITHIN_S
        while self.process.poll() is None or select.select([self.ours], [], [], 0)[0]:
            assert time.monotonic() < ends_at_s, f"it did not end: {self.seen}"
            self._read(0.05)
        code: int = self.process.wait()
        return code

    @property
    def has_echo(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.ours)[3] & termios.ECHO)

    @property
    def unread_bytes(self) -> int:
        """How much was typed, in whole lines, that nobody has read."""
        return int.from_bytes(fcntl.ioctl(self.theirs, termios.FIONREAD, bytes(4)), sys.byteorder)

    def _read(self, within_s: float = 1) -> bool:
        if not select.select([self.ours], [], [], within_s)[0]:
            return self.process.poll() is None
        self.seen += os.read(self.ours, 65536).decode(errors="replace")
        return True


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Yield a terminal. What still runs on it at the end is killed."""
    made = Terminal()
    try:
        yield made
    finally:
        if made.process and made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        for descriptor in (made.ours, made.theirs):
            with suppress(OSError):
                os.close(descriptor)
