"""Permits: what a definition's `rateLimit` allows, and the pause that its server asked for, shared by all workers.

Before an attempt sends, it takes a permit in one atomic step. Where there is none, it learns when to come back, and its
message goes away until then (sending.py). That costs no attempt, and holds no worker but for the last moments.

- `requestsPerSecond`: an attempt gets the next free slot, which is its own. So three hundred actions come back one by
  one and in their order. Slots are evenly spaced, without bursts. A slot that nobody used is lost. Requests are spaced
  once more when they are due, because those that are late for their slots would come together.
- `concurrent`: a permit has the holder of its attempt's claim. It is free again when the attempt has ended, or the
  holder is known to be over, as with claims (leases.py). Those who wait ask again when it should be their turn, by how
  long permits were held lately. They are served in the order of coming, but for as many places as there are permits.
- A pause begins with a 429 or 503 that has Retry-After. It is a key that expires when the pause ends. It holds for the
  definition, not for the host: only the operator knows which requests an API counts together. An attempt waits for
  three pauses. After that it asks the server all the same, and fails by its own retries.

Times are Redis' own. Every key has a TTL, which heals whatever is lost.
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
from workflow_state.store.names import key_of, worker_key
from workflow_state.store.scripts import run_script

MAX_HELD_S = 0.5
"""How long a worker may be held until a permit is good. An attempt that has to wait longer goes away."""
MAX_PAUSE_S = 300
MAX_PAUSES = 3

# An attempt comes back a little early, because a timer is late more often than not.
_EARLY_S = 0.05
# After a pause not everybody at once.
_PAUSE_JITTER = 0.1
_MAX_PAUSE_JITTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Permit:
    """An attempt may be sent in `delay_s` (at most MAX_HELD_S); where it is `held_back`, it comes back after that."""

    delay_s: float = 0
    held_back: HeldBack | None = None


def take_permit(client: Redis, definition: ActionDefinition, claim: Claim, *, paused_s: float | None = None) -> Permit:
    """Return the permit for the claimed attempt; `return_permit` must follow when the attempt has ended.

    `paused_s` is how long the definition's pause lasts, 0 where there is none. A caller that has just read it saves the
    round trip for a definition without a `rateLimit`. May be called again for the same attempt, by whoever holds its
    claim.
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
        "take_permit",
        {name: _key(definition.id, name) for name in names},
        {
            "attempt": f"{claim.execution_id} {claim.step} {claim.attempt}",
            "holder": claim.holder,
            "process": process_name(),
            "lease_prefix": worker_key(""),
            "interval_s": 1 / limit.requests_per_second if limit.requests_per_second else 0,
            "concurrent": limit.concurrent or 0,
            "patience_s": MAX_HELD_S,
            "ttl_s": definition.endpoint.timeout // 1000 + 3600,
            "obeys_pause": obeys_pauses,
        },
    )
    held_back, delay_s = answer[0].decode(), float(answer[1])
    if not held_back:
        return Permit(delay_s)
    # Attempts with slots of their own come back one by one: they need no jitter.
    comes_back_s = max(_EARLY_S, delay_s - _EARLY_S) if limit.requests_per_second else _after_pause(delay_s)
    return Permit(comes_back_s, held_back)


def return_permit(client: Redis, definition: ActionDefinition, claim: Claim) -> None:
    """Give the permit of an attempt that has ended back, if it had one. May be called twice; raises nothing."""
    if definition.rate_limit and definition.rate_limit.concurrent:
        keys = {name: _key(definition.id, name) for name in ("limit", "held")}
        # The end of the attempt must be stored whatever happens here. The permit is found to be over all the same.
        with suppress(*CONNECTION_ERRORS):
            run_script(client, "return_permit", keys, {"holder": claim.holder})


def pause_definition(client: Redis, definition: ActionDefinition, pause_s: float) -> None:
    """Have nobody send requests of this definition for that time, at most MAX_PAUSE_S; raises nothing."""
    pause_ms = round(min(pause_s, MAX_PAUSE_S) * 1000)
    if pause_ms > 0:
        with suppress(*CONNECTION_ERRORS):
            run_script(client, "pause_definition", {"pause": pause_key(definition.id)}, {"pause_ms": pause_ms})


def pause_key(definition_id: str) -> str:
    """Return the key of a definition's pause: when it ends, s since 1970 by Redis' clock; gone when it has ended."""
    return _key(definition_id, "pause")


def _after_pause(delay_s: float) -> float:
    return delay_s + random.uniform(0, min(_MAX_PAUSE_JITTER_S, delay_s * _PAUSE_JITTER))


def _key(definition_id: str, name: str) -> str:
    return key_of(f"permits:{name}:{definition_id}")
