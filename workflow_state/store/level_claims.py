"""The claim of an execution's level task: the right to publish a level, or to end the execution.

It is like the claim of a step (claims.py), held by a holder in a process and taken over where that holder is over. So a
second delivery of the message, or one that the sweep has published, does nothing while the first is at work, and takes
no thread from other plans. It stands beside the steps' claims, under a name that no step can have.

A step's claim ends with its result. A level's task runs more than once: when something was lost, and when alternatives
stand in for whole lists. So it releases its claim. What came meanwhile has left a mark there, and the task looks once
more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from workflow_state.errors import MissingKeyError
from workflow_state.store.claims import Over, find_over, find_whereabouts, who_claims
from workflow_state.store.connection import CONNECTION_ERRORS
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.leases import begin_holder, end_holder
from workflow_state.store.names import LEVEL_CLAIM
from workflow_state.store.position import ExecutionPosition, parse_position, queue_position
from workflow_state.store.scripts import run_script, run_script_beside


@dataclass(frozen=True, slots=True)
class LevelClaim:
    """The right to go on with a level of an execution. `losses` is how many workers have died over it."""

    holder: str
    losses: int = 0


@contextmanager
def claimed_level(store: ExecutionStore, level: int) -> Iterator[tuple[LevelClaim | None, ExecutionPosition | None]]:
    """Hold the claim of the task that goes on with a level (from 0); None where it is another's, or past.

    Beside it comes how far the execution has come, read in the same round trip; None where there is no record of it.

    The claim stays when the block ends: `release_level` ends it, or the final state. Where the block ends because Redis
    can't be reached, the holder is over, and the level can be claimed again.
    """
    # Before the claim is made: a lease that is younger than the claim has to name its holder.
    holder = begin_holder()
    try:
        claim, replies = _claim(store, level, holder)
        if claim is None and (over := find_over(store, LEVEL_CLAIM)):
            claim, replies = _claim(store, level, holder, over)
        try:
            position = parse_position(store, replies)
        except MissingKeyError:
            # The try of a worker that can't read it is no loss.
            if claim:
                release_level(store, claim)
            raise
        yield claim, position
    except CONNECTION_ERRORS:
        end_holder()
        raise


def _claim(
    store: ExecutionStore, level: int, holder: str, over: Over | None = None
) -> tuple[LevelClaim | None, list[Any]]:
    """Claim the level; return the claim, and the replies about the execution's position."""
    losses, replies = run_script_beside(
        store.client,
        "claim_level",
        {"progress": store.progress, "record": store.record},
        {
            "level": level,
            **who_claims(store, holder, over),
        },
        partial(queue_position, store=store, level=level),
    )
    return (None if losses is None else LevelClaim(holder, losses)), replies


def release_level(store: ExecutionStore, claim: LevelClaim, *, failed: bool = False) -> bool:
    """Release the claim; True where another task came meanwhile. Then the claim stays, and its holder looks again.

    Where the task has `failed`, that counts as a lost worker does, and False is returned.
    """
    arguments: dict[str, Any] = {"holder": claim.holder, "failed": failed}
    return bool(run_script(store.client, "release_level", {"progress": store.progress}, arguments))


def is_level_claimed(store: ExecutionStore) -> bool:
    """Return whether a living process is at work on a level task of the execution."""
    return find_whereabouts(store, [LEVEL_CLAIM])[LEVEL_CLAIM] == "running"
