"""Reading executions: the state of one, and the list of all."""

import json
from collections.abc import Mapping
from typing import Any

from celery import states
from redis import Redis

from workflow_state.celery import app
from workflow_state.delivery import progress_key
from workflow_state.errors import ExecutionNotFoundError
from workflow_state.records import (
    INDEX_KEY,
    parse_record,
    read_results,
    record_key,
    redis_client,
)
from workflow_state.schema import ExecutionState, ExecutionStatus, ExecutionSummary
from workflow_state.states import Progress, running_state

_LISTED_AT_ONCE = 100
_SUMMARY_FIELDS = ("planId", "name", "status", "submittedAt", "startedAt", "completedAt")


def get_execution_state(execution_id: str) -> ExecutionState:
    """Return the state of an execution as it is now, running or ended, in one or two Redis round trips.

    Raises ExecutionNotFoundError for an unknown id, or one whose retention has passed.
    """
    backend: Any = app.backend
    client = redis_client(backend)
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(record_key(execution_id))
        pipe.hgetall(progress_key(execution_id))
        pipe.get(backend.get_key_for_task(execution_id))
        fields, progress, raw_meta = pipe.execute()
    if raw_meta is not None and (meta := backend.decode(raw_meta))["status"] == states.SUCCESS:
        return ExecutionState.model_validate(meta["result"])
    if not fields:
        raise ExecutionNotFoundError(
            f"there is no execution {execution_id!r}: the id is wrong, or it ended longer ago than states are kept"
        )
    record = parse_record(execution_id, fields)
    results = read_results(backend, execution_id, (action.id for action in record.actions))
    return running_state(record, results, _parse_progress(progress))


def list_executions(limit: int = 20, status: ExecutionStatus | str | None = None) -> list[ExecutionSummary]:
    """Return the newest executions first, at most `limit` of them, of one status if given.

    Raises ValueError for a status that there is not.
    """
    wanted = ExecutionStatus(status) if status is not None else None
    client = redis_client(app.backend)
    found: list[ExecutionSummary] = []
    start = 0
    while len(found) < limit:
        ids: Any = client.zrevrange(INDEX_KEY, start, start + _LISTED_AT_ONCE - 1)
        if not ids:
            break
        summaries = _read_summaries(client, [raw.decode() for raw in ids])
        found += [summary for summary in summaries if wanted is None or summary.status is wanted]
        start += _LISTED_AT_ONCE
    return found[:limit]


def _read_summaries(client: Redis, execution_ids: list[str]) -> list[ExecutionSummary]:
    with client.pipeline(transaction=False) as pipe:
        for execution_id in execution_ids:
            pipe.hmget(record_key(execution_id), *_SUMMARY_FIELDS)
        rows = pipe.execute()
    return [
        ExecutionSummary.model_validate(
            {"id": execution_id}
            | {name: raw.decode() for name, raw in zip(_SUMMARY_FIELDS, row, strict=True) if raw is not None}
        )
        for execution_id, row in zip(execution_ids, rows, strict=True)
        if row[0] is not None
    ]


def _parse_progress(fields: Mapping[bytes, bytes]) -> dict[str, Progress]:
    text = {name.decode(): value for name, value in fields.items()}
    return {
        name: Progress(json.loads(value), json.loads(text.get(f"{name}:trace", b"[]")))
        for name, value in text.items()
        if ":" not in name
    }
