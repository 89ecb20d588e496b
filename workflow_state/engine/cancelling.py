"""Cancelling an execution: the wish is stored, and whatever waits goes on at once, to its end.

Celery's own `revoke` tells the workers that run now to drop a message, which would leave its level waiting for ever. So
our workers take it for what is meant: whoever revokes an execution, or an action of one, cancels the execution. Where
that is said by a stamp, each execution that has it is cancelled once a worker has a message of it.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery
from celery.utils.functional import maybe_list
from celery.worker import state as worker_state
from celery.worker.control import Panel

from workflow_state.engine.waiting import wake_all
from workflow_state.store.alarms import set_alarm
from workflow_state.store.connection import CONNECTION_ERRORS
from workflow_state.store.execution import ExecutionStore, open_store
from workflow_state.store.names import TASK_PREFIX, execution_of_task
from workflow_state.store.records import request_cancel

logger = logging.getLogger(__name__)

_VERBS = ("revoke", "terminate")
_BY_STAMPS = "revoke_by_stamped_headers"


def cancel(app: Celery, store: ExecutionStore, user_id: str | None = None) -> bool:
    """Store that the execution is to end and who says so, and let what waits go on; False where there is no such one.

    Safe to repeat, also after the end.
    """
    if not request_cancel(store, user_id):
        return False
    # Whoever dies in the middle of waking leaves the alarm, and a worker goes on with it.
    set_alarm(store)
    wake_all(app, store)
    return True


def take_over_revoke(app: Celery) -> None:
    """Have this worker cancel the execution where Celery would revoke a task of ours: Flower's button does."""
    for verb in _VERBS:
        Panel.data[verb] = _cancelling(app, verb, Panel.data[verb])
    Panel.data[_BY_STAMPS] = _cancelling_by_stamps(app, Panel.data[_BY_STAMPS])


def cancel_where_stamp_is_revoked(app: Celery, headers: dict[str, Any]) -> None:
    """Cancel the execution of a message of ours whose stamp was revoked.

    The stamps are taken off these headers: Celery would drop the message, which goes on to the execution's end. Raises
    a connection error where Redis can't be reached.
    """
    if not _has_revoked_stamp(headers.get("stamps") or {}):
        return
    task_id = headers["id"]
    if cancel(app, open_store(app.backend, execution_of_task(task_id))):
        logger.info("A stamp of task %s was revoked: its execution is cancelled", task_id)
    for name in ("stamps", "stamped_headers"):
        headers.pop(name, None)


def _has_revoked_stamp(stamps: Mapping[str, Any]) -> bool:
    revoked: Mapping[str, Any] = worker_state.revoked_stamps
    return any(
        stamp in (maybe_list(revoked[name]) or [])
        for name in stamps
        if name in revoked
        for stamp in maybe_list(stamps[name]) or []
    )


def _cancelling(app: Celery, verb: str, celerys_own: Callable[..., Any]) -> Callable[..., Any]:
    def control(state: Any, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        others = [name for name in maybe_list(task_id) or [] if not _cancel_by_task(app, name)]
        return celerys_own(state, *args, task_id=others, **kwargs) if others else {"ok": "the executions are cancelled"}

    control.__name__ = verb
    return control


def _cancelling_by_stamps(app: Celery, celerys_own: Callable[..., Any]) -> Callable[..., Any]:
    def control(state: Any, headers: Any, **kwargs: Any) -> Any:
        # Not with `terminate`, which would end a request under way, and store that its task was revoked.
        answer = celerys_own(state, headers, **{**kwargs, "terminate": False})
        for request in list(worker_state.requests.values()):
            if request.task_name.startswith(TASK_PREFIX):
                cancel_where_stamp_is_revoked(app, request._request_dict)  # noqa: SLF001 - Celery looks there
        return answer

    control.__name__ = _BY_STAMPS
    return control


def _cancel_by_task(app: Celery, task_id: str) -> bool:
    """Cancel the execution that a task belongs to, and return whether it is one of ours."""
    execution_id = execution_of_task(task_id)
    try:
        is_ours = cancel(app, open_store(app.backend, execution_id))
    except CONNECTION_ERRORS:
        logger.warning("Task %s was to be revoked, but Redis could not be reached", task_id, exc_info=True)
        return False
    if is_ours:
        logger.info("Task %s was revoked: its execution %s is cancelled", task_id, execution_id)
    return is_ours
