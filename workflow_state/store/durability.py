"""How safe a write is before it counts: on a replica, or on the disk, as far as the server offers it quickly.

Redis answers before a write is anywhere but in its memory. A failover, or a crash, may lose what it has answered to.
Two writes may not get lost like that: the mark *sent* of an unsafe request, which would be sent a second time, and the
record of an execution that was accepted. They are followed by WAIT, which tells how many replicas have them, and by
WAITAOF, which tells that they are on the disk. Both only know the writes of their own connection, so that they go out
in one pipeline with the write.

`WORKFLOW_STATE_UNSAFE_DURABILITY` says what is needed. Without it a process finds out once what the server offers at
under 50 ms, and again for each primary that it comes to know, as after a failover. Of the same primary it never asks
for less than before: one that was cut off from its replicas looks like one that has none, and another may have taken
its place. That a primary had a replica is noted in Redis, for processes that start later.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from workflow_state.settings import get_settings
from workflow_state.store.connection import NotSafeError
from workflow_state.store.names import durability_key, durability_probe_key
from workflow_state.store.scripts import Argument, run_script, run_script_beside

logger = logging.getLogger(__name__)

# Below the timeout of a socket, so that the answer comes first. With `appendfsync everysec` it takes a second.
_REPLICA_WITHIN_MS = 1_000
_DISK_WITHIN_MS = 2_000
# What costs less is asked for by default.
_QUICK_MS = 50
_NEVER_MS = float("inf")
_TRIES = 3
_PROBE_TTL_S = 60
_NOTE_TTL_S = 3_600
# The one that answered last, its successor, and the old one that wakes up.
_MOST_SERVERS = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """What a primary offers. `reign` tells its time as primary from that of any other."""

    reign: str
    has_replica: bool
    replica_is_quick: bool
    disk_is_quick: bool


@dataclass(frozen=True, slots=True)
class Need:
    """What a write has to reach before it counts."""

    replica: bool
    disk: bool

    def __str__(self) -> str:
        return " and ".join(name for name in ("replica", "disk") if getattr(self, name)) or "memory"


_lock = threading.Lock()
# What was found out, by the reign.
_offers: dict[str, Offer] = {}
# The reign in which a server answered last, by its address.
_last_reigns: dict[str, str] = {}


def run_unsafe_mark(client: Redis, name: str, keys: Mapping[str, str], arguments: Mapping[str, Argument]) -> Any:
    """Run the script that marks an unsafe request as sent; return its answer once the mark is as safe as it has to be.

    Raises NotSafeError where it is not in time, or where Redis can't be reached: the mark may be there or not.
    """
    try:
        return _run_safely(client, name, keys, arguments, need_of_mark)
    except NotSafeError:
        raise
    except RedisError as error:
        raise NotSafeError(str(error)) from error


def run_registration(client: Redis, name: str, keys: Mapping[str, str], arguments: Mapping[str, Argument]) -> Any:
    """Run the script that registers an execution; return its answer once a replica has it, where there is one.

    Raises NotSafeError where no replica has confirmed it in time.
    """
    return _run_safely(client, name, keys, arguments, need_of_registration)


def need_of_mark(offer: Offer) -> Need:
    """Return what the mark of an unsafe request has to reach, by the setting and what the server offers."""
    match get_settings().unsafe_durability:
        case "memory":
            return Need(replica=False, disk=False)
        case "replica":
            return Need(replica=True, disk=False)
        case "disk":
            return Need(replica=offer.has_replica, disk=True)
    return Need(replica=offer.has_replica and offer.replica_is_quick, disk=offer.disk_is_quick)


def need_of_registration(offer: Offer) -> Need:
    """Return what an execution's record has to reach: a replica, where there is one that the marks wait for as well."""
    return Need(replica=offer.has_replica and need_of_mark(offer).replica, disk=False)


def _run_safely(
    client: Redis,
    name: str,
    keys: Mapping[str, str],
    arguments: Mapping[str, Argument],
    need_of: Callable[[Offer], Need],
) -> Any:
    if get_settings().unsafe_durability == "memory":
        return run_script(client, name, keys, arguments)
    offer = known_offer(client)
    # Who answers is known with the answer only. After a failover it is another server, and while that lasts even the
    # old one may answer again.
    for _ in range(_MOST_SERVERS):
        need = need_of(offer)
        reign, answer, is_safe = _run_and_wait(client, name, keys, arguments, need)
        if reign == offer.reign:
            if is_safe:
                return answer
            raise NotSafeError(f"Redis has not confirmed in time that what was written is safe ({need})")
        offer = _offers.get(reign) or _find_offer(client)
        _last_reigns[_address(client)] = offer.reign
    raise NotSafeError("one Redis after the other has answered: a failover is under way")


