"""A real Flower, asked over HTTP."""

import base64
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from helpers.forked_python import start_python
from helpers.servers import free_port
from helpers.waiting import wait_until


@contextmanager
def flower_on(redis_url: str) -> Iterator[Callable[..., str]]:
    """Run `celery -A workflow_state flower`, and yield a function that reads its pages."""
    port = free_port()
    process = start_python(
        ["-m", "celery", "-A", "workflow_state", "flower", f"--port={port}", "--address=127.0.0.1"],
        env={**os.environ, "WORKFLOW_STATE_REDIS_URL": redis_url, "FLOWER_BASIC_AUTH": "ops:secret"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def get(path: str, credentials: str = "ops:secret") -> str:
        encoded = base64.b64encode(credentials.encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Basic {encoded}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    # Its list of workers would come later, or never on a busy machine: Flower asks them for it, and gives each a second
    # to answer. Tests need its events only: of a worker that it has heard it hears all that follows.
    def is_up() -> bool:
        try:
            return "flower_worker_online{" in get("/metrics")
        except OSError:
            return False

    # For a browser, with who is there.
    get.address = f"http://ops:secret@127.0.0.1:{port}"  # type: ignore[attr-defined]
    try:
        wait_until(is_up, "Flower has heard the worker", timeout_s=90)
        yield get
    finally:
        process.terminate()
        process.wait(20)
