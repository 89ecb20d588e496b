"""A worker process's lease: who lives, and which runs it has."""

import json
import os
import secrets
import threading
from collections.abc import Mapping
from typing import Any

from redis import Redis

from workflow_state.store.names import worker_key

_incarnation: str | None = None
# What this process is running: thread → run. A thread has one task at a time.
_runs: dict[int, str] = {}


def incarnation() -> str:
    """Return this worker's incarnation; the children of a prefork pool share their parent's."""
    global _incarnation  # noqa: PLW0603 - one for each process, made before the pool forks
    if _incarnation is None:
        _incarnation = secrets.token_hex(8)
    return _incarnation


def begin_incarnation() -> None:
    """Make a new incarnation: when a worker starts, before its pool forks."""
    global _incarnation  # noqa: PLW0603 - see incarnation()
    _incarnation = secrets.token_hex(8)


def process_name() -> str:
    """Return this process's name, by which it holds claims: the worker's incarnation and the process id."""
    return f"{incarnation()}:{os.getpid()}"


def runs_under_way() -> list[str]:
    """Return the runs that this process has begun and not ended."""
    return list(_runs.values())


def end_run(**_: Any) -> None:
    """Forget the run of this thread's task: it is over, and its result is stored or never will be."""
    _runs.pop(threading.get_ident(), None)


def renew_process(client: Redis, lease_s: float) -> None:
    """Say that this process lives, and which runs are under way in it."""
    seconds, microseconds = client.time()
    # The time is read before the runs: whatever was claimed before it, and is not over, is among them.
    told = {"at": seconds + microseconds / 1e6, "runs": " ".join(runs_under_way())}
    client.set(worker_key(process_name()), json.dumps(told), px=round(lease_s * 1000))


def is_over(claim: Mapping[str, Any], lease: Mapping[str, Any] | None) -> bool:
    """Return whether the run that has a claim has ended without a result, so that another run may have the attempt.

    `lease` is the lease of the process that began the run, None where there is none any more: then the process is dead.
    A lease that is younger than the claim names all runs under way; one that it does not name is over.

    The same rule stands in `lua/lib/run_is_over.lua`, for what has to look and write in one step.
    """
    return lease is None or (lease["at"] > claim["at"] and claim["run"] not in lease["runs"])
