"""Workers of a test's own, forked off a process that has the application imported (forked_python.py)."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from helpers.forked_python import start_python

STOP_DEADLINE_S = 10


@contextmanager
def forked_worker(
    redis_url: str,
    *,
    log_file: Path,
    environment: Mapping[str, str] | None = None,
    extra_arguments: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `celery -A workflow_state worker` until the block ends, and yield its process.

    It is what `workflow_state.engine.local.local_worker` runs, in a session of its own as there.
    """
    arguments = ["-m", "celery", "-A", "workflow_state", "worker", "--without-mingle", "--without-gossip"]
    with log_file.open("ab") as log:
        process = start_python(
            [*arguments, "--loglevel", "INFO", *extra_arguments],
            env={**os.environ, **(environment or {}), "WORKFLOW_STATE_REDIS_URL": redis_url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
