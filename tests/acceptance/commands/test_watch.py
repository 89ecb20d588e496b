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
from helpers.command import CLI, COMMAND
from helpers.forked_python import start_python
from helpers.plans import action, plan
from helpers.waiting import wait_until

from workflow_state import execute_plan, get_execution_state

COLOUR = re.compile(rb"\x1b\[[0-9;]*[34][0-9](;|m)")
SHOW_CURSOR = b"\x1b[?25h"
HIDE_CURSOR = b"\x1b[?25l"


@pytest.fixture
def held_plan(service):
    """Yield a plan of one action that runs until its name is released, as it is at the end; its id is the name."""
    name = f"slow-{uuid4().hex}"
    yield plan(action(name, actionDefinitionId="hold", inputs={"name": name}))
    service.released.add(name)


@pytest.fixture
def held_execution(held_plan, worker):
    """Submit it, and return the execution's id once it runs."""
    handle = execute_plan.apply_async((held_plan,), task_id=f"watch-{uuid4()}")
    (name,) = [item["id"] for item in held_plan["actions"]]
    wait_until(lambda: get_execution_state(handle.id).action_states[name].started_at, "it runs")
    return handle.id


def goes_on_to_the_end(execution_id, service):
    """Require that an execution of the held plan still runs, and completes once it may."""
    state = get_execution_state(execution_id)
    assert state.status == "running"
    service.released.update(state.action_states)
    wait_until(lambda: get_execution_state(execution_id).status == "completed", "it went on")


def watch_on_terminal(execution_id, then, **variables):
    """Watch it on a terminal of its own, and call `then` with the process once the action is on the screen.

    Return the screen and the exit code.
    """
    ours, theirs = pty.openpty()
    command = start_python(
        [*CLI, "status", execution_id, "--watch"],
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
            if then and b"slow" in seen:
                then(command)
                then = None
    except OSError:  # the command has closed its end
        pass
    finally:
        os.close(ours)
    return seen, command.wait(30)


@pytest.mark.parametrize("options", [["--watch"], ["--watch", "--json"]], ids=" ".join)
def test_ctrl_c_leaves_the_execution_going_and_says_how_to_come_back(held_execution, service, options):
    """Exit code 130, one line on standard error, and the execution completes."""
    with subprocess.Popen(
        [*COMMAND, "status", held_execution, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        if "--json" not in options:
            assert "slow" in command.stdout.readline()
        else:
            # It prints nothing before the end; once it asks Redis, it looks.
            wait_until(lambda: has_connection(command.pid), "it looks")
        command.send_signal(signal.SIGINT)
        told = command.stderr.read()
        assert command.wait(30) == 130, told
    back = f"workflow-state status {held_execution} --watch"
    assert told == f"{held_execution} goes on without you; come back to it: {back}\n"
    goes_on_to_the_end(held_execution, service)


def has_connection(pid):
    """Return whether a process, whose standard streams are pipes, has a socket."""
    process = Path(f"/proc/{pid}")
    # Until it has become the command it has all that this process has.
    if b"workflow_state.cli" not in (process / "cmdline").read_bytes():
        return False
    for entry in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if str(entry.readlink()).startswith("socket:"):
                return True
    return False


def test_run_on_a_shared_redis_is_left_in_the_same_way(held_plan, plan_file, worker, service):
    """The id is said at the start, and the way back at Ctrl-C."""
    with subprocess.Popen(
        [*COMMAND, "run", plan_file(held_plan)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        execution_id = command.stdout.readline().removeprefix("execution ").strip()
        assert "slow" in command.stdout.readline()
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 130
        assert f"come back to it: workflow-state status {execution_id} --watch" in command.stderr.read()
    goes_on_to_the_end(execution_id, service)


def test_ctrl_c_gives_the_cursor_back(held_execution):
    """The picture hides it; a shell without a cursor is what remained."""
    seen, code = watch_on_terminal(held_execution, lambda command: command.send_signal(signal.SIGINT))
    assert code == 130
    assert seen.count(HIDE_CURSOR) == seen.count(SHOW_CURSOR) == 1
    assert b"goes on without you" in seen


def test_no_color_is_honoured(held_execution):
    """https://no-color.org: a picture without a colour; with the variable empty or unset there are some."""
    plain, _ = watch_on_terminal(held_execution, lambda command: command.send_signal(signal.SIGINT), NO_COLOR="1")
    coloured, _ = watch_on_terminal(held_execution, lambda command: command.send_signal(signal.SIGINT), NO_COLOR="")
    assert b"slow" in plain
    assert not COLOUR.search(plain)
    assert COLOUR.search(coloured)


def test_a_dumb_terminal_gets_lines(held_execution, service):
    """What can't move its cursor is not painted over."""
    actions = get_execution_state(held_execution).action_states
    seen, code = watch_on_terminal(held_execution, lambda _: service.released.update(actions), TERM="dumb")
    assert code == 0
    assert re.search(rb"slow-\w+: completed in", seen)
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


@pytest.mark.parametrize("listed", ["${inputs.names}", "${start.output.body.names}"], ids=["inputs", "output"])
def test_status_counts_the_elements_of_a_list(cli, redis_url, worker, service, listed):
    """Two of three are done, wherever the list comes from."""
    names = [f"slow-{uuid4().hex}" for _ in range(3)]
    service.released.update(names[:2])
    each = action("each", ["start"], actionDefinitionId="hold", forEach=listed, inputs={"name": "${item}"})
    start = action("start", actionDefinitionId="post", inputs={"name": "start", "body": {"names": names}})
    handle = execute_plan.delay({**plan(start, each), "inputs": {"names": names}})
    shown = wait_until(
        lambda: (told := cli("status", handle.id, redis_url=redis_url).stdout) and "of 3 done" in told and told,
        "the list is under way",
    )
    wait_until(lambda: "2 of 3 done" in cli("status", handle.id, redis_url=redis_url).stdout, f"two are done: {shown}")
    service.released.update(names)
    assert handle.get(timeout=30)["status"] == "completed"


def test_elements_that_wait_are_named_as_a_shell_takes_them(cli, redis_url, worker):
    """A list is not answered as a whole: the error says which elements wait."""
    question = {"required": True, "title": "Send it?", "message": "Really."}
    each = action("each", forEach="${inputs.items}", inputs={"name": "x"}, userConfirmation=question)
    asking = execute_plan.delay({**plan(each), "inputs": {"items": [1, 2]}}).id
    wait_until(lambda: len(get_execution_state(asking).confirmations) == 2, "both elements ask")
    shown = cli("status", asking, redis_url=redis_url).stdout
    for index in range(2):
        assert f"  next: workflow-state confirm {asking} 'each[{index}]'\n" in shown
    refused = cli("confirm", asking, "each", "--reject", redis_url=redis_url)
    assert refused.returncode == 2
    assert "each is a list, of which each element is answered by itself: each[0], each[1]" in refused.stderr
    cli("cancel", asking, redis_url=redis_url)
