"""The claim: the right to make one attempt of an action, held by one run of one process.

Redis gives a message again when its worker seems dead, and sometimes when it is not. So the first thing that an
action's task does is to claim the action, in one atomic step, for its *run* and its worker's process. While that run
is under way, every other delivery of the action ends without effect; once it is over without a result, because its
process is gone or because Redis could not be reached, the claim is taken over.

What a process is about is told by its lease (lease.py): a key that lives as long as the process, and names its runs.
"""

import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from redis import Redis
from redis.client import Pipeline

from workflow_state.schema import ActionExecutionState
from workflow_state.store.connection import CONNECTION_ERRORS
from workflow_state.store.leases import _runs, end_run, incarnation, process_name, runs_under_way
from workflow_state.store.names import progress_key, record_key, worker_key
from workflow_state.store.scripts import run_script, run_script_beside

WHICHEVER_IS_DUE = 0
"""Instead of an attempt's number, in a message that is published again because the first one may be lost."""

FREE_RETRIES = 100
"""An execution may be retried as often as this, and twice for each of its actions: a plan of thousands that all fail
must not hammer a server that is down."""

_READ_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt of an action, claimed `at_s` (Redis' own time).

    `was_sent` says that this very attempt was taken over from a run that had begun to send an unsafe request, `losses`
    how many workers have died over it, `pauses` how often it was held back because its server had asked for a pause.
    """

    execution_id: str
    action_id: str
    run: str
    attempt: int
    started_at: str
    at_s: float = 0
    was_sent: bool = False
    losses: int = 0
    pauses: int = 0


# KEYS: progress, record. ARGV: action id, prefix of leases, process, run, attempt (0: whichever is due), now (ISO
# 8601), TTL in s, a run that is known to be over or '', 1 where its process is known to be dead.
# Returns the claim as it now stands if it is ours, otherwise nil. Safe to repeat, as the client does where a reply is
# lost.
# A claim is ours where: nobody has one and this is the first attempt; the attempt before this one ended in a retry; it
# waited and was released (waiting.py), or was held back for a permit (permits.py); or its run is over, though it left
# no result. A message that comes long before its permit is a second one of it, which would only be held back into a
# third; unless a cancellation has sent it.
_CLAIM = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
local claim = raw and cjson.decode(raw) or {status = 'retrying', attempt = 0}
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local attempt = tonumber(ARGV[5])
if claim.run ~= ARGV[4] then
  if attempt == 0 then
    attempt = claim.attempt
    if claim.status == 'retrying' then
      if claim.dueAt and now < claim.dueAt then return false end
      if not claim.heldBack then attempt = attempt + 1 end
    end
  end
  if attempt < claim.attempt then return false end
  if attempt > claim.attempt then
    claim.sent, claim.losses, claim.pauses = nil, nil, nil
  elseif claim.status == 'running' then
    local lost = ARGV[9] == '1'
    if claim.run ~= ARGV[8] then
      local lease = redis.call('GET', ARGV[2] .. claim.owner)
      lost = true
      if lease then
        local told = cjson.decode(lease)
        if told.at <= (claim.at or told.at) or string.find(told.runs, claim.run, 1, true) then return false end
      end
    end
    if lost then claim.losses = (claim.losses or 0) + 1 end
  elseif claim.status ~= 'released' and not claim.heldBack then
    return false
  elseif claim.dueAt and now < claim.dueAt - 1 and redis.call('HEXISTS', KEYS[2], 'cancelRequestedAt') == 0 then
    return false
  end
  claim.attempt = attempt
end
claim.status = 'running'
claim.owner = ARGV[3]
claim.run = ARGV[4]
claim.at = now
claim.startedAt = claim.startedAt or ARGV[6]
claim.nextAttemptAt, claim.dueAt = nil, nil
if claim.heldBack then claim.heldBack, claim.waits = nil, (claim.waits or 0) + 1 end
local written = cjson.encode(claim)
-- What is there already has its TTL, from when the level began.
if redis.call('HSET', KEYS[1], ARGV[1], written, ':at', now) == 2 then redis.call('EXPIRE', KEYS[1], ARGV[7]) end
return written
"""

# KEYS: the progress hash. ARGV: action id, run.
# Returns 1 if the claim was ours to mark, otherwise 0.
_MARK_SENT = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return 0 end
local claim = cjson.decode(raw)
if claim.run ~= ARGV[2] then return 0 end
claim.sent = true
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(claim))
return 1
"""

# KEYS: progress, record. ARGV: action id, run, time of the next attempt, trace so far, message of the next attempt,
# s until then, retries that an execution may have besides two for each action that has begun, why this very attempt is
# held back or '' where another one follows.
# Returns 1 if the claim was ours to change, 0 if it wasn't, and -1 where the execution has used up its retries.
_AWAIT_RETRY = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return 0 end
local claim = cjson.decode(raw)
if claim.run ~= ARGV[2] then return 0 end
if claim.status ~= 'retrying' and ARGV[8] == '' then
  local used = tonumber(redis.call('HGET', KEYS[1], ':retries') or 0)
  local begun = tonumber(redis.call('HGET', KEYS[2], 'begun') or 0)
  begun = begun + tonumber(redis.call('HGET', KEYS[1], ':alternatives') or 0)
  if used >= tonumber(ARGV[7]) + 2 * begun then return -1 end
  redis.call('HSET', KEYS[1], ':retries', used + 1)
end
claim.status = 'retrying'
claim.nextAttemptAt = ARGV[3]
if ARGV[8] ~= '' then claim.heldBack = true end
if ARGV[8] == 'pause' then claim.pauses = (claim.pauses or 0) + 1 end
claim.dueAt = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[6])
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(claim), ARGV[1] .. ':trace', ARGV[4], ARGV[1] .. ':message', ARGV[5])
return 1
"""


