"""The record of an execution: its plan, action by action and level by level, and what is known of the whole.

It is one hash, `workflow_state:execution:<id>`, with these fields:

- `plan`, `inputs`, `action:<id>` and `level:<n>` (the ids of its actions). They never change. An action and a level are
  fields of their own, so that what one of them costs does not grow with the plan.
- `status`, `submittedAt`, `startedAt`, `completedAt`, `cancelRequestedAt`, `cancelRequestedBy`, `stoppedBy`,
  `expiresAt`, `resumed`.
- `definitions`: the ids and patterns of the definitions that it may use, where its submission named them.
- `currentLevel`, `wave`, `messageCount`, `nextMessage`, `begunCount` and `elementCount`: how far it has come
  (position.py).
- `stateBytes` and `storedBytes`: how large the results of its steps are, and their outputs in the storage.

Beside it stand the sorted sets of executions: `workflow_state:executions` has all of them by the time of submission in
ms, `…:failed` and `…:cancelled` those that ended like that.
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

from workflow_state.errors import ExecutionConflictError, SettingsError, WorkflowStateError
from workflow_state.plans.levels import schedule_levels
from workflow_state.rules.states import Progress, Record, parse_progress
from workflow_state.schema import (
    EXECUTION_ID_PATTERN,
    ErrorDetail,
    ExecutionPlan,
    ExecutionStatus,
    PlannedAction,
    ResumeReport,
)
from workflow_state.settings import get_settings
from workflow_state.store.alarms import alarm_of
from workflow_state.store.connection import NotSafeError, in_batches
from workflow_state.store.durability import run_registration
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.names import alarms_key, encryption_key, index_key
from workflow_state.store.sealing import (
    blind_digests,
    how_to_end_encryption,
    own_key_id,
    seal_record,
    seal_value,
    unseal_fields,
    unseal_value,
)


@dataclass(frozen=True, slots=True)
class FirstMessage:
    """What begins an execution: should it get lost, a worker publishes `message` (JSON) again.

    It is to begin after `delay_s`; where it has not by `expires_at`, it is cancelled.
    """

    message: str
    delay_s: float = 0
    expires_at: datetime | None = None


def register_execution(
    store: ExecutionStore,
    plan: ExecutionPlan,
    first: FirstMessage,
    *,
    resumed: ResumeReport | None = None,
    definitions: Sequence[str] | None = None,
    kept_bytes: int = 0,
) -> bool:
    """Store the plan under the execution's id, before its message is published; True where that is still to be done.

    `definitions` are the ids and patterns of the definitions that it may use, None for all.
    `kept_bytes` is how large the results are that it keeps of the execution which it resumes.

    Raises ExecutionConflictError where the id belongs to an execution of another plan or with other definitions, and
    NotSafeError where no replica has confirmed it in time: then it may be submitted again under the same id.
    """
    levels = schedule_levels(plan.actions)
    fields: dict[str, str] = {
        "digest": plan_digest(plan, definitions),
        "plan": _to_json(plan.model_dump(mode="json", exclude={"actions"})),
        "planId": str(plan.id),
        "name": plan.name,
        "status": ExecutionStatus.INITIALIZING,
        "submittedAt": datetime.now(UTC).isoformat(),
        "levels": str(len(levels)),
    }
    fields["nextMessage"] = first.message
    if first.expires_at:
        fields["expiresAt"] = first.expires_at.isoformat()
    if resumed:
        fields["resumed"] = _to_json(resumed.to_json_data())
        fields["stateBytes"] = str(kept_bytes)
    if definitions is not None:
        fields["definitions"] = _to_json(list(definitions))
    if plan.inputs:
        fields["inputs"] = _to_json(plan.inputs)
    for action in plan.actions:
        fields[f"action:{action.id}"] = _to_json(action.to_json_data())
    for number, level in enumerate(levels):
        fields[f"level:{number}"] = _to_json([action.id for action in level])
    answer = _register(store, fields, after_s=first.delay_s + get_settings().silence_before_recovery_s)
    return answer in (b"new", ExecutionStatus.INITIALIZING.encode())


def _register(store: ExecutionStore, fields: Mapping[str, str], *, after_s: float) -> Any:
    """Store the fields of a new record, and have a worker look at it after that time; return the script's answer."""
    keys = {"record": store.record, "index": index_key(), "alarms": alarms_key(), "encryption": encryption_key()}
    digests = blind_digests(store.execution_id, fields["digest"])
    stored = seal_record(store.execution_id, {**fields, "digest": digests[0]})
    arguments: dict[str, Any] = {
        "execution": store.execution_id,
        "digests": " ".join(digests),
        "key_id": own_key_id(),
        "submitted_ms": int(time.time() * 1000),
        "retention_s": store.retention_s,
        "alarm": alarm_of(store.execution_id),
        "first_look_s": after_s,
        "fields": [part for field in stored.items() for part in field],
    }
    try:
        answer = run_registration(store.client, "register_execution", keys, arguments)
    except NotSafeError as error:
        raise NotSafeError(
            f"execution {store.execution_id} was written, but a failover could still lose it: {error}. "
            "Submit the same plan again under the same id"
        ) from error
    if answer == b"unencrypted":
        raise SettingsError(
            "WORKFLOW_STATE_KEYS is not set here, but what is in this Redis is encrypted: set it to the keys that the "
            f"workers have; {how_to_end_encryption()}"
        )
    if answer == b"conflict":
        raise ExecutionConflictError(
            f"execution {store.execution_id!r} exists already, with a different plan or other definitions; "
            "submit this plan under another id"
        )
    return answer


