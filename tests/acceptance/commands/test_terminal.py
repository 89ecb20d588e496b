"""What is asked at a terminal, and what is typed there."""

import os
import re
import signal
import subprocess
from uuid import uuid4

import pytest
from helpers.command import CLI
from helpers.forked_python import start_python
from helpers.plans import action, plan
from helpers.terminal import terminal
from helpers.waiting import wait_until

from workflow_state import execute_plan, get_execution_state

PROMPT = "Send it? [y/N]: "
# As `run` follows an execution on a Redis of its own.
FOLLOW = """
import sys
from workflow_state.cli.watch import Watching, ask_on_terminal, follow
print("ended:", follow(sys.argv[-1], Watching(answer=ask_on_terminal)).status)
"""


@pytest.fixture
def asking(worker):
    """Submit a plan of which two actions ask, and return the execution's id once they do."""
    question = {"required": True, "title": "Charge it?", "message": "42 €"}
    asks = [action(name, userConfirmation=question) for name in ("first", "second")]
    execution_id = execute_plan.delay(plan(*asks)).id
    wait_until(lambda: len(get_execution_state(execution_id).confirmations) == 2, "both ask")
    return execution_id


def answers_of(execution_id):
    return {item.action_id: item.confirmed for item in get_execution_state(execution_id).confirmations}


def test_what_was_typed_before_the_question_does_not_answer_it(asking):
    """A `y` that was meant for something else would send the charge unseen."""
    with terminal() as screen:
        screen.type("y\n")
        screen.start([*CLI, "confirm", asking, "first"])
        assert "42 €" in screen.wait_for(PROMPT)
        screen.type("n\n")
        assert screen.wait_for_end() == 0
        assert "nothing was answered" in screen.seen
    assert answers_of(asking)["first"] is None


def test_a_yes_after_the_question_sends_it(asking):
    with terminal() as screen:
        screen.start([*CLI, "confirm", asking, "first"])
        screen.wait_for(PROMPT)
        screen.type("y\n")
        assert screen.wait_for_end() == 0
        assert screen.seen.endswith("confirmed\r\n")
    assert answers_of(asking)["first"] is True


def test_one_answer_is_for_one_question(asking):
    """Who types `y` twice has answered what was on the screen, and not what came after it."""
    with terminal() as screen:
        screen.start(["-c", FOLLOW, asking])
        screen.wait_for(PROMPT)
        screen.type("y\ny\n")
        screen.wait_for(PROMPT)
        screen.type("n\n")
        screen.wait_for("ended: failed")
    # Which of them asks first is chance.
    assert sorted(answers_of(asking).values()) == [False, True]


def test_a_question_is_shown_where_the_person_looks(asking, tmp_path):
    """With standard output in a file, the question is on the terminal all the same."""
    with terminal() as screen, (tmp_path / "log").open("w") as log:
        screen.start([*CLI, "confirm", asking, "first"], stdout=log)
        assert "42 €" in screen.wait_for("Send it? [y/N]:")
        screen.type("y\n")
        assert screen.wait_for_end() == 0
    assert (tmp_path / "log").read_text().endswith("confirmed\n")


@pytest.mark.parametrize("is_blind", [False, True], ids=["nobody types", "nobody sees"])
def test_without_a_terminal_only_yes_sends(asking, cli, redis_url, is_blind):
    """A script that forgot it, and one whose two outputs are in files, are told so: exit code 2."""
    with terminal() as screen:
        stdin = screen.theirs if is_blind else subprocess.DEVNULL
        options = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        screen.type("y\n")
        with start_python([*CLI, "confirm", asking, "first"], env=dict(os.environ), **options) as process:
            shown, told = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "42 €" in shown
    assert "there is no terminal to ask at; --yes sends it, --reject says no" in told
    assert answers_of(asking)["first"] is None
    assert cli("confirm", asking, "first", "--yes", redis_url=redis_url).stdout.endswith("confirmed\n")
    assert cli("confirm", asking, "second", "--reject", redis_url=redis_url).stdout == "rejected\n"
    assert answers_of(asking) == {"first": True, "second": False}


def test_a_follower_whose_screen_is_a_file_rejects(asking):
    """Nobody sees the question, so a `y` at the keyboard is none to it."""
    with terminal() as screen:
        options = {"stdin": screen.theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        screen.type("y\ny\n")
        with start_python(["-c", FOLLOW, asking], env=dict(os.environ), **options) as process:
            shown, told = process.communicate(timeout=30)
    assert "ended: failed" in shown
    assert "rejected: there is no terminal to ask at" in told
    assert answers_of(asking) == {"first": False, "second": False}


def test_what_is_typed_does_not_garble_the_picture(worker, service):
    """It is not shown while the picture is; after Ctrl-C the terminal is as it was."""
    name = f"slow-{uuid4().hex}"
    execution_id = execute_plan.delay(plan(action(name, actionDefinitionId="hold", inputs={"name": name}))).id
    with terminal() as screen:
        screen.start([*CLI, "status", execution_id, "--watch"])
        screen.wait_for(name)
        assert not screen.has_echo
        screen.type("garbled\n")
        wait_until(lambda: screen.unread_bytes == len("garbled\n"), "the terminal has taken it")
        screen.process.send_signal(signal.SIGINT)
        assert screen.wait_for_end() == 130
        assert screen.has_echo
        assert "garbled" not in screen.seen
    service.released.add(name)


def test_the_picture_says_that_an_action_waits_for_an_answer(asking):
    """On a Redis of one's own others answer; who watches sees what is waited for."""
    with terminal() as screen:
        screen.start([*CLI, "status", asking, "--watch"])
        screen.wait_for("waits for an answer")
        screen.process.send_signal(signal.SIGINT)
        assert screen.wait_for_end() == 130


def test_run_at_a_terminal_tells_from_the_start_to_the_outputs(definitions, plan_file, service):
    """A worker is started; then a clock goes forward, to the time that the end tells; then the outputs are shown."""
    path = plan_file(plan(action("hello", inputs={"name": "hello"})))
    variables = {"WORKFLOW_STATE_REDIS_URL": "", "WORKFLOW_STATE_ACTIONS": str(definitions), "TEST_API_TOKEN": "t"}
    with terminal() as screen:
        screen.start([*CLI, "run", path], env=variables)
        screen.wait_for("starting a worker")
        assert screen.wait_for_end() == 0, screen.seen
        assert screen.has_echo
    clock = [float(time_s) for time_s in re.findall(r"of 1 action  ([0-9.]+) s", screen.seen)]
    took_s = float(re.search(r"completed in ([0-9.]+) s: 1 completed", screen.seen)[1])
    assert clock == sorted(clock)
    assert clock[-1] >= took_s
    assert re.search(r"output of hello: \{.*\"name\": \"hello\"", screen.seen)