# KEYS: the progress hash. ARGV: field, how the action failed. Its alternative may be retried as well. Safe to repeat.
_FAIL = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then redis.call('HINCRBY', KEYS[1], ':alternatives', 1) end
"""


@dataclass(frozen=True, slots=True)
class _Over:
    """A run that left no result; `is_lost` where its process died."""

    run: str
    is_lost: bool


@contextmanager
def claimed(
    client: Redis,
    execution_id: str,
    action_id: str,
    *,
    attempt: int,
    retention_s: int,
    queue_reads: Callable[[Pipeline], object] | None = None,
) -> Iterator[tuple[Claim | None, list[Any]]]:
    """Hold the claim of one attempt (from 1, or whichever is due) of an action; None where it is another's, or past.

    Beside it come the answers to what `queue_reads` asks in the same round trip, after the claim was made or refused.
    The claim stays when the block ends: what follows from it is the stored result, or `await_retry`. Where the block
    ends because Redis can't be reached, the run is over, and the attempt can be claimed again.
    """
    run = secrets.token_hex(8)
    # Before the claim is made: a lease that is younger than the claim has to name its run.
    _runs[threading.get_ident()] = run
    try:
        call = partial(_claim, client, execution_id, action_id, run, attempt, retention_s, queue_reads)
        claim, replies = call()
        if claim is None and (over := _find_over(client, execution_id, action_id)):
            claim, replies = call(over=over)
        yield claim, replies
    except CONNECTION_ERRORS:
        end_run()
        raise


def _claim(  # noqa: PLR0913 - it is one function with `claimed`, called twice there
    client: Redis,
    execution_id: str,
    action_id: str,
    run: str,
    attempt: int,
    retention_s: int,
    queue_reads: Callable[[Pipeline], object] | None,
    *,
    over: _Over | None = None,
) -> tuple[Claim | None, list[Any]]:
    written, replies = run_script_beside(
        client,
        _CLAIM,
        [progress_key(execution_id), record_key(execution_id)],
        [
            action_id,
            worker_key(""),
            process_name(),
            run,
            attempt,
            datetime.now(UTC).isoformat(),
            retention_s,
            over.run if over else "",
            int(over.is_lost) if over else 0,
        ],
        queue_reads,
    )
    if not written:
        return None, replies
    claim = json.loads(written)
    made = Claim(
        execution_id,
        action_id,
        run,
        claim["attempt"],
        claim["startedAt"],
        claim["at"],
        was_sent=claim.get("sent", False),
        losses=claim.get("losses", 0),
        pauses=claim.get("pauses", 0),
    )
    return made, replies


def _find_over(client: Redis, execution_id: str, action_id: str) -> _Over | None:
    """Return the run that holds the claim, if it is one of this very worker and over.

    The lease would tell as well, but later: what this process could not end, and what a killed child of a prefork pool
    had, is on the queue again at once.
    """
    raw: Any = client.hget(progress_key(execution_id), action_id)
    claim = json.loads(raw) if raw else {}
    worker, _, process = claim.get("owner", "").partition(":")
    if claim.get("status") != "running" or worker != incarnation():
        return None
    if int(process) == os.getpid():
        # Asked after the claim was read: a run is under way before its claim is made.
        return None if claim["run"] in runs_under_way() else _Over(claim["run"], is_lost=False)
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return _Over(claim["run"], is_lost=True)
    return None


HeldBack = Literal["limit", "pause"]
"""Why an attempt has no permit (permits.py)."""

Whereabouts = Literal["nowhere", "running", "waiting"] | float
"""Of an action without a result: nothing of it is under way, a run of it is, it waits for a person, or for its next
attempt at that time (s, Redis' own)."""


def find_whereabouts(client: Redis, execution_id: str, action_ids: Sequence[str]) -> dict[str, Whereabouts]:
    """Return where each of these actions is: two round trips for each 1,000."""
    found: dict[str, Whereabouts] = {}
    for start in range(0, len(action_ids), _READ_AT_ONCE):
        part = action_ids[start : start + _READ_AT_ONCE]
        raw_claims: Any = client.hmget(progress_key(execution_id), list(part))
        claims = {name: json.loads(raw) for name, raw in zip(part, raw_claims, strict=True) if raw}
        owners = sorted({claim["owner"] for claim in claims.values()})
        raw_leases: Any = client.mget([worker_key(owner) for owner in owners]) if owners else []
        leases = {owner: json.loads(raw) for owner, raw in zip(owners, raw_leases, strict=True) if raw}
        found |= {name: whereabouts(claims.get(name), leases) for name in part}
    return found


def whereabouts(claim: Mapping[str, Any] | None, leases: Mapping[str, Mapping[str, Any]]) -> Whereabouts:
    """Return where an action without a result is, from its claim and the living processes' leases."""
    if claim is None or claim["status"] == "released":
        return "nowhere"
    if claim["status"] == "waiting":
        return "waiting"
    if claim["status"] == "retrying":
        return float(claim["dueAt"])
    lease = leases.get(claim["owner"])
    is_over = lease is None or (lease["at"] > claim["at"] and claim["run"] not in lease["runs"])
    return "nowhere" if is_over else "running"


def mark_sent(client: Redis, claim: Claim) -> None:
    """Say that an unsafe request is about to leave: from here on only its answer tells whether it arrived.

    Raises ClaimLostError, and nothing may be sent, where another worker has taken the attempt over meanwhile.
    """
    if not run_script(client, _MARK_SENT, [progress_key(claim.execution_id)], [claim.action_id, claim.run]):
        raise ClaimLostError(f"{claim.action_id} was taken over by another worker")


def await_retry(
    client: Redis,
    claim: Claim,
    *,
    delay_s: float,
    trace: list[dict[str, Any]],
    message: str,
    held_back: HeldBack | None = None,
) -> bool:
    """Say that the claimed attempt has ended in a retry; keep the trace so far, and the next attempt's message.

    Where it was `held_back`, nothing was sent, and the same attempt comes again. False, and nothing may be published,
    where the execution has used up its retries. Raises ClaimLostError where another worker has taken the attempt over
    meanwhile.
    """
    next_attempt_at = datetime.now(UTC) + timedelta(seconds=delay_s)
    came: Any = run_script(
        client,
        _AWAIT_RETRY,
        [progress_key(claim.execution_id), record_key(claim.execution_id)],
        [
            claim.action_id,
            claim.run,
            next_attempt_at.isoformat(),
            json.dumps(trace),
            message,
            delay_s,
            FREE_RETRIES,
            held_back or "",
        ],
    )
    if came == 0:
        raise ClaimLostError(f"{claim.action_id} was taken over by another worker")
    return bool(came == 1)


def read_trace(client: Redis, claim: Claim) -> list[dict[str, Any]]:
    """Return the trace of the action's earlier attempts."""
    raw: Any = client.hget(progress_key(claim.execution_id), f"{claim.action_id}:trace")
    trace: list[dict[str, Any]] = json.loads(raw) if raw else []
    return trace


def remember_failure(client: Redis, execution_id: str, action_id: str, state: Mapping[str, Any]) -> None:
    """Keep how an action failed, before its alternative takes its place; from then on it is not sent again."""
    run_script(client, _FAIL, [progress_key(execution_id)], [f"{action_id}:failure", json.dumps(state)])


def read_failure(client: Redis, execution_id: str, action_id: str) -> ActionExecutionState | None:
    """Return how an action failed before its alternative took its place, or None."""
    raw: Any = client.hget(progress_key(execution_id), f"{action_id}:failure")
    return ActionExecutionState.model_validate_json(raw) if raw else None


class ClaimLostError(Exception):
    """This worker was silent for so long that another has its work now."""
