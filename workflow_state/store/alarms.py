"""When a worker is to look at what: one sorted set, which each worker reads once a second.

`workflow_state:alarms` has two kinds of members:

- `<execution> <step>` for a step that waits for a person. Its alarm is set for the end of the waiting time, for a
  release whose message may not have been published, or as a sign of life for what waits long.
- `<execution> ` for each execution that has not ended (sweep.py).

The score is the time in s by Redis' own clock: no worker's wrong clock ends a waiting.
"""

from typing import Any

from redis import Redis

from workflow_state.store.execution import ExecutionStore
from workflow_state.store.names import alarms_key
from workflow_state.store.scripts import run_script

AT_ONCE = 100
"""How many alarms are taken in one step."""


def alarm_of(execution_id: str, step: str = "") -> str:
    """Return the member of the alarms for a step, or for the execution itself."""
    return f"{execution_id} {step}"


def take_due(client: Redis, put_off_s: int) -> list[tuple[str, str]]:
    """Return (execution, step or '') of what is due; others look at it after `put_off_s` only."""
    due: Any = run_script(
        client, "take_due_alarms", {"alarms": alarms_key()}, {"put_off_s": put_off_s, "at_once": AT_ONCE}
    )
    return [(parts[0], parts[1]) for member in due if (parts := member.decode().split(" "))]


def read_alarmed(client: Redis) -> dict[str, bool]:
    """Return the ids of all executions that have not ended, in no order, and whether something of each waits."""
    members: Any = client.zrange(alarms_key(), 0, -1)
    waits: dict[str, bool] = {}
    for member in members:
        execution_id, _, step = member.decode().partition(" ")
        waits[execution_id] = bool(step) or waits.get(execution_id, False)
    return waits


def set_alarm(store: ExecutionStore, step: str = "", *, after_s: float = 0) -> None:
    """Have a worker look at the step, or at the execution itself, after that time."""
    _set(store, step, after_s, only_existing=False)


def put_off_alarm(store: ExecutionStore, step: str = "", *, after_s: float) -> None:
    """Have a worker look at this after that time, if it has an alarm already."""
    _set(store, step, after_s, only_existing=True)


def remove_alarm(store: ExecutionStore, step: str = "") -> None:
    """Have no worker look at this any more."""
    store.client.zrem(alarms_key(), alarm_of(store.execution_id, step))


def _set(store: ExecutionStore, step: str, after_s: float, *, only_existing: bool) -> None:
    run_script(
        store.client,
        "set_alarm",
        {"alarms": alarms_key()},
        {
            "member": alarm_of(store.execution_id, step),
            "after_s": after_s,
            "only_existing": only_existing,
            "retention_s": store.retention_s,
        },
    )
