"""Processes that a benchmark starts, and that end with it; without the project, so that it runs in any venv."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_STOP_DEADLINE_S = 5.0


@contextmanager
def child_process(
    command: Sequence[str], environment: Mapping[str, str], *, stdout: IO[Any] | int, stderr: IO[Any] | int
) -> Iterator["subprocess.Popen[str]"]:
    """Run a command in a session of its own until the block ends, then end it with everything that it started.

    Call it in the main thread: the kernel ends the child with the thread that started it.
    """
    process = subprocess.Popen(  # noqa: S603 - a command of our own
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=dict(environment),
        text=True,
        start_new_session=True,
        preexec_fn=_dying_with(os.getpid()),  # noqa: PLW1509 - called before there are other threads
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_DEADLINE_S)
    # Also where the leader has ended by itself: its children are in its group still.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _dying_with(parent: int) -> Callable[[], None] | None:
    """Return what makes the child die with its parent, even where that is killed by -9 (on Linux)."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork: between fork and exec there may be no time for it.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with_parent
