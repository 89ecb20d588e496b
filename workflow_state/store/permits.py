"""Permits: what a definition's `rateLimit` allows, and the pause that its server asked for, shared by all workers.

Before an attempt sends, it takes a permit in one atomic step. Where there is none, it learns when to come back, and its
message goes away until then (sending.py): a wait costs no attempt, and holds no worker but for the last moments.

- `requestsPerSecond`: whoever comes gets the next free slot of its own, so that three hundred actions come back one by
  one and in their order. Slots are even, there are no bursts; one that nobody used is lost. Sending is spaced once more
  when it is due, because those who are late for their slots would come together.
- `concurrent`: a permit is held by a run, and is free again when the attempt has ended, or the run is known to be over
  as with claims (delivery.py). Those who wait ask again when it should be their turn, by how long permits were held
  lately. They are served in the order of coming, but for as many places as there are permits.
- A pause, after 429 or 503 with Retry-After, is a key that runs out with it. It is the definition's, not the host's:
  which requests an API counts together only the operator knows. An attempt waits for three pauses; where the server
  goes on asking for more, it asks by itself and fails by its own retries, rather than wait for everybody else's.

Times are Redis' own. Every key has a TTL, and whatever is lost heals by it.
"""

import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis

from workflow_state.schema import ActionDefinition
from workflow_state.store.claims import Claim, HeldBack
from workflow_state.store.connection import CONNECTION_ERRORS
from workflow_state.store.leases import process_name
from workflow_state.store.names import KEY_PREFIX, worker_key
from workflow_state.store.scripts import run_script

MAX_HELD_S = 0.5
"""How long a worker may be held until a permit is good; what has to wait longer goes away."""
MAX_PAUSE_S = 300
MAX_PAUSES = 3

# Whoever comes back does so a little early: a timer is late more often than not, and slots are used on time.
_EARLY_S = 0.05
# After a pause not everybody at once.
_PAUSE_JITTER = 0.1
_MAX_PAUSE_JITTER_S = 2.0

# KEYS:
# - pause
# - limit: hash: `slot`, the next free one; `sent`, when the next may be sent; `hold`, s that a permit is held lately
# - slots: sorted set: who → its slot
# - held: hash: run → {owner, at}
# - line: sorted set: who waits for one of those → since when
# - seen: sorted set: who waits → when it will come back
# ARGV: who, run, process, prefix of leases, s between two slots or 0, how many at once or 0, s that a worker may be
# held, s after which a permit may be forgotten, 1 where a pause is to be obeyed.
# Returns why it is held back, or '', and the s until it may be sent or is to come back, as text: Redis cuts numbers.
# Safe to repeat: the slot is kept under its name, the permit under its run's; a repeated answer costs one slot at most.
_TAKE = """
local who, run, every, limit, patience = ARGV[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local paused = ARGV[9] == '1' and math.max(0, redis.call('PTTL', KEYS[1])) / 1000 or 0
if paused > patience and every == 0 then return {'pause', tostring(paused)} end
local at = now + paused
if every > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 60)
  local slot = tonumber(redis.call('ZSCORE', KEYS[3], who))
  local sent = tonumber(redis.call('HGET', KEYS[2], 'sent')) or 0
  -- A slot in the pause, or that so many are late for that it can't be made up, is gone: to the end of the line.
  if slot and slot < at and (paused > 0 or sent - now > patience) then slot = nil end
  if not slot then
    slot = math.max(at, tonumber(redis.call('HGET', KEYS[2], 'slot')) or 0)
    redis.call('HSET', KEYS[2], 'slot', string.format('%.6f', slot + every))
    redis.call('ZADD', KEYS[3], slot, who)
    local ttl = math.ceil(slot + every - now) + 120
    redis.call('EXPIRE', KEYS[2], ttl)
    redis.call('EXPIRE', KEYS[3], ttl)
  end
  at = math.max(at, slot, sent)
end
if at - now > patience then return {paused > 0 and 'pause' or 'limit', tostring(at - now)} end
if limit > 0 and redis.call('HEXISTS', KEYS[4], run) == 0 then
  local free = limit - redis.call('HLEN', KEYS[4])
  if free <= 0 then
    local holders = redis.call('HGETALL', KEYS[4])
    for i = 1, #holders, 2 do
      local holder = cjson.decode(holders[i + 1])
      local lease = redis.call('GET', ARGV[4] .. holder.owner)
      local told = lease and cjson.decode(lease)
      if not told or (told.at > holder.at and not string.find(told.runs, holders[i], 1, true)) then
        redis.call('HDEL', KEYS[4], holders[i])
        free = free + 1
      end
    end
  end
  -- Who has not come back for long, will not: its execution was cancelled, say.
  for _, lost in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', now - 30)) do
    redis.call('ZREM', KEYS[5], lost)
    redis.call('ZREM', KEYS[6], lost)
  end
  local place = redis.call('ZRANK', KEYS[5], who) or redis.call('ZCARD', KEYS[5])
  if free <= 0 or place >= free + limit then
    local hold = tonumber(redis.call('HGET', KEYS[2], 'hold')) or 0.2
    local turn = math.floor(place / limit)
    local wait = turn == 0 and math.min(1, hold / 2) or math.min(10, hold * turn)
    wait = math.max(0.1, wait)
    redis.call('ZADD', KEYS[5], 'NX', now, who)
    redis.call('ZADD', KEYS[6], now + wait, who)
    redis.call('EXPIRE', KEYS[5], 3600)
    redis.call('EXPIRE', KEYS[6], 3600)
    return {'limit', tostring(wait)}
  end
  redis.call('ZREM', KEYS[5], who)
  redis.call('ZREM', KEYS[6], who)
  redis.call('HSET', KEYS[4], run, cjson.encode({owner = ARGV[3], at = now}))
  redis.call('EXPIRE', KEYS[4], ARGV[8])
end
if every > 0 then
  redis.call('HSET', KEYS[2], 'sent', string.format('%.6f', at + every))
end
return {'', tostring(at - now)}
"""

