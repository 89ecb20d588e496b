"""The pytest plugin, in a pytest of its own: what teams do with it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_state.installation import install_command

FILES = Path(__file__).parents[1] / "testing_kit"
EXAMPLE = Path(__file__).parents[3] / "examples" / "testing"

CONFTEST = 'pytest_plugins = ["workflow_state.testing"]\n'


@pytest.fixture
def run_pytest(tmp_path):
    """Return a function that runs pytest in a copy of the example, with more files in it, and returns how it ended."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))

    def run(*arguments, files=(), **variables):
        for name, text in dict(files).items():
            (project / name).write_text(text)
        # As on a developer's machine that is set up for production.
        others = {
            name: value for name, value in os.environ.items() if not name.startswith(("WORKFLOW_STATE", "PYTEST"))
        }
        production = {"WORKFLOW_STATE_REDIS_URL": "redis://127.0.0.1:1/0", "CRM_TOKEN": "the-real-one"}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:valkey", "-p", "no:cacheprovider", *arguments],
            cwd=project,
            env={**others, **production, **variables},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def outcomes(done):
    """Return how many tests passed, failed, and so on."""
    last = done.stdout.strip().splitlines()[-1]
    return {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|errors?|warnings?)", last)}


def test_the_examples_pass_in_two_processes_and_without_a_warning(run_pytest):
    """Each process has an engine of its own, whatever the machine is set up for."""
    done = run_pytest("-q", "-n", "2")
    assert outcomes(done) == {"passed": 9}, done.stdout


def test_failures_say_what_happened_and_what_to_do(run_pytest):
    """The summary of an execution, and the mistakes that everybody makes once; no line of ours is in a traceback."""
    done = run_pytest("how_failures_read.py", "-p", "no:randomly")
    assert done.returncode == 1
    assert outcomes(done) == {"failed": 5}, done.stdout
    for told in (
        "the execution is failed, not completed",
        "greet     failed in",
        "the server answered 422 Unprocessable Entity",
        "attempt 1: POST https://mail.example/messages → 422",
        'sent: {"to": "ada@example.com", "text": "Hello Ada!"}',
        'answered: {"error": "no such mailbox"}',
        "no answer is set for 'mail.send', which sent",
        "Add: workflow.answer('mail.send', {…})",
        "there is no action definition 'mail.sent'; did you mean 'mail.send'? (4 are loaded)",
        "Add confirm={'tell': True} to workflow.run(…)",
        "not within 0.5 s: the execution ends",
        "customer  running",
    ):
        assert told in done.stdout
    places = re.findall(r"^(\S+\.py):\d+: ", done.stdout, re.MULTILINE)
    assert places == ["how_failures_read.py"] * 5
    assert "127.0.0.1" not in done.stdout


def test_what_else_a_team_may_do(run_pytest):
    """Each of these tests says it; they run one after another, on one worker."""
    done = run_pytest(
        "-q", "-p", "no:randomly", "test_more.py", files={"test_more.py": (FILES / "passing.py").read_text()}
    )
    assert outcomes(done) == {"passed": 15}, done.stdout


def test_mistakes_of_a_test_are_failures(run_pytest):
    """Also where the plan itself got over it, and where nobody waited."""
    done = run_pytest(
        "-q", "-p", "no:randomly", "test_more.py", files={"test_more.py": (FILES / "failing.py").read_text()}
    )
    assert outcomes(done) == {"failed": 5}, done.stdout
    assert "no answer is set for 'get', which sent" in done.stdout
    assert "no answer is left for 'get'" in done.stdout
    assert "the answer for 'get' raised JSONDecodeError" in done.stdout
    assert "call workflow.definitions('actions/') first" in done.stdout
    assert "'get' has no OAuth 2" in done.stdout


def test_without_a_redis_server_one_line_says_what_to_install(run_pytest, tmp_path):
    """Every test that needs it says the same."""
    hide = CONFTEST + "import workflow_state.engine.local as local\nlocal._candidates = lambda: iter(())\n"
    files = {"conftest.py": hide, "test_more.py": "def test_it(workflow): ...\n"}
    done = run_pytest("-q", "test_more.py", files=files)
    assert outcomes(done) == {"error": 1}, done.stdout
    assert install_command("testing") in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_without_pytest_one_line_says_what_to_install(tmp_path):
    """Nobody has the plugin without it, but the assertions might be imported."""
    program = "import sys; sys.modules['pytest'] = None; import workflow_state.testing"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"ModuleNotFoundError: workflow_state.testing needs pytest: {install_command('testing')}"
    )
