"""The claim: the right to make one attempt of an action, held by one holder in one process.

Redis gives a message again when its worker seems dead, and sometimes when it is not. So the first thing that an
action's task does is to claim the action, in one atomic step. It holds the claim by a random id, its *holder*. While
the holder is at work, every other delivery of the action ends without effect. Once the holder is over without a result,
because its process is gone or because Redis could not be reached, the claim is taken over.

Which holders are at work is told by the leases of their processes (leases.py).
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from redis import Redis

from workflow_state.schema import ActionExecutionState
from workflow_state.settings import get_settings
from workflow_state.store.connection import CONNECTION_ERRORS, in_batches
from workflow_state.store.durability import run_unsafe_mark
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.leases import begin_holder, current_holders, end_holder, incarnation, is_over, process_name
from workflow_state.store.names import progress_key, record_key, worker_key
from workflow_state.store.results import AttemptContext, ContextQuery, parse_context, queue_context
from workflow_state.store.scripts import run_script, run_script_beside
from workflow_state.store.sealing import seal_value, unseal_value

WHICHEVER_IS_DUE = 0
"""In a message, in place of an attempt's number: it is published again because an earlier one may be lost."""

FREE_RETRIES = 100
"""An execution has this many retries, and two more for each of its actions.

A plan of thousands of actions that all fail must not hammer a server that is down.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt of a step, claimed `at_s` (Redis' own time).

    The step is an action (`pay`), or one element of its list (`pay[3]`).

    `was_sent` says that this very attempt was taken over from a holder that had begun to send an unsafe request.
    `losses` is how many workers have died over it, `pauses` how often it was held back because its server had asked for
    a pause.
    """

    execution_id: str
    step: str
    holder: str
    attempt: int
    started_at: str
    at_s: float = 0
    was_sent: bool = False
    losses: int = 0
    pauses: int = 0


@dataclass(frozen=True, slots=True)
class Over:
    """A holder that left no result; `is_lost` where its process died."""

    holder: str
    is_lost: bool


@contextmanager
def claimed(
    store: ExecutionStore,
    step: str,
    *,
    attempt: int,
    query: ContextQuery | None = None,
) -> Iterator[tuple[Claim | None, AttemptContext | None]]:
    """Hold the claim of one attempt (from 1, or whichever is due) of a step; None where it is another's, or past.

    Beside it comes what `query` asks for, read in the same round trip, after the claim was made or refused.

    The claim stays when the block ends: what follows from it is the stored result, or `await_retry`. Where the block
    ends because Redis can't be reached, the holder is over, and the attempt can be claimed again.
    """
    # Before the claim is made: a lease that is younger than the claim has to name its holder.
    holder = begin_holder()
    try:
        call = partial(_claim, store, step, holder, attempt, query)
        claim, replies = call()
        if claim is None and (over := find_over(store, step)):
            claim, replies = call(over=over)
        yield claim, parse_context(store, query, replies) if query else None
    except CONNECTION_ERRORS:
        end_holder()
        raise


def _claim(
    store: ExecutionStore,
    step: str,
    holder: str,
    attempt: int,
    query: ContextQuery | None,
    *,
    over: Over | None = None,
) -> tuple[Claim | None, list[Any]]:
    """Claim the attempt; return the claim, and the replies to the query."""
    written, replies = run_script_beside(
        store.client,
        "claim_attempt",
        {"progress": store.progress, "record": store.record},
        {
            "step": step,
            "attempt": attempt,
            "now": datetime.now(UTC).isoformat(),
            **who_claims(store, holder, over),
        },
        (lambda pipe: queue_context(pipe, store, query)) if query else None,
    )
    if not written:
        return None, replies
    claim = json.loads(written)
    made = Claim(
        store.execution_id,
        step,
        holder,
        claim["attempt"],
        claim["startedAt"],
        claim["at"],
        was_sent=claim.get("sent", False),
        losses=claim.get("losses", 0),
        pauses=claim.get("pauses", 0),
    )
    return made, replies


def who_claims(store: ExecutionStore, holder: str, over: Over | None) -> dict[str, Any]:
    """Return the arguments by which a script claims for a holder, in the place of another one that is over."""
    return {
        "holder": holder,
        "process": process_name(),
        "lease_prefix": worker_key(""),
        "retention_s": store.retention_s,
        "over_holder": over.holder if over else None,
        "over_is_lost": over is not None and over.is_lost,
    }


def find_over(store: ExecutionStore, step: str) -> Over | None:
    """Return the holder of the claim that has this name, if it is one of this very worker and over.

    The lease would tell the same, but later. A message that this process could not end, or that a killed child of a
    prefork pool had, is on the queue again at once.
    """
    raw: Any = store.client.hget(store.progress, step)
    claim = json.loads(raw) if raw else {}
    worker, _, process = claim.get("process", "").partition(":")
    if claim.get("status") != "running" or worker != incarnation():
        return None
    if int(process) == os.getpid():
        # Asked after the claim was read: a holder begins before its claim is made.
        return None if claim["holder"] in current_holders() else Over(claim["holder"], is_lost=False)
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return Over(claim["holder"], is_lost=True)
    return None


HeldBack = Literal["limit", "pause", "durability"]
"""Why an attempt is not sent now: it has no permit (permits.py), or its mark is not safe (durability.py)."""

