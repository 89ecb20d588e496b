"""A service that submits plans, waits for them, reads states and lists, again and again, whatever becomes of Redis.

`python -m steady_caller LOG`: each call adds one JSON object to the log: `{call, at, took_s, id?, error?, status?}`.
It ends when its stdin does, after every `.get()` has returned, and writes `{call: "end", …}` with its own size.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from workflow_state import execute_plan, get_execution_state, list_executions

_GET_TIMEOUT_S = 180


class Log:
    """What was called, and what came of it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def write(self, **entry: Any) -> None:
        """Add an entry."""
        with self._lock:
            self._file.write(json.dumps(entry) + "\n")

    def call(self, name: str, function: Callable[[], Any], **told: Any) -> Any:
        """Call, and note how long it took and how it ended."""
        at, begun_s = time.time(), time.monotonic()
        try:
            value = function()
        except Exception as error:  # noqa: BLE001 - which ones there are is what the test asks
            took_s = time.monotonic() - begun_s
            kinds = [kind.__name__ for kind in type(error).__mro__]
            self.write(call=name, at=at, took_s=took_s, error=kinds, message=str(error)[:300], **told)
            return None
        self.write(call=name, at=at, took_s=time.monotonic() - begun_s, **told)
        return value


def plan_for(execution_id: str) -> dict[str, Any]:
    """Return a plan of two levels, whose first request takes a while."""
    slow = {"name": f"{execution_id}.slow", "query.delay_ms": 300}
    post = {"name": f"{execution_id}.post"}
    actions = [
        {"id": "slow", "actionDefinitionId": "echo", "inputs": slow},
        {"id": "post", "actionDefinitionId": "post", "inputs": post, "dependencies": ["slow"]},
    ]
    return {"name": "steady", "actions": actions}


def submit(execution_id: str) -> Any:
    """Submit a plan under this id."""
    return execute_plan.apply_async((plan_for(execution_id),), task_id=execution_id)


def wait_for(log: Log, execution_id: str, handle: Any) -> None:
    """Wait for the final state, as a request handler of the service would."""
    state = log.call("get", lambda: handle.get(timeout=_GET_TIMEOUT_S), id=execution_id)
    if state is not None:
        log.write(call="final", at=time.time(), id=execution_id, status=state["status"])


def size_of(process: int | str = "self") -> dict[str, int]:
    """Return how much a process holds."""
    folder = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    return {
        "rss_kb": int(status["VmRSS"].split()[0]),
        "descriptors": len(list((folder / "fd").iterdir())),
        "threads": int(status["Threads"]),
    }


def main() -> None:
    """Call until stdin ends."""
    log = Log(Path(sys.argv[1]))
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    waiting: list[threading.Thread] = []
    while not over.wait(0.2):
        execution_id = f"steady-{uuid4()}"
        handle = log.call("submit", partial(submit, execution_id), id=execution_id)
        if handle is not None:
            thread = threading.Thread(target=wait_for, args=(log, execution_id, handle))
            thread.start()
            waiting.append(thread)
            log.call("state", partial(get_execution_state, execution_id), id=execution_id)
        log.call("list", lambda: list_executions(limit=5))
        waiting = [thread for thread in waiting if thread.is_alive()]
        if len(waiting) < 3:
            log.write(call="size", at=time.time(), **size_of())
    for thread in waiting:
        thread.join()
    log.write(call="end", at=time.time(), **size_of())


if __name__ == "__main__":
    main()
