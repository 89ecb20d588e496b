"""The terminal at which a person sits: asking there, and keeping what is typed out of the picture.

with echo(sys.stdout, on=False):        # what is typed is not shown, and is there for whoever reads next
    ...
if can_ask():
    is_sure = ask("Send it?")
"""

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

_LOCAL_FLAGS = 3


def asks_on_stderr() -> bool:
    """Return on which of the two outputs to ask: on standard output, unless that is no terminal."""
    return not sys.stdout.isatty()


def can_ask() -> bool:
    """Return whether somebody is there who sees a question and can answer it."""
    return sys.stdin.isatty() and (sys.stderr if asks_on_stderr() else sys.stdout).isatty()


def ask(question: str) -> bool:
    """Ask for a yes or a no, below what has been shown; call it where `can_ask()`.

    What was typed before does not count. It may be meant for another question, or for the shell. Raises click.Abort
    where the input ends (Ctrl-D) or on Ctrl-C.
    """
    on_stderr = asks_on_stderr()
    stream = sys.stderr if on_stderr else sys.stdout
    with echo(sys.stdin, on=True):
        stream.flush()
        # A terminal may be stopped (Ctrl-S) or slow: nobody can answer what is not on the screen yet.
        termios.tcdrain(stream)
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        return click.confirm(question, err=on_stderr)


@contextmanager
def echo(stream: TextIO, *, on: bool) -> Iterator[None]:
    """Have the terminal show what is typed, or not, until the block ends; do nothing where the stream is no terminal.

    However the block ends, by Ctrl-C too, the terminal is then as it was. A process in the background leaves it alone:
    its terminal is the shell's, and the kernel would stop the process for it.
    """
    if not stream.isatty() or _is_in_background(stream):
        yield
        return
    before = termios.tcgetattr(stream)
    wanted = [*before]
    wanted[_LOCAL_FLAGS] = before[_LOCAL_FLAGS] | termios.ECHO if on else before[_LOCAL_FLAGS] & ~termios.ECHO
    try:
        # What has been typed stays: on leaving, the shell gets it.
        termios.tcsetattr(stream, termios.TCSANOW, wanted)
        yield
    finally:
        try:
            _restore(stream, before)
        except (KeyboardInterrupt, SystemExit):
            # Who is impatient sends Ctrl-C twice.
            _restore(stream, before)
            raise


def _restore(stream: TextIO, attributes: list[Any]) -> None:
    # The process may have been moved to the background meanwhile.
    if not _is_in_background(stream):
        termios.tcsetattr(stream, termios.TCSANOW, attributes)


def _is_in_background(stream: TextIO) -> bool:
    try:
        return os.tcgetpgrp(stream.fileno()) != os.getpgrp()
    except OSError:  # it is not the terminal that this process belongs to
        return False