def _run_and_wait(
    client: Redis, name: str, keys: Mapping[str, str], arguments: Mapping[str, Argument], need: Need
) -> tuple[str, Any, bool]:
    """Run the script, and wait; return whose reign it was, the answer, and whether the write is as safe as needed.

    One round trip.
    """
    try:
        answer, replies = run_script_beside(client, name, keys, arguments, partial(_queue_waits, need=need))
    except ResponseError as error:
        if "WAITAOF" not in str(error):
            raise
        # The server has no append-only file, or is too old to have the command.
        return _read_reign(client), None, False
    reign = _reign_in(replies.pop(0))
    replicas = replies.pop(0) if need.replica else 1
    on_disk = replies.pop(0)[0] if need.disk else 1
    return reign, answer, replicas >= 1 and on_disk >= 1


def _queue_waits(pipe: Pipeline, *, need: Need) -> None:
    _queue(pipe, "INFO", "replication")
    if need.replica:
        _queue(pipe, "WAIT", 1, _REPLICA_WITHIN_MS)
    if need.disk:
        _queue(pipe, "WAITAOF", 1, 0, _DISK_WITHIN_MS)


def _queue(pipe: Any, *command: Any) -> None:
    # redis-py has no method for WAITAOF in a pipeline, and no types here.
    pipe.execute_command(*command)


def known_offer(client: Redis) -> Offer:
    """Return what the server offers that answered last, as this process has found out."""
    return _offers.get(_last_reigns.get(_address(client), "")) or _find_offer(client)


def _find_offer(client: Redis) -> Offer:
    """Find out what the server offers, and keep it: some ten round trips. Other threads wait for it."""
    with _lock:
        reign = _read_reign(client)
        if reign in _offers:
            return _offers[reign]
        replica_ms = min(_time_replica(client) for _ in range(_TRIES))
        # With `appendfsync everysec` a first write reaches the disk at once, and the next one later.
        disk_ms = max(_time_disk(client) for _ in range(_TRIES))
        offer = Offer(
            reign,
            has_replica=_note_replica(client, reign, has_one=replica_ms < _NEVER_MS),
            replica_is_quick=replica_ms < _QUICK_MS or replica_ms == _NEVER_MS,
            disk_is_quick=disk_ms < _QUICK_MS,
        )
        _offers[reign] = offer
        _last_reigns[_address(client)] = reign
    logger.info(
        "The mark of an unsafe request waits for: %s (a replica: %s, the disk: %s)",
        need_of_mark(offer),
        _told(replica_ms),
        _told(disk_ms),
    )
    return offer


def _told(milliseconds: float) -> str:
    return "not in time" if milliseconds == _NEVER_MS else f"{milliseconds:.1f} ms"


def _note_replica(client: Redis, reign: str, *, has_one: bool) -> bool:
    """Return whether the primary has a replica, or had one in this reign, and note that for processes to come."""
    if has_one:
        client.set(durability_key(), reign, ex=_NOTE_TTL_S)
        return True
    noted: Any = client.get(durability_key())
    return (noted.decode() if isinstance(noted, bytes) else noted) == reign


def _address(client: Redis) -> str:
    """Return what is the same for all connections of this process to a server: each thread has a pool of its own."""
    pool: Any = client.connection_pool
    parts = [getattr(pool, "service_name", None)]
    parts += [pool.connection_kwargs.get(name) for name in ("host", "port", "path", "db")]
    return repr(parts)


def _time_replica(client: Redis) -> float:
    """Return how many ms a write takes to a replica; `_NEVER_MS` where there is none."""
    info: Any = client.info("replication")
    if not info.get("connected_slaves"):
        return _NEVER_MS
    return _time_write(client, "WAIT", 1, _REPLICA_WITHIN_MS, reached=bool)


def _time_disk(client: Redis) -> float:
    """Return how many ms a write takes to the disk; `_NEVER_MS` where that is slow, or can't be asked for."""
    try:
        return _time_write(client, "WAITAOF", 1, 0, _QUICK_MS, reached=lambda reply: reply[0] >= 1)
    except NoPermissionError:
        raise
    except ResponseError:
        # Older than 7.2, or without an append-only file.
        return _NEVER_MS


def _time_write(client: Redis, *wait: Any, reached: Callable[[Any], bool]) -> float:
    begun_s = time.monotonic()
    with client.pipeline(transaction=False) as pipe:
        pipe.set(durability_probe_key(), "1", ex=_PROBE_TTL_S)
        _queue(pipe, *wait)
        reply = pipe.execute()[-1]
    return (time.monotonic() - begun_s) * 1_000 if reached(reply) else _NEVER_MS


def _read_reign(client: Redis) -> str:
    """Return what tells this primary's time as primary from any other: it begins with a failover, or a new start."""
    return _reign_in(client.info("replication"))


def _reign_in(info: Any) -> str:
    return str(info["master_replid"])
