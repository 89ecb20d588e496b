"""How the command starts: signals first, and only then what takes time to import.

Ctrl-C while modules are imported ends the process at once, with one line and exit code 130. An exception would come out
in the middle of somebody's import, as a traceback. Once a command's own code runs, Ctrl-C is a KeyboardInterrupt as
everywhere, so that what was started is put away.
"""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from workflow_state.cli.exit_codes import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with these arguments, by default those of the process, and exit.

    Call it from the main thread: it sets what SIGINT and SIGTERM do.
    """
    # A process that was started in the background by a script ignores Ctrl-C, and goes on doing so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    # So that `kill` ends a run as Ctrl-C does: its own Redis and worker go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # What is imported stays: looking for garbage in between takes a tenth of the time and finds none.
    gc.disable()
    from workflow_state.cli.commands import run_command  # noqa: PLC0415 - what it imports must not be interrupted

    sys.exit(run_command(arguments))


def end_start() -> None:
    """Have Ctrl-C raise KeyboardInterrupt from now on. Called when a command has been imported, before it runs."""
    gc.enable()
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once(*_: object) -> NoReturn:
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"interrupted\n")
    # Nothing has been started yet that would have to be put away.
    os._exit(INTERRUPTED)
