"""Executions, from outside: the state of one, the list of all, confirming and cancelling."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from redis import Redis

from workflow_state.celery import app
from workflow_state.engine.cancelling import cancel
from workflow_state.engine.presence import START_A_WORKER, is_worker_there
from workflow_state.engine.reading import may_be_an_id, read_execution_state
from workflow_state.engine.waiting import publish_message
from workflow_state.errors import ConfirmationError
from workflow_state.rules.confirmations import confirmation_states
from workflow_state.rules.states import ENDED
from workflow_state.schema import ConfirmationState, ExecutionPlan, ExecutionState, ExecutionStatus, ExecutionSummary
from workflow_state.store.alarms import read_alarmed
from workflow_state.store.connection import broker_errors, redis_client
from workflow_state.store.execution import open_store
from workflow_state.store.names import index_key, record_key
from workflow_state.store.records import is_cancelled, read_actions, read_record
from workflow_state.store.sealing import unseal_name
from workflow_state.store.waiting import read_asks, release

_LISTED_AT_ONCE = 100
_WORKER_ANSWERS_WITHIN_S = 1.5
_MOST_ELEMENTS_TOLD = 5
_SUMMARY_FIELDS = ("planId", "name", "status", "submittedAt", "startedAt", "completedAt")


@broker_errors()
def get_execution_state(execution_id: str) -> ExecutionState:
    """Return the state of an execution as it is now, running or ended, in one or two Redis round trips.

    Raises ExecutionNotFoundError for an unknown id, or one whose retention has passed, and MissingKeyError where this
    process does not have the key that it is encrypted by.
    """
    return read_execution_state(app, execution_id)


@broker_errors()
def find_missing_worker(execution_id: str) -> str | None:
    """Return what to tell a person where no worker answers, and nothing happens meanwhile; None where one does.

    Takes 1.5 s where none answers. A worker that is slow to answer may have begun the execution all the same.
    """
    before = get_execution_state(execution_id)
    if before.status in ENDED or is_worker_there(app, within_s=_WORKER_ANSWERS_WITHIN_S):
        return None
    if get_execution_state(execution_id).version != before.version:
        return None
    return f"no worker answers; {START_A_WORKER}"


@broker_errors()
def exists(execution_id: str) -> bool:
    """Return whether there is such an execution, running or ended, without reading its state. One round trip."""
    if not may_be_an_id(execution_id):
        return False
    backend: Any = app.backend
    return bool(redis_client(backend).exists(record_key(execution_id), backend.get_key_for_task(execution_id)))


@broker_errors()
def read_plan(execution_id: str) -> ExecutionPlan | None:
    """Return the plan that an execution was started with, or None where it is not stored (any more). One round trip.

    For who draws an execution: its actions come level by level, and the alternatives after them.
    """
    record = read_record(open_store(app.backend, execution_id))
    return None if record is None else ExecutionPlan.model_validate({**record.plan, "actions": record.actions})


@broker_errors()
def read_summary(execution_id: str) -> ExecutionSummary | None:
    """Return the line of a list of executions that is about this one, or None where there is no such execution."""
    client = redis_client(app.backend)
    return next(iter(_read_summaries(client, [execution_id], read_alarmed(client))), None)


@broker_errors()
def is_cancel_requested(execution_id: str) -> bool:
    """Return whether an execution was asked to end; it may go on for as long as its requests under way take."""
    return is_cancelled(open_store(app.backend, execution_id))


@broker_errors()
def list_executions(limit: int = 20, status: ExecutionStatus | str | None = None) -> list[ExecutionSummary]:
    """Return the newest executions first, at most `limit` of them, of one status if given.

    Raises ValueError for a status that there is not.
    """
    wanted = ExecutionStatus(status) if status is not None else None
    client = redis_client(app.backend)
    # Each of those that have not ended is there, and no other.
    waits = read_alarmed(client)
    if wanted is not None and wanted not in ENDED:
        summaries = _read_summaries(client, list(waits), waits)
        newest_first = sorted(summaries, key=lambda summary: summary.submitted_at, reverse=True)
        return [summary for summary in newest_first if summary.status is wanted][:limit]
    found: list[ExecutionSummary] = []
    start = 0
    while len(found) < limit:
        ids: Any = client.zrevrange(index_key(wanted), start, start + _LISTED_AT_ONCE - 1)
        if not ids:
            break
        summaries = _read_summaries(client, [raw.decode() for raw in ids], waits)
        found += [summary for summary in summaries if wanted is None or summary.status is wanted]
        start += _LISTED_AT_ONCE
    return found[:limit]


def _read_summaries(client: Redis, execution_ids: list[str], waits: Mapping[str, bool]) -> list[ExecutionSummary]:
    with client.pipeline(transaction=False) as pipe:
        for execution_id in execution_ids:
            pipe.hmget(record_key(execution_id), *_SUMMARY_FIELDS)
        rows = pipe.execute()
    summaries = [
        ExecutionSummary.model_validate(
            {"id": execution_id}
            | {
                name: (unseal_name(execution_id, raw) if name == "name" else raw).decode()
                for name, raw in zip(_SUMMARY_FIELDS, row, strict=True)
                if raw is not None
            }
        )
        for execution_id, row in zip(execution_ids, rows, strict=True)
        if row[0] is not None
    ]
    for summary in summaries:
        if summary.status is ExecutionStatus.RUNNING and waits.get(summary.id):
            summary.status = ExecutionStatus.PAUSED_FOR_CONFIRMATION
    return summaries


@broker_errors()
def cancel_execution(execution_id: str, user_id: str | None = None) -> ExecutionState:
    """Ask an execution to end, and return its state as it is now; it may be called twice, or after the end.

    `user_id` says who asks, for the state's `cancelledBy`: the first one counts.

    No further action starts, a request under way ends by itself, and what waits, for an answer or for its next attempt,
    ends at once. The wish is stored: it holds through a restart of every worker. Raises ExecutionNotFoundError.
    """
    state = get_execution_state(execution_id)
    if state.status not in ENDED:
        cancel(app, open_store(app.backend, execution_id), user_id)
    return state


@broker_errors()
def confirm_action(
    execution_id: str,
    action_id: str,
    confirmed: bool = True,  # noqa: FBT001, FBT002 - the contract's own signature
    user_id: str | None = None,
    *,
    digest: str | None = None,
) -> ConfirmationState:
    """Answer an action's confirmation, and let it go on; a rejected action fails with `user_cancelled`.

    `digest` is that of the question which the person saw, as `get_execution_state` and the run page have it. The answer
    counts for that request only, and an answer without a digest is refused. Raises ExecutionNotFoundError, and
    ConfirmationError where nothing waits there, where it was answered already or is too late, where the question has
    changed, and where the digest is missing.
    """
    state = get_execution_state(execution_id)
    name = action_id.partition("[")[0]
    if name not in state.action_states:
        raise ConfirmationError(f"execution {execution_id} has no action {action_id!r}")
    store = open_store(app.backend, execution_id)
    answer = {"respondedAt": datetime.now(UTC).isoformat(), "confirmed": confirmed}
    if user_id is not None:
        answer["userId"] = user_id
    outcome = release(store, action_id, how="answer", answer=answer, digest=digest)
    asked = read_asks(store, action_id)
    if outcome != "released":
        if elements := _waiting_elements(state, action_id):
            raise ConfirmationError(f"{action_id} is a list, of which each element is answered by itself: {elements}")
        raise ConfirmationError(_why_not(outcome, action_id, asked[-1] if asked else {}))
    publish_message(app, store, action_id)
    return confirmation_states({action_id: asked[-1:]}, read_actions(store, [name]))[-1]


def _waiting_elements(state: ExecutionState, action_id: str) -> str:
    """Return the elements of the action's list that wait for an answer, the first ones if they are many."""
    waiting = [item.action_id for item in state.confirmations if item.confirmed is None]
    elements = [name for name in waiting if name.startswith(f"{action_id}[")]
    elements.sort(key=lambda name: int(name.partition("[")[2].rstrip("]")))
    more = len(elements) - _MOST_ELEMENTS_TOLD
    return ", ".join(elements[:_MOST_ELEMENTS_TOLD]) + (f" and {more} more" if more > 0 else "")


def _why_not(outcome: str, action_id: str, ask: Mapping[str, Any]) -> str:
    if outcome == "answered":
        verb = (
            "was not answered in time"
            if ask.get("timedOut")
            else "was confirmed"
            if ask.get("confirmed")
            else "was rejected"
        )
        by = f" by {ask['userId']}" if ask.get("userId") else ""
        return f"{action_id} {verb}{by} already, at {ask.get('respondedAt')}; nothing has changed"
    if outcome == "changed":
        return f"what {action_id} would send has changed since; look at it again"
    if outcome == "unbound":
        return (
            f"an answer to {action_id} needs the digest of the question that was seen: it is in the state's "
            "confirmations; nothing has changed"
        )
    if outcome == "expired":
        return f"the time for an answer to {action_id} is over"
    return f"{action_id} does not wait for an answer"
