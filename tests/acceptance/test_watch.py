"""Watching an execution on a terminal, and leaving it."""

import os
import pty
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from plans import action, plan
from support import COMMAND, wait_until

from workflow_state import execute_plan, get_execution_state

COLOUR = re.compile(rb"\x1b\[[0-9;]*[34][0-9](;|m)")
SHOW_CURSOR = b"\x1b[?25h"
HIDE_CURSOR = b"\x1b[?25l"


def slow_execution():
    """Submit a plan of one action that takes a second and a half, and return its id."""
    slow = action("slow", inputs={"name": "slow", "query.delay_ms": 1_500})
    return execute_plan.apply_async((plan(slow),), task_id=f"watch-{uuid4()}").id


def watch_on_terminal(execution_id, *, until=None, **variables):
    """Watch it on a terminal of its own; send Ctrl-C once `until` is on the screen. Return the screen and the code."""
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [*COMMAND, "status", execution_id, "--watch"],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **variables},
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
            if until and until in seen:
                command.send_signal(signal.SIGINT)
                until = None
    except OSError:  # the command has closed its end
        pass
    finally:
        os.close(ours)
    return seen, command.wait(30)


@pytest.mark.parametrize("options", [["--watch"], ["--watch", "--json"]], ids=" ".join)
def test_ctrl_c_leaves_the_execution_going_and_says_how_to_come_back(worker, options):
    """Exit code 130, one line on standard error, and the execution completes."""
    execution_id = slow_execution()
    wait_until(lambda: get_execution_state(execution_id).action_states["slow"].started_at, "it runs")
    with subprocess.Popen(
        [*COMMAND, "status", execution_id, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        if "--json" not in options:
            assert "slow" in command.stdout.readline()
        else:
            # It prints nothing before the end; once it has a connection to Redis, it looks.
            wait_until(lambda: has_connection(command.pid), "it watches")
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 130
        told = command.stderr.read()
    back = f"workflow-state status {execution_id} --watch"
    assert told == f"{execution_id} goes on without you; come back to it: {back}\n"
    wait_until(lambda: get_execution_state(execution_id).status == "completed", "it went on")


def has_connection(pid):
    """Return whether a process, whose standard streams are pipes, has a socket."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if str(entry.readlink()).startswith("socket:"):
                return True
    return False


def test_run_on_a_shared_redis_is_left_in_the_same_way(cli, plan_file, redis_url, worker):
    """The id is said at the start, and the way back at Ctrl-C."""
    slow = action("slow", inputs={"name": "slow", "query.delay_ms": 1_500})
    with subprocess.Popen(
        [*COMMAND, "run", plan_file(plan(slow))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        execution_id = command.stdout.readline().removeprefix("execution ").strip()
        assert "slow" in command.stdout.readline()
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 130
        assert f"come back to it: workflow-state status {execution_id} --watch" in command.stderr.read()
    wait_until(lambda: get_execution_state(execution_id).status == "completed", "it went on")


def test_ctrl_c_gives_the_cursor_back(worker):
    """The picture hides it; a shell without a cursor is what remained."""
    seen, code = watch_on_terminal(slow_execution(), until=b"slow")
    assert code == 130
    assert seen.count(HIDE_CURSOR) == seen.count(SHOW_CURSOR) == 1
    assert b"goes on without you" in seen


def test_no_color_is_honoured(worker):
    """https://no-color.org: a picture without a colour; with the variable empty or unset there are some."""
    execution_id = slow_execution()
    plain, _ = watch_on_terminal(execution_id, NO_COLOR="1")
    coloured, _ = watch_on_terminal(execution_id, NO_COLOR="")
    assert b"slow" in plain
    assert not COLOUR.search(plain)
    assert COLOUR.search(coloured)


def test_a_dumb_terminal_gets_lines(worker):
    """What can't move its cursor is not painted over."""
    seen, code = watch_on_terminal(slow_execution(), TERM="dumb")
    assert code == 0
    assert b"slow: completed in" in seen
    assert b"\x1b" not in seen


def test_a_state_says_which_command_comes_next(cli, redis_url, worker):
    """Resuming what has failed, answering what waits, and nothing after success."""
    question = {"required": True, "title": "Send it?", "message": "Really."}
    asking = execute_plan.delay(plan(action("ask", userConfirmation=question))).id
    wait_until(lambda: get_execution_state(asking).status == "paused_for_confirmation", "it asks")
    assert f"  next: workflow-state confirm {asking} ask\n" in cli("status", asking, redis_url=redis_url).stdout
    cli("confirm", asking, "ask", "--reject", redis_url=redis_url)
    watched = cli("status", asking, "--watch", redis_url=redis_url)
    assert watched.returncode == 1
    assert watched.stdout.endswith(f"  next: workflow-state resume {asking}\n")
    done = execute_plan.delay(plan(a=[]))
    done.get(timeout=30)
    assert "next:" not in cli("status", done.id, redis_url=redis_url).stdout
