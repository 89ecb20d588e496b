"""`python …` in a shell of the tests: has a process forked (forked_python.py), and stands for it in the shell.

It hands over its streams, passes on the signals that it gets, and ends as that process does. Where this one is killed,
that one is as well. It is run without the site's packages, so that it takes a fiftieth of a second. What can't be
forked is started: a script, and a Python whose environment has something else that is read at the start.
"""

import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

PASSED_ON = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")


def main() -> None:
    """Run what the arguments say, and end with its exit code."""
    door, read_at_start, known = json.loads(os.environ["FORKED_PYTHON"])
    arguments = sys.argv[1:]
    own = {name: value for name, value in os.environ.items() if name.startswith(tuple(read_at_start))}
    if own != known or arguments[:1] not in (["-m"], ["-c"], ["-"]):
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell is wanted
    ours, theirs = socket.socketpair()
    with theirs:
        process = ask(door, arguments, theirs.fileno())
    for name in PASSED_ON:
        number = getattr(signal, name)
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: os.kill(process, number))
    told = ours.recv(4)
    # Nothing is told where the tests have ended.
    code = os.waitstatus_to_exitcode(struct.unpack("i", told)[0]) if told else -signal.SIGKILL
    if code < 0:
        if code not in (-signal.SIGKILL, -signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def ask(door: str, arguments: list[str], status: int) -> int:
    """Have the process forked, in a session of its own, and return its id."""
    question = json.dumps([arguments, str(Path.cwd()), dict(os.environ), True]).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(door)
        socket.send_fds(asking, [question], [0, 1, 2, status])
        return int(asking.recv(64))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