# KEYS: limit, held. ARGV: run. Safe to repeat.
_RETURN = """
local raw = redis.call('HGET', KEYS[2], ARGV[1])
if not raw then return end
redis.call('HDEL', KEYS[2], ARGV[1])
local time = redis.call('TIME')
local held = tonumber(time[1]) + tonumber(time[2]) / 1e6 - cjson.decode(raw).at
local before = tonumber(redis.call('HGET', KEYS[1], 'hold')) or held
redis.call('HSET', KEYS[1], 'hold', string.format('%.6f', before * 0.8 + held * 0.2))
if redis.call('TTL', KEYS[1]) < 3600 then redis.call('EXPIRE', KEYS[1], 3600) end
"""

# KEYS: pause. ARGV: ms. The value is when it ends. A pause that is under way is never shortened.
_PAUSE = """
if redis.call('PTTL', KEYS[1]) >= tonumber(ARGV[1]) then return end
local time = redis.call('TIME')
local ends = tonumber(time[1]) + (tonumber(time[2]) / 1e6) + tonumber(ARGV[1]) / 1000
redis.call('SET', KEYS[1], string.format('%.3f', ends), 'PX', ARGV[1])
"""


@dataclass(frozen=True, slots=True)
class Permit:
    """That an attempt may be sent in `delay_s` (at most MAX_HELD_S), or why it has to come back after that time."""

    delay_s: float = 0
    held_back: HeldBack | None = None


def take_permit(client: Redis, definition: ActionDefinition, claim: Claim, *, paused_s: float | None = None) -> Permit:
    """Return the permit for the claimed attempt; `return_permit` must follow when the attempt has ended.

    `paused_s` is how long the definition's pause lasts (0: there is none), where that was read just now already: then
    a definition without a `rateLimit` costs no round trip. May be called again for the same attempt, by whichever run
    has its claim.
    """
    limit = definition.rate_limit
    obeys_pauses = claim.pauses < MAX_PAUSES
    if limit is None:
        if paused_s is None:
            paused_ms: Any = client.pttl(pause_key(definition.id))
            paused_s = paused_ms / 1000
        return Permit(_after_pause(paused_s), "pause") if obeys_pauses and paused_s > 0 else Permit()
    names = ("pause", "limit", "slots", "held", "line", "seen")
    answer: Any = run_script(
        client,
        _TAKE,
        [_key(definition.id, name) for name in names],
        [
            f"{claim.execution_id} {claim.action_id} {claim.attempt}",
            claim.run,
            process_name(),
            worker_key(""),
            1 / limit.requests_per_second if limit.requests_per_second else 0,
            limit.concurrent or 0,
            MAX_HELD_S,
            definition.endpoint.timeout // 1000 + 3600,
            int(obeys_pauses),
        ],
    )
    held_back, delay_s = answer[0].decode(), float(answer[1])
    if not held_back:
        return Permit(delay_s)
    # With slots of their own they come back one by one.
    comes_back_s = max(_EARLY_S, delay_s - _EARLY_S) if limit.requests_per_second else _after_pause(delay_s)
    return Permit(comes_back_s, held_back)


def return_permit(client: Redis, definition: ActionDefinition, claim: Claim) -> None:
    """Give the permit of an attempt that has ended back, if it had one. May be called twice; raises nothing."""
    if definition.rate_limit and definition.rate_limit.concurrent:
        keys = [_key(definition.id, "limit"), _key(definition.id, "held")]
        # The attempt's end is to be stored whatever happens here; the permit is found to be over all the same.
        with suppress(*CONNECTION_ERRORS):
            run_script(client, _RETURN, keys, [claim.run])


def pause_definition(client: Redis, definition: ActionDefinition, pause_s: float) -> None:
    """Have nobody send requests of this definition for that time, at most MAX_PAUSE_S; raises nothing."""
    pause_ms = round(min(pause_s, MAX_PAUSE_S) * 1000)
    if pause_ms > 0:
        with suppress(*CONNECTION_ERRORS):
            run_script(client, _PAUSE, [pause_key(definition.id)], [pause_ms])


def pause_key(definition_id: str) -> str:
    """Return the key of a definition's pause: when it ends, s since 1970 by Redis' clock; gone when it has ended."""
    return _key(definition_id, "pause")


def _after_pause(delay_s: float) -> float:
    return delay_s + random.uniform(0, min(_MAX_PAUSE_JITTER_S, delay_s * _PAUSE_JITTER))


def _key(definition_id: str, name: str) -> str:
    return f"{KEY_PREFIX}permits:{name}:{definition_id}"
