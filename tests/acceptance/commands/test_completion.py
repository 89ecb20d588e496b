"""What a shell completes."""

import subprocess
import time
from uuid import uuid4

import pytest
from helpers.plans import action, plan
from helpers.resp_answers import answering
from helpers.waiting import in_time, wait_until

from workflow_state import execute_plan, get_execution_state

PROGRAM = "workflow-state"


@pytest.fixture
def complete(cli):
    """Return the words that a shell is told for a command line whose last word is to be completed."""

    def ask(*words, **settings):
        variables = {"_WORKFLOW_STATE_COMPLETE": "zsh_complete", "COMP_WORDS": " ".join([PROGRAM, *words])}
        done = cli(**settings, **variables, COMP_CWORD=str(len(words)))
        assert done.stderr == ""
        # In threes: what kind it is, the word, and what it means.
        return [word.replace("\\:", ":") for word in done.stdout.splitlines()[1::3]]

    return ask


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(cli, shell):
    """It calls the command again, and defines the completion of its name."""
    done = cli("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_WORKFLOW_STATE_COMPLETE={shell}_complete" in done.stdout
    assert cli("completion", "tcsh").returncode == 2


def test_bash_takes_the_script(cli):
    """A real bash evaluates it, and knows then what completes the command."""
    script = cli("completion", "bash").stdout
    told = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p {PROGRAM}"], capture_output=True, text=True, check=True, timeout=30
    )
    assert "_workflow_state_completion workflow-state" in told.stdout
    assert told.stderr == ""


def test_commands_and_options_are_completed(complete):
    """Without any Redis."""
    assert complete("sta") == ["status"]
    assert complete("status", "--w") == ["--watch"]
    assert complete("actions", "im") == ["import"]


def test_ids_are_those_that_the_command_can_do_something_with(complete, redis_url, worker):
    """What has not ended is offered to `confirm` and `cancel`, what has failed to `resume`, and all to `status`."""
    prefix = f"complete-{uuid4()}"
    question = {"required": True, "title": "Send it?", "message": "Really."}
    execute_plan.apply_async((plan(action("ask", userConfirmation=question), beside=[]),), task_id=f"{prefix}:waits")
    broken = action("bad", actionDefinitionId="status", inputs={"code": 404, "name": "bad"})
    execute_plan.apply_async((plan(broken),), task_id=f"{prefix}:failed").get(timeout=30)

    def is_ready():
        state = get_execution_state(f"{prefix}:waits")
        return state.status == "paused_for_confirmation" and state.action_states["beside"].result

    wait_until(is_ready, "it asks")
    assert sorted(complete("status", prefix, redis_url=redis_url)) == [f"{prefix}:failed", f"{prefix}:waits"]
    assert complete("confirm", prefix, redis_url=redis_url) == [f"{prefix}:waits"]
    assert complete("cancel", prefix, redis_url=redis_url) == [f"{prefix}:waits"]
    assert complete("resume", prefix, redis_url=redis_url) == [f"{prefix}:failed"]
    assert complete("confirm", f"{prefix}:waits", "", redis_url=redis_url) == ["ask"]
    assert complete("output", f"{prefix}:waits", "b", redis_url=redis_url) == ["beside"]


@pytest.mark.parametrize("answer", [b"", b"-NOAUTH Authentication required.\r\n"], ids=["silent", "refusing"])
def test_a_redis_that_does_not_answer_completes_nothing(complete, answer):
    """Within 0.3 s more than the command takes by itself; a wrong setting is no reason to speak either."""
    began_s = time.monotonic()
    assert complete("status", "", redis_url="http://nonsense") == []
    by_itself_s = time.monotonic() - began_s
    with answering(answer) as port:
        url = f"redis://127.0.0.1:{port}/0"
        assert in_time(by_itself_s + 1, lambda: complete("status", "", redis_url=url)) == []
