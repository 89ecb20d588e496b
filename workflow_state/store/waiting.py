"""Actions that wait without a worker: for a person's answer, or for their next attempt.

An action that waits for an answer holds no worker, no thread and no message: its claim says `waiting`, and the message
that will go on with it is stored beside the claim (Celery's own signature, with its place in the chord). An answer, the
timeout or a cancellation releases the claim in one atomic step, and publishes that message.

An alarm (alarms.py) is set in the same step: for the end of a timeout, for a release whose message may not have been
published, or just as a sign of life for what waits long.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from redis import Redis

from workflow_state.rules.states import parse_asks
from workflow_state.settings import get_settings
from workflow_state.store.claims import Claim
from workflow_state.store.names import ALARMS_KEY, progress_key
from workflow_state.store.scripts import run_script

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
# bound to or '', s until an unpublished release is published, execution, TTL in s, s until the execution is looked at.
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
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(claim), ':at', now)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[5]), ARGV[6] .. ' ' .. ARGV[1])
redis.call('ZADD', KEYS[2], 'XX', now + tonumber(ARGV[8]), ARGV[6] .. ' ')
redis.call('EXPIRE', KEYS[2], ARGV[7])
return 'released'
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
    run_script(
        client,
        _PARK,
        [progress_key(claim.execution_id), ALARMS_KEY],
        [
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
    settings = get_settings()
    came: Any = run_script(
        client,
        _RELEASE,
        [progress_key(execution_id), ALARMS_KEY],
        [
            action_id,
            how,
            json.dumps(answer),
            digest or "",
            _UNPUBLISHED_AFTER_S,
            execution_id,
            settings.retention_s,
            settings.quiet_s,
        ],
    )
    outcome: Answer = came.decode()
    return outcome


def read_asks(client: Redis, execution_id: str, action_id: str) -> list[dict[str, Any]]:
    """Return an action's questions, each with the answer to it."""
    key = progress_key(execution_id)
    raw: Any = client.hget(key, f"{action_id}:asks")
    if not raw:
        return []
    names = [f"{action_id}:answer:{number}" for number in range(1, len(json.loads(raw)) + 1)]
    answers: Any = client.hmget(key, names)
    return parse_asks({f"{action_id}:asks": raw, **dict(zip(names, answers, strict=True))}, action_id)
