"""What Redis keeps of an execution beside Celery's own results.

| key | type | what |
|---|---|---|
| `workflow_state:execution:<id>` | hash | the plan, `action:<id>`, `level:<n>` → their ids, times, status, \
`started`, `parts` and `next` (see Standing) |
| `workflow_state:progress:<id>` | hash | the claim and trace of each action that has started (delivery.py) |
| `workflow_state:executions` | sorted set | id → time of submission in ms; `…:failed` and `…:cancelled` those alone |

Results of actions, and the final state under the execution's own id, are Celery's. All live for the retention time
after their last change. A level is a field of its own, so that starting one costs the same however long the plan is.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from redis import Redis
from redis.client import Pipeline

from workflow_state.errors import ExecutionConflictError, WorkflowStateError
from workflow_state.plans.levels import schedule_levels
from workflow_state.rules.for_each import element_id
from workflow_state.rules.states import Progress, Record, parse_progress
from workflow_state.schema import EXECUTION_ID_PATTERN, ExecutionPlan, ExecutionStatus, PlannedAction, ResumeReport
from workflow_state.settings import Settings
from workflow_state.store.alarms import alarm_of
from workflow_state.store.connection import in_parts, redis_client
from workflow_state.store.names import (
    ALARMS_KEY,
    INDEX_KEY,
    STATUSES_WITH_INDEX,
    action_task_id,
    index_key,
    level_group_id,
    progress_key,
    record_key,
)
from workflow_state.store.scripts import run_script


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an execution has come.

    `started` is the level whose messages were published last, -1 before the first; `stage` is 2 where they were those
    of alternatives for lists of which an element failed. `parts` is how many they were, and `next` the message (JSON)
    that goes on when all of them have ended. `before` are the actions of the level before the one that was asked for,
    `upcoming` its own; both are empty where there are none.
    """

    started: int
    stage: int
    parts: int
    next: str | None
    is_cancelled: bool = False
    expires_at: datetime | None = None
    before: Sequence[PlannedAction] = ()
    upcoming: Sequence[PlannedAction] = ()


@dataclass(frozen=True, slots=True)
class FirstMessage:
    """What begins an execution: should it get lost, a worker publishes `message` (JSON) again.

    It is to begin after `delay_s`; where it has not by `expires_at`, it is cancelled.
    """

    message: str
    delay_s: float = 0
    expires_at: datetime | None = None


def register_execution(
    client: Redis,
    execution_id: str,
    plan: ExecutionPlan,
    first: FirstMessage,
    *,
    settings: Settings,
    resumed: ResumeReport | None = None,
) -> bool:
    """Store the plan under the execution's id, before its message is published; True where that is still to be done.

    Raises ExecutionConflictError where the id belongs to an execution of another plan.
    """
    levels = schedule_levels(plan.actions)
    fields: dict[str, str] = {
        "digest": plan_digest(plan),
        "plan": _to_json(plan.model_dump(mode="json", exclude={"actions"})),
        "planId": str(plan.id),
        "name": plan.name,
        "status": ExecutionStatus.INITIALIZING,
        "submittedAt": datetime.now(UTC).isoformat(),
        "levels": str(len(levels)),
    }
    fields["next"] = first.message
    if first.expires_at:
        fields["expiresAt"] = first.expires_at.isoformat()
    if resumed:
        fields["resumed"] = _to_json(resumed.to_json_data())
    if plan.inputs:
        fields["inputs"] = _to_json(plan.inputs)
    for action in plan.actions:
        fields[f"action:{action.id}"] = _to_json(action.to_json_data())
    for number, level in enumerate(levels):
        fields[f"level:{number}"] = _to_json([action.id for action in level])
    answer: Any = run_script(
        client,
        "register_execution",
        {"record": record_key(execution_id), "index": INDEX_KEY, "alarms": ALARMS_KEY},
        {
            "execution": execution_id,
            "digest": fields["digest"],
            "submitted_ms": int(time.time() * 1000),
            "retention_s": settings.retention_s,
            "alarm": alarm_of(execution_id),
            "first_look_s": first.delay_s + settings.quiet_s,
            "fields": [part for field in fields.items() for part in field],
        },
    )
    if answer == b"conflict":
        raise ExecutionConflictError(
            f"execution {execution_id!r} exists already, with a different plan; submit this plan under another id"
        )
    return answer in (b"new", ExecutionStatus.INITIALIZING.encode())


def require_execution_id(text: str) -> str:
    """Return the id if it is one; WorkflowStateError otherwise."""
    if not re.fullmatch(EXECUTION_ID_PATTERN, text):
        raise WorkflowStateError(f"execution id {text!r} is not 1 to 128 of the characters A-Z a-z 0-9 _ . : -")
    return text


def read_record(client: Redis, execution_id: str) -> Record | None:
    """Return the execution's record, or None."""
    fields: Any = client.hgetall(record_key(execution_id))
    return parse_record(execution_id, fields) if fields else None


