"""Actions that wait without a worker: for a person's answer, or for their next attempt.

An action that waits for an answer holds no worker, no thread and no message: its claim says `waiting`, and the message
that will go on with it is stored beside the claim (Celery's own signature, with its place in the chord). An answer, the
timeout or a cancellation releases the claim in one atomic step, and publishes that message.

`workflow_state:alarms` is a sorted set of `<execution> <action>` by the time in s at which a worker is to look at it:
the end of a timeout, a release whose message may not have been published, or just a sign of life for what waits long.
Times are Redis' own: a worker's wrong clock ends no one's waiting.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from celery import Celery, bootsteps
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from workflow_state.delivery import KEY_PREFIX, Claim, progress_key
from workflow_state.records import keep_execution_and_results
from workflow_state.settings import get_settings
from workflow_state.states import parse_asks

logger = logging.getLogger(__name__)

ALARMS_KEY = f"{KEY_PREFIX}alarms"

_RING_EVERY_S = 1.0
# A release and its message are two steps; whoever dies between them leaves this alarm.
_UNPUBLISHED_AFTER_S = 5

Answer = Literal["released", "nothing", "answered", "changed", "expired"]

# KEYS: progress, alarms. ARGV: action, run, asks (JSON list), the last one's digest, timeout in s or '', message to go
# on with, s until the next sign of life, execution, TTL in s.
# Returns 1 if the claim was ours to park, otherwise 0. Safe to repeat.
_PARK = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return 0 end
local claim = cjson.decode(raw)
if claim.run ~= ARGV[2] then return 0 end
local now = tonumber(redis.call('TIME')[1])
claim.status = 'waiting'
claim.digest = ARGV[4]
claim.asks = #cjson.decode(ARGV[3])
claim.expiresAt = nil
local alarm = now + tonumber(ARGV[7])
if ARGV[5] ~= '' then
  claim.expiresAt = now + tonumber(ARGV[5])
  alarm = math.min(alarm, claim.expiresAt)
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(claim), ARGV[1] .. ':asks', ARGV[3], ARGV[1] .. ':message', ARGV[6])
redis.call('ZADD', KEYS[2], alarm, ARGV[8] .. ' ' .. ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[9])
return 1
"""

# KEYS: progress, alarms. ARGV: action, how ('answer', 'timeout' or 'cancel'), answer (JSON), the digest that it is
# bound to or '', s until an unpublished release is published, execution, TTL in s.
# Returns what came of it. One answer has one effect, whoever else answers in the same instant.
_RELEASE = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return 'nothing' end
local claim = cjson.decode(raw)
local answer = ARGV[1] .. ':answer:' .. (claim.asks or 0)
if claim.status ~= 'waiting' then
  if redis.call('HEXISTS', KEYS[1], answer) == 1 then return 'answered' end
  return 'nothing'
end
local now = tonumber(redis.call('TIME')[1])
local expired = claim.expiresAt and now >= claim.expiresAt
if ARGV[2] == 'timeout' and not expired then return 'nothing' end
if ARGV[2] == 'answer' then
  if expired then return 'expired' end
  if ARGV[4] ~= '' and ARGV[4] ~= claim.digest then return 'changed' end
end
if ARGV[2] ~= 'cancel' then redis.call('HSET', KEYS[1], answer, ARGV[3]) end
claim.status = 'released'
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(claim))
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[5]), ARGV[6] .. ' ' .. ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[7])
return 'released'
"""

# KEYS: alarms. ARGV: s until the next look, how many at once.
# Returns what is due now, and puts it off: one worker looks at it now, another if that one dies.
_DUE = """
local now = tonumber(redis.call('TIME')[1])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), member) end
return due
"""


def park(
    client: Redis,
    claim: Claim,
    *,
    asks: Sequence[Mapping[str, Any]],
    timeout_s: float | None,
    message: str,
    retention_s: int,
) -> None:
    """Let the action wait for an answer to the last of `asks`; `message` goes on with it."""
    client.register_script(_PARK)(
        keys=[progress_key(claim.execution_id), ALARMS_KEY],
        args=[
            claim.action_id,
            claim.run,
            json.dumps(list(asks)),
            asks[-1]["digest"],
            "" if timeout_s is None else timeout_s,
            message,
            retention_s / 2,
            claim.execution_id,
            retention_s,
        ],
    )


def release(
    client: Redis,
    execution_id: str,
    action_id: str,
    *,
    how: Literal["answer", "timeout", "cancel"],
    answer: Mapping[str, Any] | None = None,
    digest: str | None = None,
) -> Answer:
    """End an action's waiting, if it waits; then `publish_message` must follow."""
    came: Any = client.register_script(_RELEASE)(
        keys=[progress_key(execution_id), ALARMS_KEY],
        args=[
            action_id,
            how,
            json.dumps(answer),
            digest or "",
            _UNPUBLISHED_AFTER_S,
            execution_id,
            get_settings().retention_s,
        ],
    )
    outcome: Answer = came.decode()
    return outcome


