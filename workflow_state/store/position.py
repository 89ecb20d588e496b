"""How far an execution has come, and when something was last heard of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.client import Pipeline

from workflow_state.schema import ExecutionStatus, PlannedAction
from workflow_state.store.claims import ClaimLostError
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.records import read_actions
from workflow_state.store.scripts import run_script

_POSITION_FIELDS = (
    "status",
    "currentLevel",
    "wave",
    "cancelRequestedAt",
    "stoppedBy",
    "expiresAt",
    "elementCount",
    "begunCount",
    "stateBytes",
)


@dataclass(frozen=True, slots=True)
class ExecutionPosition:
    """How far an execution has come, as whoever goes on with a level has to know.

    `current_level` is the level whose messages were published last, -1 before the first. `wave` is 1 where these were
    the messages of its actions, and 2 where they were those of alternatives that stand in for whole lists.
    `previous_actions` are the actions of the level before the one that was asked for, `actions` its own; both are empty
    where there is no such level. What is stopped is cancelled as well. `begun_count` is how many steps have begun, and
    `element_count` how many elements the lists among them have had; `state_bytes` is how large their results are.
    """

    current_level: int
    wave: int
    is_cancelled: bool = False
    is_stopped: bool = False
    element_count: int = 0
    begun_count: int = 0
    state_bytes: int = 0
    expires_at: datetime | None = None
    previous_actions: Sequence[PlannedAction] = ()
    actions: Sequence[PlannedAction] = ()


@dataclass(frozen=True, slots=True)
class LevelStart:
    """What is noted of a level before its messages are published.

    `holder` holds the claim of the level task. `wave` is as in ExecutionPosition. `next_message` (JSON) is published
    when all of the `message_count` have ended.
    """

    holder: str
    level: int
    wave: int
    message_count: int
    next_message: str
    element_count: int = 0


@dataclass(frozen=True, slots=True)
class SignsOfLife:
    """What tells whether an execution goes on by itself.

    For `silent_for_s` nothing of it was claimed or published, at `now_s` by Redis' own clock. `next_message` (JSON) is
    what goes on with it, and `message_count` how many messages its current level has. What is stored of it lives for
    `ttl_s`.
    """

    status: ExecutionStatus
    next_message: str | None
    message_count: int
    is_cancelled: bool
    silent_for_s: float
    now_s: int
    ttl_s: int


def begin_execution(store: ExecutionStore) -> bool:
    """Note that the execution has begun; False where there is no record of it. May be called again."""
    now = datetime.now(UTC).isoformat()
    return bool(run_script(store.client, "begin_execution", {"record": store.record}, {"now": now}))


def queue_position(pipe: Pipeline, *, store: ExecutionStore, level: int) -> None:
    """Ask in a pipeline how far the execution has come, for whoever goes on with that level (from 0)."""
    pipe.hmget(store.record, *_POSITION_FIELDS, f"level:{level - 1}", f"level:{level}")


def parse_position(store: ExecutionStore, replies: Sequence[Any]) -> ExecutionPosition | None:
    """Return what the reply to `queue_position` says, with the actions of its levels; None without a record."""
    *values, previous_level, own_level = replies[0]
    fields = dict(zip(_POSITION_FIELDS, values, strict=True))
    if fields["status"] is None:
        return None
    previous, own = (json.loads(raw or b"[]") for raw in (previous_level, own_level))
    actions = {action.id: action for action in read_actions(store, [*previous, *own])}
    expires_at = fields["expiresAt"]
    return ExecutionPosition(
        current_level=int(fields["currentLevel"] or -1),
        wave=int(fields["wave"] or 1),
        is_cancelled=fields["cancelRequestedAt"] is not None,
        is_stopped=fields["stoppedBy"] is not None,
        element_count=int(fields["elementCount"] or 0),
        begun_count=int(fields["begunCount"] or 0),
        state_bytes=int(fields["stateBytes"] or 0),
        expires_at=datetime.fromisoformat(expires_at.decode()) if expires_at else None,
        previous_actions=[actions[name] for name in previous],
        actions=[actions[name] for name in own],
    )


def read_position(store: ExecutionStore, level: int) -> ExecutionPosition | None:
    """Return how far the execution has come, for whoever goes on with that level (from 0); None without a record."""
    with store.client.pipeline(transaction=False) as pipe:
        queue_position(pipe, store=store, level=level)
        replies = pipe.execute()
    return parse_position(store, replies)


def begin_level(store: ExecutionStore, start: LevelStart) -> None:
    """Note which level begins, before its messages are published, and what goes on after it. May be called again.

    Raises ClaimLostError where another worker has taken the level over; then nothing may be published.
    """
    is_own = run_script(
        store.client,
        "begin_level",
        {"record": store.record, "progress": store.progress},
        {
            "holder": start.holder,
            "level": start.level,
            "wave": start.wave,
            "message_count": start.message_count,
            "next_message": start.next_message,
            "element_count": start.element_count,
        },
    )
    if not is_own:
        raise ClaimLostError(f"level {start.level} of {store.execution_id} was taken over by another worker")


def read_signs_of_life(store: ExecutionStore) -> SignsOfLife | None:
    """Return what tells whether the execution goes on; None where there is no record of it. One round trip."""
    with store.client.pipeline(transaction=False) as pipe:
        pipe.hmget(store.record, "status", "nextMessage", "messageCount", "cancelRequestedAt")
        pipe.hget(store.progress, ":at")
        pipe.ttl(store.record)
        pipe.time()
        (status, message, message_count, cancel_requested_at), alive_at_s, ttl_s, (now_s, _) = pipe.execute()
    if status is None:
        return None
    return SignsOfLife(
        status=ExecutionStatus(status.decode()),
        next_message=message.decode() if message else None,
        message_count=int(message_count or 0),
        is_cancelled=cancel_requested_at is not None,
        silent_for_s=now_s - float(alive_at_s or 0),
        now_s=now_s,
        ttl_s=ttl_s,
    )


def note_sign_of_life(store: ExecutionStore, now_s: float) -> None:
    """Note that something of the execution is published now (s since 1970, by Redis' own clock)."""
    with store.client.pipeline() as pipe:
        pipe.hset(store.progress, ":at", str(now_s))
        pipe.expire(store.progress, store.retention_s)
        pipe.execute()
