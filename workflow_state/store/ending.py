"""The end of an execution, and how long what is stored of it lives.

All of it lives for the retention time after its last change. What an execution needs is renewed as long as it lasts.
"""

from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.client import Pipeline

from workflow_state.rules.for_each import element_id
from workflow_state.rules.states import Progress, Record, parse_progress
from workflow_state.schema import ExecutionStatus
from workflow_state.store.connection import redis_client
from workflow_state.store.names import (
    INDEX_KEY,
    STATUSES_WITH_INDEX,
    action_task_id,
    index_key,
    level_group_id,
    progress_key,
    record_key,
)
from workflow_state.store.records import parse_record, read_record


def mark_end(client: Redis, execution_id: str) -> tuple[Record | None, dict[str, Progress]]:
    """Say that the execution ends now, unless an earlier call has; return its record and its progress."""
    with client.pipeline() as pipe:
        pipe.hget(record_key(execution_id), "status")
        pipe.hsetnx(record_key(execution_id), "completedAt", datetime.now(UTC).isoformat())
        pipe.hgetall(record_key(execution_id))
        pipe.hgetall(progress_key(execution_id))
        status, _, fields, progress = pipe.execute()
        if status is None:
            # What is not there any more must not come back, as a key without an end.
            client.delete(record_key(execution_id))
            return None, {}
    return parse_record(execution_id, fields), parse_progress(progress)


def end_execution(client: Redis, record: Record, status: ExecutionStatus, retention_s: int) -> None:
    """Write how the execution ended into its record, for lists; all of it lives for the retention time from now on."""
    execution_id = record.execution_id
    with client.pipeline(transaction=False) as pipe:
        pipe.hset(record_key(execution_id), "status", status)
        if status in STATUSES_WITH_INDEX:
            submitted_ms = datetime.fromisoformat(record.submitted_at).timestamp() * 1000
            pipe.zadd(index_key(status), {execution_id: submitted_ms})
            pipe.zremrangebyscore(index_key(status), "-inf", submitted_ms - retention_s * 1000)
            pipe.expire(index_key(status), retention_s)
        _queue_expiry(pipe, execution_id, retention_s)
        pipe.execute()


def keep_execution(client: Redis, execution_id: str, retention_s: int) -> None:
    """Let the execution's keys live for the retention time from now on."""
    with client.pipeline(transaction=False) as pipe:
        _queue_expiry(pipe, execution_id, retention_s)
        pipe.execute()


def _queue_expiry(pipe: Pipeline, execution_id: str, retention_s: int) -> None:
    for key in (record_key(execution_id), progress_key(execution_id), INDEX_KEY):
        pipe.expire(key, retention_s)


def keep_execution_and_results(backend: Any, execution_id: str, retention_s: int) -> None:
    """Let all that is stored of the execution live on: results and unfinished chords as well."""
    client = redis_client(backend)
    keep_execution(client, execution_id, retention_s)
    record = read_record(client, execution_id)
    if record is None:
        return
    names = [action.id for action in record.actions] + _elements_of(client, record)
    tasks = [execution_id, *(action_task_id(execution_id, name) for name in names)]
    keys = [backend.get_key_for_task(task_id) for task_id in tasks]
    groups = [level_group_id(execution_id, number) for number in range(len(record.levels))]
    # Which of a level's actions were counted (result_backend.py).
    keys += [backend.get_key_for_group(group_id, ".d") for group_id in groups]
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.expire(key, retention_s)
        pipe.execute()


def _elements_of(client: Redis, record: Record) -> list[str]:
    """Return the names of the elements that have begun, or were kept when the execution was resumed."""
    begun: Any = client.hkeys(progress_key(record.execution_id))
    reports: dict[str, Any] = (record.resumed or {}).get("actions", {})
    kept = [
        element_id(name, element["index"])
        for name, report in reports.items()
        for element in report.get("elements") or []
        if element["kept"]
    ]
    return [name.decode() for name in begun if name.endswith(b"]")] + kept
