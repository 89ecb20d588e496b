"""`python -m MODULE …` without the start of a Python: forked off a process that has the application imported.

The same goes for `python -c CODE …`.

To start a Python and import the application takes a second of a core, and the tests run hundreds of commands and
workers. Here each is a process of its own as well, with its own environment, folder, standard streams and exit code,
and it runs the module or the code as Python does. Only the imports have been done before (forked_python_main.py).

Two things differ: /proc shows the command line and the environment of the process that it was forked off, and it is not
this process that is its parent. A test that needs either starts `sys.executable`.
"""

import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

MAIN = Path(__file__).with_name("forked_python_main.py")
# What a shell starts to have a process forked.
COMMAND = Path(__file__).with_name("forked_command.py")
# How large a question may be: arguments and environment.
MAX_BYTES = 1_000_000
# What Python itself reads when it starts, and would have to be started for.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_")
# But this one, which the child can still follow.
_READ_LATER = "PYTHONPATH"
_ENDS_WITHIN_S = 45

_origins: list[tuple[subprocess.Popen[bytes], socket.socket, tempfile.TemporaryDirectory[str]]] = []
# A question and its answer belong together: some tests start processes from several threads.
_asking = threading.Lock()


class ForkedPython(subprocess.Popen):
    """A process that is used like any other `Popen`.

    Its arguments are those of `python`: `["-m", module, …]` or `["-c", code, …]`.
    """

    def _execute_child(self, args: list[Any], *others: Any) -> None:
        folder, environment = others[4:6]
        streams = others[9:15]
        p2cread, _, _, c2pwrite, _, errwrite = streams
        self._status, status = os.pipe()
        environment = dict(os.environ if environment is None else environment)
        # As everywhere in `Popen`, a session of its own is asked for by the option start_new_session.
        question = [list(map(os.fspath, args)), str(Path(folder or ".").resolve()), environment, bool(others[20])]
        given = [fd if fd >= 0 else number for number, fd in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            self.pid = _ask(question, [*given, status])
        finally:
            os.close(status)
            self._close_pipe_fds(*streams)
        self._child_created = True

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags == os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        if not select.select([self._status], [], [], _ENDS_WITHIN_S)[0]:
            # A test that waits for ever would hold up the whole run, and say nothing.
            os.kill(self.pid, signal.SIGKILL)
            if not select.select([self._status], [], [], _ENDS_WITHIN_S)[0]:
                return self.pid, signal.SIGKILL
        told = os.read(self._status, 4)
        os.close(self._status)
        # Nothing is told where the origin has been ended.
        return self.pid, struct.unpack("i", told)[0] if told else 9

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode


def start_python(arguments: list[Any], **options: Any) -> subprocess.Popen[Any]:
    """Start `python` with these arguments, which begin with `-m` or `-c`, and with the options of `Popen`.

    It is forked unless its environment has what a Python reads when it starts.
    """
    environment = options.get("env", os.environ)
    kind = ForkedPython if _read_at_start(environment) == _read_at_start(os.environ) else subprocess.Popen
    return kind(arguments if kind is ForkedPython else [sys.executable, *arguments], **options)


def run_python(
    arguments: list[Any],
    *,
    stdin: str | bytes | None = None,
    timeout_s: float = 60,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run `python` with these arguments to its end, as `subprocess.run` does with `capture_output`."""
    source = subprocess.PIPE if stdin is not None else None
    options = {"stdin": source, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with start_python(arguments, **options) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)
    if check:
        done.check_returncode()
    return done


def _read_at_start(environment: Any) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name.startswith(_READ_AT_START) and name != _READ_LATER
    }


def _ask(question: list[Any], descriptors: list[int]) -> int:
    """Have the origin fork, and return the child's process id."""
    with _asking:
        _, channel, _ = _origin()
        # Bytes that are no UTF-8 pass through: arguments may have them.
        socket.send_fds(channel, [json.dumps(question).encode()], descriptors)
        answer = channel.recv(64)
    assert answer, f"{MAIN.name} has ended"
    return int(answer)


def forked_programs(folder: Path) -> dict[str, str]:
    """Write programs into a folder that a shell may run as `python`, `celery` and `workflow-state`.

    What they run is forked; they themselves are small. Return the environment that they need.
    """
    with _asking:
        _, _, door = _origin()
    # As the script that pip installs: `python -m celery` calls itself by that name.
    celery = "import sys; from celery.__main__ import main; sys.argv[0] = 'celery'; sys.exit(main())"
    programs = {"python": "", "celery": f'-c "{celery}"', "workflow-state": "-m workflow_state.cli"}
    for name, arguments in programs.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{COMMAND}" {arguments} "$@"\n')
        program.chmod(0o755)
    known = {name: value for name, value in os.environ.items() if name.startswith(_READ_AT_START)}
    return {"FORKED_PYTHON": json.dumps([f"{door.name}/door", _READ_AT_START, known])}


def _origin() -> tuple[subprocess.Popen[bytes], socket.socket, tempfile.TemporaryDirectory[str]]:
    if not _origins:
        _origins.append(_start_origin())
    return _origins[0]


def _start_origin() -> tuple[subprocess.Popen[bytes], socket.socket, tempfile.TemporaryDirectory[str]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_BYTES)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOW_STATE_")}
    folder = tempfile.TemporaryDirectory(prefix="forked-")
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(f"{folder.name}/door")
    door.listen()
    with theirs, door:
        process = subprocess.Popen(
            [sys.executable, MAIN, str(theirs.fileno()), str(door.fileno())],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), door.fileno()],
        )
    return process, ours, folder


@atexit.register
def _end_origin() -> None:
    while _origins:
        process, channel, folder = _origins.pop()
        channel.close()
        process.wait()
        folder.cleanup()