def plan_digest(plan: ExecutionPlan) -> str:
    """Return what tells this plan from others; a plan id that we made up is no part of it."""
    made_up = set() if "id" in plan.model_fields_set else {"id"}
    document = json.dumps(plan.model_dump(mode="json", exclude=made_up), sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()


def read_actions(client: Redis, execution_id: str, action_ids: Sequence[str]) -> list[PlannedAction]:
    """Return those of the actions that the record has: one round trip for each 1,000."""
    key = record_key(execution_id)
    parts: Any = [client.hmget(key, [f"action:{name}" for name in part]) for part in in_parts(action_ids)]
    return [PlannedAction.model_validate_json(raw) for raw in chain.from_iterable(parts) if raw]


def read_inputs(client: Redis, execution_id: str) -> dict[str, Any]:
    """Return the plan's inputs."""
    raw: Any = client.hget(record_key(execution_id), "inputs")
    inputs: dict[str, Any] = json.loads(raw) if raw else {}
    return inputs


def begin_execution(client: Redis, execution_id: str) -> bool:
    """Say that the execution has begun; False where there is no record of it. Safe to repeat."""
    record, now = record_key(execution_id), datetime.now(UTC).isoformat()
    return bool(run_script(client, "begin_execution", {"record": record}, {"now": now}))


def read_standing(client: Redis, execution_id: str, level: int) -> Standing | None:
    """Return how far the execution has come, for that level (from 0); None where there is no record of it."""
    names = ("status", "started", "stage", "parts", "next", "cancelRequestedAt", "expiresAt")
    fields: Any = client.hmget(record_key(execution_id), *names, f"level:{level - 1}", f"level:{level}")
    status, started, stage, parts, message, cancel_requested_at, expires_at, raw_before, raw_upcoming = fields
    if status is None:
        return None
    before, upcoming = (json.loads(raw) if raw else [] for raw in (raw_before, raw_upcoming))
    actions = {action.id: action for action in read_actions(client, execution_id, [*before, *upcoming])}
    return Standing(
        started=int(started) if started is not None else -1,
        stage=int(stage or 1),
        parts=int(parts or 0),
        next=message.decode() if message else None,
        is_cancelled=cancel_requested_at is not None,
        expires_at=datetime.fromisoformat(expires_at.decode()) if expires_at else None,
        before=[actions[name] for name in before],
        upcoming=[actions[name] for name in upcoming],
    )


def begin_level(client: Redis, execution_id: str, standing: Standing, retention_s: int) -> None:
    """Say, before they are published, that a level's messages are, and what goes on after them. Safe to repeat."""
    run_script(
        client,
        "begin_level",
        {"record": record_key(execution_id), "progress": progress_key(execution_id)},
        {
            "level": standing.started,
            "stage": standing.stage,
            "parts": standing.parts,
            "next": standing.next or "",
            "retention_s": retention_s,
        },
    )


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
    reports: Mapping[str, Any] = (record.resumed or {}).get("actions", {})
    kept = [
        element_id(name, element["index"])
        for name, report in reports.items()
        for element in report.get("elements") or []
        if element["kept"]
    ]
    return [name.decode() for name in begun if name.endswith(b"]")] + kept


def request_cancel(client: Redis, execution_id: str) -> bool:
    """Say that the execution is to end; False where there is no such execution. Safe to repeat."""
    key = record_key(execution_id)
    if not client.exists(key):
        return False
    client.hsetnx(key, "cancelRequestedAt", datetime.now(UTC).isoformat())
    return True


def is_cancelled(client: Redis, execution_id: str) -> bool:
    """Return whether the execution was asked to end."""
    return bool(client.hexists(record_key(execution_id), "cancelRequestedAt"))


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


def parse_record(execution_id: str, fields: Mapping[bytes, bytes]) -> Record:
    """Return the record from the hash's fields."""
    text = {name.decode(): value for name, value in fields.items()}

    def optional(name: str) -> str | None:
        return text[name].decode() if name in text else None

    actions = {
        name.removeprefix("action:"): PlannedAction.model_validate_json(value)
        for name, value in text.items()
        if name.startswith("action:")
    }
    # What is left over when the levels have theirs is on standby.
    levels = [
        [actions.pop(name) for name in json.loads(text[f"level:{number}"])] for number in range(int(text["levels"]))
    ]
    return Record(
        execution_id=execution_id,
        plan=json.loads(text["plan"]),
        levels=levels,
        standby=list(actions.values()),
        status=ExecutionStatus(text["status"].decode()),
        submitted_at=text["submittedAt"].decode(),
        started_at=optional("startedAt"),
        completed_at=optional("completedAt"),
        cancel_requested_at=optional("cancelRequestedAt"),
        resumed=json.loads(text["resumed"]) if "resumed" in text else None,
    )


def _to_json(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))
