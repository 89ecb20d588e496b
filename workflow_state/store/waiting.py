"""Steps that wait for a person's answer.

Such a step holds no worker, no thread and no message. Its claim says `waiting`. The message that will go on with it is
stored beside the claim: Celery's own signature, with the step's place in its chord. An answer, the end of the waiting
time or a cancellation releases the claim in one atomic step; then that message is published.

The same step sets an alarm (alarms.py), so that a step is not forgotten whose worker dies between the two.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from redis import Redis

from workflow_state.rules.confirmations import parse_asks, template_field
from workflow_state.rules.packing import pack, unpack
from workflow_state.settings import get_settings
from workflow_state.store.claims import Claim
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.names import alarms_key, progress_key
from workflow_state.store.scripts import run_script
from workflow_state.store.sealing import blind_digests, seal_value, unseal_value

# A worker that dies between a release and its message leaves this alarm.
_UNPUBLISHED_AFTER_S = 5

Answer = Literal["released", "nothing", "answered", "changed", "unbound", "expired"]


def park(
    client: Redis,
    claim: Claim,
    *,
    asks: Sequence[Mapping[str, Any]],
    timeout_s: float | None,
    message: str,
    retention_s: int,
) -> None:
    """Let the claimed step wait for an answer to the last of `asks`, for ever or for `timeout_s`.

    `message` (JSON) is published when it is released. An element's question and message are stored as what differs from
    those of the first element of its list (packing.py).
    """
    text = json.dumps(list(asks), separators=(",", ":"), ensure_ascii=False)
    field = template_field(claim.step)
    stored: Any = client.hget(progress_key(claim.execution_id), field) if field else None
    like = unseal_value(claim.execution_id, "progress", field, stored) if field and stored else None
    run_script(
        client,
        "park",
        {"progress": progress_key(claim.execution_id), "alarms": alarms_key()},
        {
            "execution": claim.execution_id,
            "step": claim.step,
            "holder": claim.holder,
            "asks": seal_value(claim.execution_id, "progress", f"{claim.step}:asks", pack(text, like)),
            "asks_count": len(asks),
            "digest": blind_digests(claim.execution_id, asks[-1]["digest"])[0],
            "timeout_s": timeout_s,
            "message": pack(message, like),
            "template_field": None if like else field,
            "template": seal_value(claim.execution_id, "progress", field, text + message)
            if field and not like
            else None,
            "look_after_s": retention_s / 2,
            "retention_s": retention_s,
        },
    )


def release(
    store: ExecutionStore,
    step: str,
    *,
    how: Literal["answer", "timeout", "cancel"],
    answer: Mapping[str, Any] | None = None,
    digest: str | None = None,
) -> Answer:
    """End a step's waiting, if it waits; where that returns `released`, `publish_message` must follow.

    `answer` is stored unless the execution was cancelled. It holds only for the request that has this `digest`.
    Otherwise it returns why nothing was released: `nothing` waits, it was `answered` before, its request has `changed`,
    the answer has no digest (`unbound`), or its time has `expired`.
    """
    came: Any = run_script(
        store.client,
        "release",
        {"progress": store.progress, "alarms": alarms_key()},
        {
            "execution": store.execution_id,
            "step": step,
            "how": how,
            "answer": seal_value(store.execution_id, "progress", f"{step}:answer:", json.dumps(answer)),
            "digests": blind_digests(store.execution_id, digest) if digest else [],
            "unpublished_after_s": _UNPUBLISHED_AFTER_S,
            "silence_s": get_settings().silence_before_recovery_s,
            "retention_s": store.retention_s,
        },
    )
    outcome: Answer = came.decode()
    return outcome


def read_asks(store: ExecutionStore, step: str) -> list[dict[str, Any]]:
    """Return a step's questions in the order of asking, each with the answer to it, if there is one."""
    names = [f"{step}:asks", *filter(None, [template_field(step)])]
    fields = _read_fields(store, names)
    if not fields[f"{step}:asks"]:
        return []
    answers = [f"{step}:answer:{number}" for number in range(1, len(parse_asks(fields, step)) + 1)]
    return parse_asks(fields | _read_fields(store, answers), step)


def read_asked_bytes(store: ExecutionStore) -> int:
    """Return how many bytes the execution's questions have taken so far."""
    raw: Any = store.client.hget(store.progress, ":askedBytes")
    return int(raw or 0)


def read_message(store: ExecutionStore, step: str) -> dict[str, Any] | None:
    """Return the message that goes on with a step, a signature's fields; None where there is none."""
    field = template_field(step)
    fields = _read_fields(store, [f"{step}:message", *filter(None, [field])])
    stored = fields[f"{step}:message"]
    if not stored:
        return None
    message: dict[str, Any] = json.loads(unpack(stored, fields.get(field or "")))
    return message


def _read_fields(store: ExecutionStore, names: Sequence[str]) -> dict[str, Any]:
    values: Any = store.client.hmget(store.progress, list(names))
    read = zip(names, values, strict=True)
    return {name: unseal_value(store.execution_id, "progress", name, value) if value else value for name, value in read}