def register_refusal(store: ExecutionStore, name: str, plan_id: str, at: datetime) -> None:
    """Note an execution whose plan can't be run, so that lists show it. Safe to repeat.

    Raises ExecutionConflictError where the id belongs to another execution.
    """
    now = at.isoformat()
    fields = {
        "digest": "refused",
        "plan": _to_json({"id": plan_id, "name": name}),
        "planId": plan_id,
        "name": name,
        "status": ExecutionStatus.FAILED,
        "submittedAt": now,
        "startedAt": now,
        "completedAt": now,
        "levels": "0",
    }
    _register(store, fields, after_s=0)


def require_execution_id(text: Any) -> str:
    """Return the id if it is one; WorkflowStateError otherwise."""
    if not isinstance(text, str) or not re.fullmatch(EXECUTION_ID_PATTERN, text):
        raise WorkflowStateError(f"execution id {text!r} is not 1 to 128 of the characters A-Z a-z 0-9 _ . : -")
    return text


def read_record(store: ExecutionStore) -> Record | None:
    """Return the execution's record, or None."""
    fields: Any = store.client.hgetall(store.record)
    return parse_record(store.execution_id, fields) if fields else None


def plan_digest(plan: ExecutionPlan, definitions: Sequence[str] | None = None) -> str:
    """Return what tells this plan, with what it may use, from others; a plan id that we made up is no part of it."""
    made_up = set() if "id" in plan.model_fields_set else {"id"}
    document = json.dumps(plan.model_dump(mode="json", exclude=made_up), sort_keys=True)
    if definitions is not None:
        document += json.dumps(sorted(definitions))
    return hashlib.sha256(document.encode()).hexdigest()


def read_actions(store: ExecutionStore, action_ids: Sequence[str]) -> list[PlannedAction]:
    """Return those of the actions that the record has: one round trip for each 1,000."""
    batches: Any = [
        store.client.hmget(store.record, [f"action:{name}" for name in batch]) for batch in in_batches(action_ids)
    ]
    read = zip(action_ids, chain.from_iterable(batches), strict=True)
    return [parse_action(store.execution_id, action_id, raw) for action_id, raw in read if raw]


def parse_action(execution_id: str, action_id: str, stored: bytes) -> PlannedAction:
    """Return an action from its field of the record."""
    return PlannedAction.model_validate_json(unseal_value(execution_id, "record", f"action:{action_id}", stored))


def read_inputs(store: ExecutionStore) -> dict[str, Any]:
    """Return the plan's inputs."""
    raw: Any = store.client.hget(store.record, "inputs")
    inputs: dict[str, Any] = json.loads(unseal_value(store.execution_id, "record", "inputs", raw)) if raw else {}
    return inputs


def request_cancel(store: ExecutionStore, user_id: str | None = None) -> bool:
    """Say that the execution is to end, and who said so first; False where there is no such one. Safe to repeat."""
    if not store.client.exists(store.record):
        return False
    with store.client.pipeline() as pipe:
        pipe.hsetnx(store.record, "cancelRequestedAt", datetime.now(UTC).isoformat())
        # Nobody's name as well: who asks a second time has not cancelled it.
        by = seal_value(store.execution_id, "record", "cancelRequestedBy", user_id or "")
        pipe.hsetnx(store.record, "cancelRequestedBy", by)
        pipe.execute()
    return True


def stop_execution(store: ExecutionStore, error: ErrorDetail) -> None:
    """Say that the execution can't go on, and why: no step begins any more, and it ends `failed`. Safe to repeat.

    The first reason stays. Steps under way end by themselves.
    """
    with store.client.pipeline() as pipe:
        told = seal_value(store.execution_id, "record", "stoppedBy", _to_json(error.to_json_data()))
        pipe.hsetnx(store.record, "stoppedBy", told)
        pipe.hsetnx(store.record, "cancelRequestedAt", datetime.now(UTC).isoformat())
        pipe.execute()


def is_cancelled(store: ExecutionStore) -> bool:
    """Return whether the execution was asked to end."""
    return bool(store.client.hexists(store.record, "cancelRequestedAt"))


def parse_record(execution_id: str, fields: Mapping[bytes, bytes]) -> Record:
    """Return the record from the hash's fields. Raises DecryptionError."""
    text = {name.decode(): value for name, value in unseal_fields(execution_id, "record", fields).items()}

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
        cancel_requested_by=optional("cancelRequestedBy") or None,
        stopped_by=ErrorDetail.model_validate_json(text["stoppedBy"]) if "stoppedBy" in text else None,
        resumed=json.loads(text["resumed"]) if "resumed" in text else None,
        definitions=json.loads(text["definitions"]) if "definitions" in text else None,
        state_bytes=int(text.get("stateBytes", b"0")),
    )


def read_progress(execution_id: str, fields: Mapping[bytes, bytes]) -> dict[str, Progress]:
    """Return what is under way, from the hash's fields. Raises DecryptionError."""
    return parse_progress(unseal_fields(execution_id, "progress", fields))


def _to_json(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))
