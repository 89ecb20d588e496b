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
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery import bootsteps
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from workflow_state.schema import ActionExecutionState

logger = logging.getLogger(__name__)

KEY_PREFIX = "workflow_state:"

CONNECTION_ERRORS = (RedisError, OperationalError, ConnectionError, TimeoutError)

_incarnation: str | None = None
# The last runs that this process began and could not end; whatever they had claimed is free.
_broken_off: deque[str] = deque(maxlen=256)


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


def progress_key(execution_id: str) -> str:
    """Hash: action id → claim (flat JSON), `<action id>:trace` → the trace of the attempts so far (JSON)."""
    return f"{KEY_PREFIX}progress:{execution_id}"


def worker_key(name: str) -> str:
    """Return the key that exists while the process of this name lives: kept alive by the lease."""
    return f"{KEY_PREFIX}worker:{name}"


def sign_on(client: Redis, lease_s: float) -> None:
    """Say that this process lives, before it claims anything: each child of a prefork pool, when it starts."""
    client.set(worker_key(process_name()), 1, ex=max(1, round(lease_s)))


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt of an action. Times are ISO 8601.

    `was_sent` says that this very attempt was taken over from a run that had begun to send an unsafe request.
    """

    execution_id: str
    action_id: str
    run: str
    attempt: int
    started_at: str
    was_sent: bool = False


# KEYS: the progress hash. ARGV: action id, prefix of worker keys, process, run, attempt, now, TTL in s, runs that are
# known to have broken off.
# Returns the claim as it now stands if it is ours, otherwise nil.
# A claim is ours where: nobody has one and this is the first attempt; the attempt before this one ended in a retry;
# we hold it already (the client repeated the command after a lost reply); it waited and was released (waiting.py); its
# holder is gone; or its run is known to have broken off.
_CLAIM = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
local attempt = tonumber(ARGV[5])
local claim = raw and cjson.decode(raw) or {status = 'retrying', attempt = 0}
if claim.run ~= ARGV[4] then
  if attempt < claim.attempt then return false end
  if attempt == claim.attempt then
    if claim.status == 'waiting' or claim.status == 'retrying' then return false end
    local free = claim.status == 'released' or string.find(ARGV[8], claim.run, 1, true)
    if not free and redis.call('EXISTS', ARGV[2] .. claim.owner) == 1 then return false end
  end
end
if attempt > claim.attempt then claim.sent = nil end
claim.status = 'running'
claim.owner = ARGV[3]
claim.run = ARGV[4]
claim.attempt = attempt
claim.startedAt = claim.startedAt or ARGV[6]
claim.nextAttemptAt = nil
local written = cjson.encode(claim)
redis.call('HSET', KEYS[1], ARGV[1], written)
redis.call('EXPIRE', KEYS[1], ARGV[7])
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
    ends because Redis can't be reached, the run has broken off, and this process can claim the attempt again.
    """
    run = secrets.token_hex(8)
    try:
        claim = _claim(client, execution_id, action_id, run, attempt, retention_s)
        if claim is None and _holder_is_dead(client, execution_id, action_id):
            claim = _claim(client, execution_id, action_id, run, attempt, retention_s)
        yield claim
    except CONNECTION_ERRORS:
        _broken_off.append(run)
        raise


def _claim(client: Redis, execution_id: str, action_id: str, run: str, attempt: int, retention_s: int) -> Claim | None:
    written: Any = client.register_script(_CLAIM)(
        keys=[progress_key(execution_id)],
        args=[
            action_id,
            worker_key(""),
            process_name(),
            run,
            attempt,
            datetime.now(UTC).isoformat(),
            retention_s,
            " ".join(_broken_off),
        ],
    )
    if not written:
        return None
    claim = json.loads(written)
    return Claim(execution_id, action_id, run, attempt, claim["startedAt"], claim.get("sent", False))


def _holder_is_dead(client: Redis, execution_id: str, action_id: str) -> bool:
    """Return whether the claim is held by a process of this very worker that is there no more.

    Its lease may last a while yet, but a killed child of a prefork pool has its message back at once.
    """
    raw: Any = client.hget(progress_key(execution_id), action_id)
    claim = json.loads(raw) if raw else {}
    worker, _, process = claim.get("owner", "").partition(":")
    if claim.get("status") != "running" or worker != incarnation():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        _broken_off.append(claim["run"])
        return True
    return False


def mark_sent(client: Redis, claim: Claim) -> None:
    """Say that an unsafe request is about to leave: from here on only its answer tells whether it arrived.

    Raises ClaimLostError, and nothing may be sent, where another worker has taken the attempt over meanwhile.
    """
    if not client.register_script(_MARK_SENT)(
        keys=[progress_key(claim.execution_id)], args=[claim.action_id, claim.run]
    ):
        raise ClaimLostError(f"{claim.action_id} was taken over by another worker")


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


class ClaimLostError(Exception):
    """This worker was silent for so long that another has its work now."""


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
        with consumer.app.backend.client.pipeline(transaction=False) as pipe:
            for process in [os.getpid(), *_pool_processes(consumer)]:
                pipe.set(worker_key(f"{incarnation()}:{process}"), 1, ex=max(1, round(timeout_s)))
            pipe.execute()
        channel = consumer.task_consumer.channel
        held = {tag: time.time() for tag in list(channel.qos._delivered) if tag not in channel.qos._dirty}  # noqa: SLF001 - kombu has no public view
        if held:
            with channel.conn_or_acquire() as client:
                # XX: a message that was acknowledged meanwhile must not come back.
                client.zadd(channel.unacked_index_key, held, xx=True)
    except (RedisError, OSError):
        logger.warning("The lease of this worker's messages could not be renewed; trying again soon", exc_info=True)


def _pool_processes(consumer: Any) -> list[int]:
    """Return the process ids of a prefork pool's living children; none for a pool of threads."""
    processes = getattr(getattr(consumer.pool, "_pool", None), "_pool", None)
    return [process.pid for process in processes or [] if getattr(process, "exitcode", 1) is None]
