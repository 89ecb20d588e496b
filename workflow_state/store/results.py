"""Results of steps, which are Celery's, and what an attempt has to know when it begins."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from celery import states
from redis.client import Pipeline

from workflow_state.schema import PlannedAction
from workflow_state.store.connection import in_batches
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.records import parse_action
from workflow_state.store.sealing import require_own_result

_READ_AT_ONCE_BYTES = 2 * 2**20


def read_results(store: ExecutionStore, steps: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the states of those steps that have finished, from Celery's results. One round trip for each 1,000."""
    ids = list(steps)
    if not ids:
        return {}
    keys = [store.result(step) for step in ids]
    batches = [store.client.mget(batch) for batch in in_batches(keys)]
    return _finished(store, ids, chain.from_iterable(batches))


def iterate_results(
    store: ExecutionStore, steps: Sequence[str], *, average_bytes: float = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield those of the steps that have finished, each with its state, in their order.

    A few MB of them are in memory at a time, where `average_bytes` is about how large each is.
    """
    at_once = max(1, min(1_000, int(_READ_AT_ONCE_BYTES / max(1.0, average_bytes))))
    for batch in in_batches(steps, at_once):
        yield from read_results(store, batch).items()


def find_stored(store: ExecutionStore, steps: Sequence[str]) -> set[str]:
    """Return those of the steps that have a result, without reading it. One or two round trips for each 1,000."""
    found: set[str] = set()
    for batch in in_batches(steps):
        keys = [store.result(step) for step in batch]
        count = store.client.exists(*keys)
        if count == len(keys):
            found.update(batch)
        elif count:
            with store.client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.exists(key)
                found |= {step for step, is_there in zip(batch, pipe.execute(), strict=True) if is_there}
    return found


@dataclass(frozen=True, slots=True)
class ContextQuery:
    """What an attempt asks when it begins: its actions, the results of these steps, and a definition's pause."""

    action_ids: Sequence[str]
    steps: Sequence[str]
    pause_key: str


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What an attempt finds when it begins.

    `actions` are those that were asked for, None where the record is gone. `results` are the states of those steps that
    have finished. `paused_until_s` (Redis' own time) says until when the server of the definition wants no requests, 0
    where there is no such time. `definitions` are the ids and patterns of the definitions that the execution may use,
    None for all. `state_bytes` is how large the results of the execution's steps are so far, and
    `stored_bytes` how large their outputs are that were put into the storage.
    """

    actions: list[PlannedAction] | None
    results: dict[str, dict[str, Any]]
    plan_id: str
    is_cancelled: bool
    paused_until_s: float
    definitions: list[str] | None = None
    state_bytes: int = 0
    stored_bytes: int = 0


def queue_context(pipe: Pipeline, store: ExecutionStore, query: ContextQuery) -> None:
    """Ask in a pipeline what `parse_context` needs: two commands, and one more for each 1,000 results."""
    pipe.hmget(store.record, _context_fields(query))
    for batch in in_batches([query.pause_key, *map(store.result, query.steps)]):
        pipe.mget(batch)


def parse_context(store: ExecutionStore, query: ContextQuery, replies: Sequence[Any]) -> AttemptContext:
    """Return what the replies to `queue_context` say."""
    fields = dict(zip(_context_fields(query), replies[0], strict=True))
    paused_until_s, *raw_results = chain.from_iterable(replies[1:])
    raw_actions = {name: fields[f"action:{name}"] for name in query.action_ids}
    return AttemptContext(
        actions=[parse_action(store.execution_id, *found) for found in raw_actions.items()]
        if all(raw_actions.values())
        else None,
        results=_finished(store, query.steps, raw_results),
        plan_id=(fields["planId"] or b"").decode(),
        is_cancelled=fields["cancelRequestedAt"] is not None,
        paused_until_s=float(paused_until_s or 0),
        definitions=json.loads(fields["definitions"]) if fields["definitions"] else None,
        state_bytes=int(fields["stateBytes"] or 0),
        stored_bytes=int(fields["storedBytes"] or 0),
    )


def _context_fields(query: ContextQuery) -> list[str]:
    names = ["planId", "cancelRequestedAt", "definitions", "stateBytes", "storedBytes"]
    return [*names, *(f"action:{name}" for name in query.action_ids)]


def decode_result(backend: Any, task_id: str, raw: bytes) -> dict[str, Any]:
    """Return what Celery has stored of a task, from the value of its key. Raises DecryptionError."""
    meta: dict[str, Any] = backend.decode(raw)
    return require_own_result(task_id, meta)


def _finished(store: ExecutionStore, steps: Iterable[str], raw_results: Iterable[Any]) -> dict[str, dict[str, Any]]:
    found = zip(steps, raw_results, strict=True)
    decoded = ((step, decode_result(store.backend, store.task_id(step), raw)) for step, raw in found if raw is not None)
    return {step: meta["result"] for step, meta in decoded if meta["status"] == states.SUCCESS}
