"""The terminal is as it was, however a command ends."""

import os
import pty
import termios

import pytest

from workflow_state.cli.terminal import echo


@pytest.fixture
def screen():
    """Open a terminal, and yield the end at which a command is."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield stream
    os.close(ours)


def has_echo(stream):
    return bool(termios.tcgetattr(stream)[3] & termios.ECHO)


@pytest.mark.parametrize("ending", [None, KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_what_is_typed_is_shown_again_however_the_block_ends(screen, ending):
    """Ctrl-C, a signal and a defect raise in the middle of it."""
    before = termios.tcgetattr(screen)

    def draw():
        with echo(screen, on=False):
            assert not has_echo(screen)
            if ending:
                raise ending

    if ending:
        with pytest.raises(ending):
            draw()
    else:
        draw()
    assert termios.tcgetattr(screen) == before


def test_a_question_within_shows_what_is_typed(screen):
    with echo(screen, on=False):
        with echo(screen, on=True):
            assert has_echo(screen)
        assert not has_echo(screen)
    assert has_echo(screen)


def test_a_file_has_no_echo(tmp_path):
    with (tmp_path / "log").open("w") as stream, echo(stream, on=False):
        stream.write("drawn")
    assert (tmp_path / "log").read_text() == "drawn"
