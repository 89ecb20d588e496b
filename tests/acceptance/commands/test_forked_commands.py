"""A command that is forked (helpers/forked_python.py) does what one does for which a Python is started."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.forked_python import ForkedPython, forked_programs, run_python, start_python
from helpers.waiting import wait_until

CLI = ["-m", "workflow_state.cli"]


def outcome(done):
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["validate", "-"], '{"name": "é", "actions": []}'),
        (["validate", "here.json"], ""),
        (["status", "\udcff"], ""),
        (["nothing"], ""),
    ],
    ids=lambda value: " ".join(value).encode(errors="replace").decode() if isinstance(value, list) else "",
)
def test_it_says_and_exits_as_a_started_one(tmp_path, arguments, stdin):
    """In its own folder, with its own environment and standard input."""
    (tmp_path / "here.json").write_text("{")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "WORKFLOW_STATE_REDIS_URL": "redis://127.0.0.1:1"}
    environment |= {name: os.environ[name] for name in os.environ if name.startswith(("PYTHON", "LC_", "LANG", "TZ"))}
    options = {"cwd": tmp_path, "env": environment, "text": True}
    started = subprocess.run(
        [sys.executable, *CLI, *arguments], input=stdin, capture_output=True, check=False, timeout=60, **options
    )
    assert outcome(run_python([*CLI, *arguments], stdin=stdin, **options)) == outcome(started)


def test_it_has_its_own_terminal():
    """What is at the other end of its streams it finds out by itself."""
    ours, theirs = pty.openpty()
    with start_python(["-m", "pdb", "-c", "q", os.__file__], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        assert isinstance(process, ForkedPython)
        assert process.wait(30) == 0
    os.close(ours)


def test_it_is_ended_by_signals_and_told_so():
    """By their numbers, as `Popen` has it."""
    command = ["-m", "http.server", "--bind", "127.0.0.1", "0"]
    for number in (signal.SIGKILL, signal.SIGTERM):
        with start_python(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            assert process.poll() is None
            process.send_signal(number)
            assert process.wait(30) == -number


def test_code_and_modules_are_found_where_the_environment_says(tmp_path):
    """`-c` has its arguments, exits as a script does, and imports from its own PYTHONPATH."""
    (tmp_path / "only_here.py").write_text("import sys\nsys.exit(len(sys.argv))")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for arguments in (["-c", "import sys; print(sys.argv, __name__); import only_here", "é"], ["-m", "only_here", "é"]):
        forked = run_python(arguments, env=environment, text=True)
        started = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert outcome(forked) == outcome(started)
        assert forked.returncode == 2


def test_an_exception_is_told_as_a_started_one_tells_it(tmp_path):
    """With code 1, and the exception's own line."""
    done = run_python(["-c", "raise KeyError('lost')"], text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "KeyError: 'lost'")


def test_what_python_reads_when_it_starts_is_given_to_a_started_one():
    """A variable that a running Python no longer looks at."""
    with start_python(["-m", "this"], env={**os.environ, "PYTHONHASHSEED": "1"}, stdout=subprocess.DEVNULL) as process:
        assert not isinstance(process, ForkedPython)


SCRIPT = """
echo 'import sys; print(sys.argv, __name__, sys.path[0])' | python - é
python -c 'import os, sys; print(sys.argv, os.environ["GIVEN"], flush=True); sys.exit(3)' é; echo $?
python -c 'import os; os.kill(os.getpid(), 15)'; echo $?
PYTHONHASHSEED=1 python -c 'print(hash("é"))'
echo 'print(input(), __file__)' >here.py; echo read | python here.py
celery -A nothing report; echo $?
workflow-state validate - <here.py; echo $?
"""


def test_in_a_shell_it_says_and_exits_as_a_started_one(tmp_path):
    """By arguments, standard input, exit codes and signals; scripts too, and where Python reads a variable at start."""
    shown = []
    (tmp_path / "bin").mkdir()
    real = Path(sys.executable).parent
    for first, variables in ((real, {}), (str(tmp_path / "bin"), forked_programs(tmp_path / "bin"))):
        environment = {**os.environ, **variables, "PATH": f"{first}:{real}:{os.environ['PATH']}", "GIVEN": "given"}
        command = ["bash", "-c", SCRIPT]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        shown.append(outcome(done))
    assert shown[1] == shown[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_to_what_stands_in_the_shell_ends_both(tmp_path, number):
    """Passed on where that can be, and with it where it is killed."""
    environment = {**os.environ, **forked_programs(tmp_path)}
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with subprocess.Popen([tmp_path / "python", "-c", code], env=environment, stdout=subprocess.PIPE) as shown:
        forked = int(shown.stdout.readline())
        assert forked != shown.pid
        shown.send_signal(number)
        assert shown.wait(30) == -number
        wait_until(lambda: has_ended(forked), "the forked one has ended")


def has_ended(process):
    """Return whether no process has this id."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False
