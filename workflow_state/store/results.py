"""What actions came to, from Celery's results, and all that an attempt has to know when it begins."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from celery import states
from redis.client import Pipeline

from workflow_state.schema import PlannedAction
from workflow_state.store.connection import in_batches
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.names import action_task_id, record_key


def read_results(store: ExecutionStore, steps: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the states of those steps that have finished, from Celery's results: one MGET for each 1,000."""
    ids = list(steps)
    if not ids:
        return {}
    keys = [store.result(step) for step in ids]
    batches = [store.client.mget(batch) for batch in in_batches(keys)]
    return _finished(store.backend, ids, chain.from_iterable(batches))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an attempt finds when it begins.

    `actions` are those that were asked for, None where the record has them not; `results` the states of those that have
    finished; `paused_until_s` (Redis' own time) until when the server of its definition wants no requests, 0 where
    there is no such time.
    """

    actions: list[PlannedAction] | None
    results: dict[str, dict[str, Any]]
    plan_id: str
    is_cancelled: bool
    paused_until_s: float


def queue_outlook(
    pipe: Pipeline,
    backend: Any,
    execution_id: str,
    *,
    action_ids: Sequence[str],
    result_ids: Sequence[str],
    pause_key: str,
) -> None:
    """Ask in a pipeline what `parse_outlook` makes an Outlook of: two commands, and one more for each 1,000 results."""
    pipe.hmget(record_key(execution_id), "planId", "cancelRequestedAt", *(f"action:{name}" for name in action_ids))
    for batch in in_batches([pause_key, *_result_keys(backend, execution_id, result_ids)]):
        pipe.mget(batch)


def parse_outlook(backend: Any, result_ids: Sequence[str], replies: Sequence[Any]) -> Outlook:
    """Return what the answers to `queue_outlook` say."""
    (plan_id, cancel_requested_at, *raw_actions), *parts = replies
    paused_until, *raw_results = chain.from_iterable(parts)
    return Outlook(
        actions=[PlannedAction.model_validate_json(raw) for raw in raw_actions] if all(raw_actions) else None,
        results=_finished(backend, result_ids, raw_results),
        plan_id=(plan_id or b"").decode(),
        is_cancelled=cancel_requested_at is not None,
        paused_until_s=float(paused_until or 0),
    )


def _result_keys(backend: Any, execution_id: str, steps: Iterable[str]) -> list[Any]:
    return [backend.get_key_for_task(action_task_id(execution_id, step)) for step in steps]


def _finished(backend: Any, steps: Iterable[str], raw_results: Iterable[Any]) -> dict[str, dict[str, Any]]:
    decoded = ((step, backend.decode(raw)) for step, raw in zip(steps, raw_results, strict=True) if raw is not None)
    return {step: meta["result"] for step, meta in decoded if meta["status"] == states.SUCCESS}
