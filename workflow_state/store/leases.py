"""A worker process's lease: that the process lives, and which claims it holds.

A *holder* is a random id. A process makes one each time that it begins an attempt, and holds the claim by it.
"""

import json
import os
import secrets
import threading
from collections.abc import Mapping
from typing import Any

from redis import Redis

from workflow_state.store.names import worker_key

_incarnation: str | None = None
# What this process holds claims by: thread → holder. A thread has one task at a time.
_holders: dict[int, str] = {}


def incarnation() -> str:
    """Return this worker's incarnation; the children of a prefork pool share their parent's."""
    global _incarnation  # noqa: PLW0603 - one for each process, made before the pool forks
    if _incarnation is None:
        _incarnation = secrets.token_hex(8)
    return _incarnation


def begin_incarnation() -> None:
    """Make a new incarnation. Call it when a worker starts, before its pool forks."""
    global _incarnation  # noqa: PLW0603 - see incarnation()
    _incarnation = secrets.token_hex(8)


def process_name() -> str:
    """Return this process's name, by which it holds claims: the worker's incarnation and the process id."""
    return f"{incarnation()}:{os.getpid()}"


def begin_holder() -> str:
    """Return a new holder for this thread's task; the process's lease names it from now on, until `end_holder`."""
    holder = _holders[threading.get_ident()] = secrets.token_hex(8)
    return holder


def end_holder(**_: Any) -> None:
    """Forget the holder of this thread's task: the task's result is stored, or it never will be."""
    _holders.pop(threading.get_ident(), None)


def current_holders() -> list[str]:
    """Return the holders that this process has begun and not ended."""
    return list(_holders.values())


def renew_process(client: Redis, lease_s: float) -> None:
    """Say that this process lives, and which holders it has."""
    seconds, microseconds = client.time()
    # The time is read before the holders: whoever claimed something before it, and is not over, is among them.
    told = {"at": seconds + microseconds / 1e6, "holders": " ".join(current_holders())}
    client.set(worker_key(process_name()), json.dumps(told), px=round(lease_s * 1000))


def is_over(claim: Mapping[str, Any], lease: Mapping[str, Any] | None) -> bool:
    """Return whether the holder of a claim has ended without a result, so that another may have the attempt.

    `lease` is the lease of the holder's process, None where there is none any more: then the process is dead. A lease
    that is younger than the claim names all holders of its process; one that it does not name is over.

    The same rule stands in `lua/lib/holder_is_over.lua`, for what has to look and write in one step.
    """
    return lease is None or (lease["at"] > claim["at"] and claim["holder"] not in lease["holders"])