Whereabouts = Literal["nowhere", "running", "waiting"] | float
"""Where a step without a result is.

Nothing of it is under way; an attempt of it is running; it waits for a person; or it waits for its next attempt, which
is due at that time (s, Redis' own).
"""


def find_whereabouts(store: ExecutionStore, steps: Sequence[str]) -> dict[str, Whereabouts]:
    """Return where each of these steps is: two round trips for each 1,000."""
    found: dict[str, Whereabouts] = {}
    for batch in in_batches(steps):
        raw_claims: Any = store.client.hmget(store.progress, list(batch))
        claims = {name: json.loads(raw) for name, raw in zip(batch, raw_claims, strict=True) if raw}
        owners = sorted({claim["process"] for claim in claims.values()})
        raw_leases: Any = store.client.mget([worker_key(owner) for owner in owners]) if owners else []
        leases = {owner: json.loads(raw) for owner, raw in zip(owners, raw_leases, strict=True) if raw}
        found |= {name: whereabouts(claims.get(name), leases) for name in batch}
    return found


def whereabouts(claim: Mapping[str, Any] | None, leases: Mapping[str, Mapping[str, Any]]) -> Whereabouts:
    """Return where a step without a result is, from its claim and the living processes' leases."""
    if claim is None or claim["status"] == "released":
        return "nowhere"
    if claim["status"] == "waiting":
        return "waiting"
    if claim["status"] == "retrying":
        return float(claim["dueAt"])
    return "nowhere" if is_over(claim, leases.get(claim["process"])) else "running"


def mark_sent(client: Redis, claim: Claim) -> None:
    """Note that an unsafe request is about to leave: from here on only its answer tells whether it arrived.

    When it returns, the note is as safe as it has to be: a failover does not lose it. Raises NotSafeError where it is
    not, or where Redis can't be reached, and ClaimLostError where another worker has taken the attempt over meanwhile.
    Then nothing may be sent.
    """
    progress = progress_key(claim.execution_id)
    if not run_unsafe_mark(client, "mark_sent", {"progress": progress}, {"step": claim.step, "holder": claim.holder}):
        raise ClaimLostError(f"{claim.step} was taken over by another worker")


def is_marked_sent(store: ExecutionStore, claim: Claim) -> bool:
    """Return whether this attempt has left the mark of an unsafe request (`mark_sent`). One round trip."""
    raw: Any = store.client.hget(store.progress, claim.step)
    found = json.loads(raw) if raw else {}
    return bool(found.get("sent")) and found.get("holder") == claim.holder


def await_retry(
    client: Redis,
    claim: Claim,
    *,
    delay_s: float,
    trace: list[dict[str, Any]],
    message: str,
    held_back: HeldBack | None = None,
) -> bool:
    """Note that the claimed attempt has ended in a retry, which is due in `delay_s`.

    The trace so far and the next attempt's message (JSON) are kept. Where the attempt was `held_back`, nothing was
    sent, a mark *sent* of it goes, and the same attempt comes again. Returns False where the execution has used up its
    retries; then nothing may be published. Raises ClaimLostError where another worker has taken the attempt over
    meanwhile.
    """
    next_attempt_at = datetime.now(UTC) + timedelta(seconds=delay_s)
    came: Any = run_script(
        client,
        "await_retry",
        {"progress": progress_key(claim.execution_id), "record": record_key(claim.execution_id)},
        {
            "step": claim.step,
            "holder": claim.holder,
            "next_attempt_at": next_attempt_at.isoformat(),
            "delay_s": delay_s,
            "trace": seal_value(claim.execution_id, "progress", f"{claim.step}:trace", json.dumps(trace)),
            "message": message,
            "free_retries": FREE_RETRIES,
            "max_requests": get_settings().max_requests,
            "held_back": held_back,
        },
    )
    if came == 0:
        raise ClaimLostError(f"{claim.step} was taken over by another worker")
    return bool(came == 1)


def read_trace(client: Redis, claim: Claim) -> list[dict[str, Any]]:
    """Return the trace of the step's earlier attempts."""
    field = f"{claim.step}:trace"
    raw: Any = client.hget(progress_key(claim.execution_id), field)
    trace: list[dict[str, Any]] = json.loads(unseal_value(claim.execution_id, "progress", field, raw)) if raw else []
    return trace


def remember_failure(store: ExecutionStore, action_id: str, state: str) -> None:
    """Keep how an action failed, before its alternative takes its place. From then on the action is not sent again.

    `state` is the action's state as JSON.
    """
    run_script(
        store.client,
        "remember_failure",
        {"progress": store.progress},
        {"action": action_id, "state": seal_value(store.execution_id, "progress", f"{action_id}:failure", state)},
    )


def read_failure(store: ExecutionStore, action_id: str) -> ActionExecutionState | None:
    """Return how an action failed before its alternative took its place, or None."""
    field = f"{action_id}:failure"
    raw: Any = store.client.hget(store.progress, field)
    if not raw:
        return None
    return ActionExecutionState.model_validate_json(unseal_value(store.execution_id, "progress", field, raw))


class ClaimLostError(Exception):
    """This worker was silent for so long that another one has taken its work over."""
