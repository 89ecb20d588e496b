"""What delivery over Redis needs beside Celery: the claim of an action, and the lease of what a worker holds.

Redis gives a message again when its worker seems dead, and sometimes when it is not. So the first thing that an
action's task does is to claim the action, in one atomic step, for its worker's *incarnation*: a random id that a
worker process makes at start and keeps alive by the lease. While that incarnation lives, every other delivery of the
action ends without effect; once it is gone, the claim is taken over.

The lease also renews the visibility of each message that a live worker holds, so that the visibility timeout can be
seconds rather than an hour: a killed worker's actions run elsewhere soon, a long action is never delivered twice.
"""

import json
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery import bootsteps
from redis import Redis
from redis.exceptions import RedisError

from workflow_state.schema import ActionExecutionState

logger = logging.getLogger(__name__)

KEY_PREFIX = "workflow_state:"

_incarnation: str | None = None
_runs_under_way: set[str] = set()


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


def progress_key(execution_id: str) -> str:
    """Hash: action id → claim (flat JSON), `<action id>:trace` → the trace of the attempts so far (JSON)."""
    return f"{KEY_PREFIX}progress:{execution_id}"


def worker_key(of_incarnation: str) -> str:
    """Exist while the worker lives: kept alive by the lease."""
    return f"{KEY_PREFIX}worker:{of_incarnation}"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt of an action. Times are ISO 8601."""

    execution_id: str
    action_id: str
    run: str
    attempt: int
    started_at: str


# KEYS: the progress hash. ARGV: action id, prefix of worker keys, incarnation, process, run, attempt, now, TTL in s,
# the runs under way in this process.
# Returns the claim as it now stands if it is ours, otherwise nil.
# A claim is ours where: nobody has one and this is the first attempt; the attempt before this one ended in a retry;
# we hold it already (the client repeated the command after a lost reply); it waited and was released (waiting.py); its
# holder's incarnation is gone; or its holder is this very process, and broke off (its run is not under way any more).
_CLAIM = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
local attempt = tonumber(ARGV[6])
local claim = raw and cjson.decode(raw) or {status = 'retrying', attempt = 0}
if claim.run ~= ARGV[5] then
  if attempt < claim.attempt then return false end
  if attempt == claim.attempt then
    if claim.status == 'waiting' or claim.status == 'retrying' then return false end
    local free = claim.status == 'released' or
      (claim.process == ARGV[4] and not string.find(ARGV[9], claim.run, 1, true))
    if not free and redis.call('EXISTS', ARGV[2] .. claim.owner) == 1 then return false end
  end
end
claim.status = 'running'
claim.owner = ARGV[3]
claim.process = ARGV[4]
claim.run = ARGV[5]
claim.attempt = attempt
claim.startedAt = claim.startedAt or ARGV[7]
claim.nextAttemptAt = nil
local written = cjson.encode(claim)
redis.call('HSET', KEYS[1], ARGV[1], written)
redis.call('EXPIRE', KEYS[1], ARGV[8])
return written
"""

# KEYS: the progress hash. ARGV: action id, run, time of the next attempt, trace so far, message of the next attempt.
# Returns 1 if the claim was ours to change, otherwise 0.
_AWAIT_RETRY = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return 0 end
local claim = cjson.decode(raw)
if claim.run ~= ARGV[2] then return 0 end
claim.status = 'retrying'
claim.nextAttemptAt = ARGV[3]
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(claim), ARGV[1] .. ':trace', ARGV[4], ARGV[1] .. ':message', ARGV[5])
return 1
"""


@contextmanager
def claimed(
    client: Redis, execution_id: str, action_id: str, *, attempt: int, retention_s: int
) -> Iterator[Claim | None]:
    """Hold the claim of one attempt (from 1) of an action; None where it is another's, or past.

    The claim stays when the block ends: what follows from it is the stored result, or `await_retry`. Where the block
    ends by an error, the same process can claim the attempt again.
    """
    run = secrets.token_hex(8)
    _runs_under_way.add(run)
    try:
        written: Any = client.register_script(_CLAIM)(
            keys=[progress_key(execution_id)],
            args=[
                action_id,
                worker_key(""),
                incarnation(),
                f"{incarnation()}:{os.getpid()}",
                run,
                attempt,
                datetime.now(UTC).isoformat(),
                retention_s,
                " ".join(_runs_under_way.copy()),
            ],
        )
        yield Claim(execution_id, action_id, run, attempt, json.loads(written)["startedAt"]) if written else None
    finally:
        _runs_under_way.discard(run)


def await_retry(
    client: Redis, claim: Claim, *, next_attempt_at: datetime, trace: list[dict[str, Any]], message: str
) -> None:
    """Say that the claimed attempt has ended in a retry; keep the trace so far, and the next attempt's message."""
    client.register_script(_AWAIT_RETRY)(
        keys=[progress_key(claim.execution_id)],
        args=[claim.action_id, claim.run, next_attempt_at.isoformat(), json.dumps(trace), message],
    )


def read_trace(client: Redis, claim: Claim) -> list[dict[str, Any]]:
    """Return the trace of the action's earlier attempts."""
    raw: Any = client.hget(progress_key(claim.execution_id), f"{claim.action_id}:trace")
    trace: list[dict[str, Any]] = json.loads(raw) if raw else []
    return trace


def remember_failure(client: Redis, execution_id: str, action_id: str, state: Mapping[str, Any]) -> None:
    """Keep how an action failed, before its alternative takes its place; from then on it is not sent again."""
    client.hset(progress_key(execution_id), f"{action_id}:failure", json.dumps(state))


def read_failure(client: Redis, execution_id: str, action_id: str) -> ActionExecutionState | None:
    """Return how an action failed before its alternative took its place, or None."""
    raw: Any = client.hget(progress_key(execution_id), f"{action_id}:failure")
    return ActionExecutionState.model_validate_json(raw) if raw else None


class Lease(bootsteps.StartStopStep):
    """Keep this worker's incarnation alive, and the messages that it holds its own.

    Every third of the visibility timeout: one write for the incarnation, one for all held messages.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.timer: Any = None

    def start(self, consumer: Any) -> None:
        """Begin with a renewal: the first action may be claimed at once."""
        timeout_s = consumer.app.conf.broker_transport_options["visibility_timeout"]
        renew_lease(consumer, timeout_s)
        self.timer = consumer.timer.call_repeatedly(timeout_s / 3, renew_lease, (consumer, timeout_s))

    def stop(self, consumer: Any) -> None:
        """End the timer; the incarnation runs out by itself, after the pool has finished."""
        del consumer
        if self.timer:
            self.timer.cancel()
            self.timer = None


def renew_lease(consumer: Any, timeout_s: float) -> None:
    """Renew the incarnation and every message delivered to this worker and not yet acknowledged.

    A failed renewal is logged, not raised: the next one comes in time, and Celery reconnects by itself.
    """
    try:
        consumer.app.backend.client.set(worker_key(incarnation()), 1, ex=max(1, round(timeout_s)))
        channel = consumer.task_consumer.channel
        held = {tag: time.time() for tag in list(channel.qos._delivered) if tag not in channel.qos._dirty}  # noqa: SLF001 - kombu has no public view
        if held:
            with channel.conn_or_acquire() as client:
                # XX: a message that was acknowledged meanwhile must not come back.
                client.zadd(channel.unacked_index_key, held, xx=True)
    except (RedisError, OSError):
        logger.warning("The lease of this worker's messages could not be renewed; trying again soon", exc_info=True)
