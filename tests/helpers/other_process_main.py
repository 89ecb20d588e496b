"""The process that answers are forked off (other_process.py): it has the application imported for its own Redis.

It reads questions from stdin, one JSON array `[code, arguments…]` a line, and answers each with a line of JSON: the
exit code, and what was written to stdout and stderr. It connects to nothing itself, and ends with its stdin.
"""

import json
import os
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from typing import Any

import kombu.transport.redis  # noqa: F401 - whoever submits needs it

import workflow_state
from workflow_state.celery import app

TIMEOUT_S = 60


def answer(code: str, arguments: list[str]) -> dict[str, Any]:
    """Run the code in a child, and return how it ended and what it said."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if not child:
            os.dup2(stdout.fileno(), sys.stdout.fileno())
            os.dup2(stderr.fileno(), sys.stderr.fileno())
            run(code, arguments)
        _, status = os.waitpid(child, 0)
        said = []
        for file in (stdout, stderr):
            file.seek(0)
            said.append(file.read().decode())
    return {"code": os.waitstatus_to_exitcode(status), "stdout": said[0], "stderr": said[1]}


def run(code: str, arguments: list[str]) -> None:
    """Run the code as `python -c` does, and end the process; it is killed after a while."""
    signal.alarm(TIMEOUT_S)
    sys.argv = ["-c", *arguments]
    names = {name: getattr(workflow_state, name) for name in workflow_state.__all__}
    exit_code = 1
    with suppress(BaseException):
        try:
            exec(code, {**names, "json": json, "sys": sys, "app": app, "client": app.backend.client})  # noqa: S102
            exit_code = 0
        except BaseException:  # noqa: BLE001 - told, as an interpreter does
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(exit_code)


def main() -> None:
    """Answer until stdin ends."""
    # Imported before the forks, and not once in each: asking for it connects to nothing.
    assert app.backend.client
    assert app.amqp
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    for line in sys.stdin:
        code, *arguments = json.loads(line)
        answers.write(json.dumps(answer(code, arguments)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
