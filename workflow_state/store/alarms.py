"""When a worker is to look at what: one sorted set, which each worker reads once a second.

`workflow_state:alarms` holds `<execution> <action>` for an action that waits (the end of a timeout, a release whose
message may not have been published, a sign of life for what waits long), and `<execution> ` for each execution that has
not ended (sweep.py). The score is the time in s, Redis' own: a worker's wrong clock ends no one's waiting.
"""

from typing import Any

from redis import Redis

from workflow_state.store.names import ALARMS_KEY
from workflow_state.store.scripts import run_script

AT_ONCE = 100
"""How many alarms are taken in one step."""

# KEYS: alarms. ARGV: s until the next look, how many at once.
# Returns what is due now, and puts it off: one worker looks at it now, another if that one dies.
_DUE = """
local now = tonumber(redis.call('TIME')[1])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), member) end
return due
"""

# KEYS: alarms. ARGV: member, s from now, 1 where it is to be there already, TTL in s.
_SET = """
local at = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[2])
if ARGV[3] == '1' then redis.call('ZADD', KEYS[1], 'XX', at, ARGV[1]) else redis.call('ZADD', KEYS[1], at, ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[4])
"""


def alarm_of(execution_id: str, action_id: str = "") -> str:
    """Return the member of the alarms for an action, or for the execution itself."""
    return f"{execution_id} {action_id}"


def take_due(client: Redis, put_off_s: int) -> list[tuple[str, str]]:
    """Return (execution, action or '') of what is due, and have others look at it after `put_off_s` only."""
    due: Any = run_script(client, _DUE, [ALARMS_KEY], [put_off_s, AT_ONCE])
    return [(parts[0], parts[1]) for member in due if (parts := member.decode().split(" "))]


def read_alarmed(client: Redis) -> dict[str, bool]:
    """Return the ids of all executions that have not ended, in no order, and whether something of each waits."""
    members: Any = client.zrange(ALARMS_KEY, 0, -1)
    waits: dict[str, bool] = {}
    for member in members:
        execution_id, _, action_id = member.decode().partition(" ")
        waits[execution_id] = bool(action_id) or waits.get(execution_id, False)
    return waits


def set_alarm(client: Redis, execution_id: str, action_id: str = "", *, after_s: float = 0, retention_s: int) -> None:
    """Have a worker look at this after that time."""
    _set(client, execution_id, action_id, after_s, retention_s, only_existing=False)


def put_off_alarm(client: Redis, execution_id: str, action_id: str = "", *, after_s: float, retention_s: int) -> None:
    """Have a worker look at this after that time, if it is to be looked at at all."""
    _set(client, execution_id, action_id, after_s, retention_s, only_existing=True)


def remove_alarm(client: Redis, execution_id: str, action_id: str = "") -> None:
    """Look at this no more."""
    client.zrem(ALARMS_KEY, alarm_of(execution_id, action_id))


def _set(
    client: Redis, execution_id: str, action_id: str, after_s: float, retention_s: int, *, only_existing: bool
) -> None:
    run_script(
        client, _SET, [ALARMS_KEY], [alarm_of(execution_id, action_id), after_s, int(only_existing), retention_s]
    )
