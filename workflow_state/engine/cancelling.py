"""Cancelling an execution: the wish is stored, and whatever waits goes on at once, to its end.

Celery's own `revoke` tells the workers that run now to drop a message, which would leave its level waiting for ever. So
our workers take it for what is meant: whoever revokes an execution, or an action of one, cancels the execution.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.utils.functional import maybe_list
from celery.worker.control import Panel

from workflow_state.engine.waiting import wake_all
from workflow_state.store.alarms import set_alarm
from workflow_state.store.connection import CONNECTION_ERRORS
from workflow_state.store.execution import ExecutionStore, open_store
from workflow_state.store.names import execution_of_task
from workflow_state.store.records import request_cancel

logger = logging.getLogger(__name__)

_VERBS = ("revoke", "terminate")


def cancel(app: Celery, store: ExecutionStore) -> bool:
    """Store that the execution is to end, and let what waits go on; False where there is no such execution.

    Safe to repeat, also after the end.
    """
    if not request_cancel(store):
        return False
    # Whoever dies in the middle of waking leaves the alarm, and a worker goes on with it.
    set_alarm(store)
    wake_all(app, store)
    return True


def take_over_revoke(app: Celery) -> None:
    """Have this worker cancel the execution where Celery would revoke a task of ours: Flower's button does."""
    for verb in _VERBS:
        Panel.data[verb] = _cancelling(app, verb, Panel.data[verb])


def _cancelling(app: Celery, verb: str, celerys_own: Callable[..., Any]) -> Callable[..., Any]:
    def control(state: Any, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        others = [name for name in maybe_list(task_id) or [] if not _cancel_by_task(app, name)]
        return celerys_own(state, *args, task_id=others, **kwargs) if others else {"ok": "the executions are cancelled"}

    control.__name__ = verb
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
