"""The end of an execution, and how long what is stored of it lives.

All of it lives for the retention time after its last change. What an execution needs is renewed as long as it lasts.
"""

from datetime import UTC, datetime
from typing import Any

from redis.client import Pipeline

from workflow_state.rules.for_each import element_id
from workflow_state.rules.states import Progress, Record
from workflow_state.schema import ExecutionStatus
from workflow_state.store.claims import find_whereabouts
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.names import (
    STATUSES_WITH_INDEX,
    index_key,
    level_group_id,
)
from workflow_state.store.records import parse_record, read_progress, read_record
from workflow_state.store.results import read_results


def mark_end(store: ExecutionStore) -> tuple[Record | None, dict[str, Progress]]:
    """Say that the execution ends now, unless an earlier call has; return its record and its progress."""
    with store.client.pipeline() as pipe:
        pipe.hget(store.record, "status")
        pipe.hsetnx(store.record, "completedAt", datetime.now(UTC).isoformat())
        pipe.hgetall(store.record)
        pipe.hgetall(store.progress)
        status, _, fields, progress = pipe.execute()
        if status is None:
            # What is not there any more must not come back, as a key without an end.
            store.client.delete(store.record)
            return None, {}
    return parse_record(store.execution_id, fields), read_progress(store.execution_id, progress)


def has_steps_under_way(store: ExecutionStore) -> bool:
    """Return whether a living process is at work on a step that has no result yet. Three round trips for each 1,000."""
    begun: Any = store.client.hkeys(store.progress)
    steps = [name.decode() for name in begun if b":" not in name]
    running = [step for step, where in find_whereabouts(store, steps).items() if where == "running"]
    return len(read_results(store, running)) < len(running)


def end_execution(store: ExecutionStore, status: ExecutionStatus, *, submitted_at: str) -> None:
    """Write how the execution ended into its record, for lists; all of it lives for the retention time from now on."""
    with store.client.pipeline(transaction=False) as pipe:
        pipe.hset(store.record, "status", status)
        if status in STATUSES_WITH_INDEX:
            submitted_ms = datetime.fromisoformat(submitted_at).timestamp() * 1000
            pipe.zadd(index_key(status), {store.execution_id: submitted_ms})
            pipe.zremrangebyscore(index_key(status), "-inf", submitted_ms - store.retention_s * 1000)
            pipe.expire(index_key(status), store.retention_s)
        _queue_expiry(pipe, store)
        pipe.execute()


def keep_execution(store: ExecutionStore) -> None:
    """Let the execution's keys live for the retention time from now on."""
    with store.client.pipeline(transaction=False) as pipe:
        _queue_expiry(pipe, store)
        pipe.execute()


def _queue_expiry(pipe: Pipeline, store: ExecutionStore) -> None:
    for key in (store.record, store.progress, index_key()):
        pipe.expire(key, store.retention_s)


def keep_execution_and_results(store: ExecutionStore) -> None:
    """Let all that is stored of the execution live on: results and unfinished chords as well.

    Raises DecryptionError. Nothing lives on then: what no process can decrypt any more expires.
    """
    record = read_record(store)
    keep_execution(store)
    if record is None:
        return
    names = [action.id for action in record.actions] + _elements_of(store, record)
    keys = [store.backend.get_key_for_task(store.execution_id), *(store.result(name) for name in names)]
    groups = [level_group_id(store.execution_id, number) for number in range(len(record.levels))]
    # Which of a level's actions were counted (result_backend.py).
    keys += [store.backend.get_key_for_group(group_id, ".d") for group_id in groups]
    with store.client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.expire(key, store.retention_s)
        pipe.execute()


def _elements_of(store: ExecutionStore, record: Record) -> list[str]:
    """Return the names of the elements that have begun, or were kept when the execution was resumed."""
    begun: Any = store.client.hkeys(store.progress)
    reports: dict[str, Any] = (record.resumed or {}).get("actions", {})
    kept = [
        element_id(name, element["index"])
        for name, report in reports.items()
        for element in report.get("elements") or []
        if element["kept"]
    ]
    return [name.decode() for name in begun if name.endswith(b"]")] + kept