def publish_message(app: Celery, client: Redis, execution_id: str, action_id: str) -> None:
    """Publish the message that goes on with an action; one time too many does no harm, the claim sees to that."""
    raw: Any = client.hget(progress_key(execution_id), f"{action_id}:message")
    if raw:
        app.signature(json.loads(raw)).apply_async()
    client.zrem(ALARMS_KEY, alarm_of(execution_id, action_id))


def set_alarm(client: Redis, execution_id: str, action_id: str = "") -> None:
    """Have a worker look at an action, or with none at a cancelled execution, as soon as it can."""
    with client.pipeline() as pipe:
        pipe.zadd(ALARMS_KEY, {alarm_of(execution_id, action_id): time.time()})
        pipe.expire(ALARMS_KEY, get_settings().retention_s)
        pipe.execute()


def alarm_of(execution_id: str, action_id: str) -> str:
    """Return the member of the alarms for an action."""
    return f"{execution_id} {action_id}"


def read_asks(client: Redis, execution_id: str, action_id: str) -> list[dict[str, Any]]:
    """Return an action's questions, each with the answer to it."""
    key = progress_key(execution_id)
    raw: Any = client.hget(key, f"{action_id}:asks")
    if not raw:
        return []
    names = [f"{action_id}:answer:{number}" for number in range(1, len(json.loads(raw)) + 1)]
    answers: Any = client.hmget(key, names)
    return parse_asks({f"{action_id}:asks": raw, **dict(zip(names, answers, strict=True))}, action_id)


class Alarm(bootsteps.StartStopStep):
    """Look, once a second, at what is due: one round trip where nothing is."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.timer: Any = None

    def start(self, consumer: Any) -> None:
        """Begin to look."""
        self.timer = consumer.timer.call_repeatedly(_RING_EVERY_S, ring, (consumer.app,))

    def stop(self, consumer: Any) -> None:
        """End it."""
        del consumer
        if self.timer:
            self.timer.cancel()
            self.timer = None


def ring(app: Celery) -> None:
    """See to everything that is due; what fails is due again in a few seconds."""
    try:
        client: Redis = app.backend.client  # type: ignore[attr-defined]
        due: Any = client.register_script(_DUE)(keys=[ALARMS_KEY], args=[_UNPUBLISHED_AFTER_S, 100])
        for member in due:
            execution_id, action_id = member.decode().split(" ")
            look_after(app, client, execution_id, action_id)
    except (RedisError, OperationalError, OSError):
        logger.warning("What waits could not be looked after; trying again soon", exc_info=True)


def look_after(app: Celery, client: Redis, execution_id: str, action_id: str) -> None:
    """Do what is due for an action that waits, or (with no action) for an execution that was cancelled."""
    if not action_id:
        wake_all(app, client, execution_id)
        return
    raw: Any = client.hget(progress_key(execution_id), action_id)
    status = json.loads(raw)["status"] if raw else None
    if status == "waiting":
        no_answer = {"respondedAt": datetime.now(UTC).isoformat(), "confirmed": False, "timedOut": True}
        if release(client, execution_id, action_id, how="timeout", answer=no_answer) == "released":
            status = "released"
        else:
            _keep_waiting(app, client, execution_id, action_id, json.loads(raw).get("expiresAt"))
    if status == "released":
        publish_message(app, client, execution_id, action_id)
    elif status != "waiting":
        client.zrem(ALARMS_KEY, alarm_of(execution_id, action_id))


def wake_all(app: Celery, client: Redis, execution_id: str) -> None:
    """Let every action that waits, for an answer or for its next attempt, go on now: its execution was cancelled."""
    fields: Any = client.hgetall(progress_key(execution_id))
    for name, raw in fields.items():
        action_id = name.decode()
        if ":" in action_id:
            continue
        status = json.loads(raw)["status"]
        if status == "waiting":
            release(client, execution_id, action_id, how="cancel")
        if status in ("waiting", "released", "retrying"):
            publish_message(app, client, execution_id, action_id)
    client.zrem(ALARMS_KEY, alarm_of(execution_id, ""))


def _keep_waiting(app: Celery, client: Redis, execution_id: str, action_id: str, expires_at: float | None) -> None:
    """Let everything of the execution live on, and look again before half of that time has passed."""
    retention_s = get_settings().retention_s
    keep_execution_and_results(app.backend, execution_id, retention_s)
    seconds, _ = client.time()
    alarm = min(seconds + retention_s / 2, expires_at or float("inf"))
    client.zadd(ALARMS_KEY, {alarm_of(execution_id, action_id): alarm}, xx=True)
    client.expire(ALARMS_KEY, retention_s)
