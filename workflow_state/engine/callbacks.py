"""Where callbacks go: a team's own tasks, linked to an execution, belong on the team's own queue.

    execute_plan.apply_async((plan,), link=notify.s())

Celery publishes a callback where the task before it ran. Our workers would put `notify` on our queue, where nobody
knows it, and drop it. So each callback of another application gets that application's queue, in the process that
submits, which knows it. One that comes without (a chain whose first task is the team's own) gets the default queue of
the celeryconfig beside our worker, or Celery's own default.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery, Task, current_app
from celery.canvas import Signature, maybe_signature, signature
from kombu import Queue
from redis.exceptions import NoPermissionError

from workflow_state.store.connection import LOST_CONNECTION
from workflow_state.store.names import QUEUE, TASK_PREFIX

logger = logging.getLogger(__name__)

CALLBACK_OPTIONS = ("link", "link_error", "chain", "chord")
"""Options of `apply_async` that hold signatures of what comes after."""

_PARTS = ("tasks", "header", "body")
_CELERYS_OWN = "celery."
_CELERYS_DEFAULT_QUEUE = "celery"


def address_callbacks(app: Celery, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `apply_async`, each callback of another application with that application's queue.

    `app` is ours. A callback that says where it goes, and one that our own application knows, stay as they are.
    """
    return {
        name: _addressed(app, value) if name in CALLBACK_OPTIONS and value else value for name, value in options.items()
    }


def _addressed(app: Celery, callback: Any) -> Any:
    if isinstance(callback, Sequence) and not isinstance(callback, str):
        return [_addressed(app, each) for each in callback]
    if not isinstance(callback, Mapping) or "task" not in callback:
        return callback
    options = address_callbacks(app, callback.get("options") or {})
    kwargs = dict(callback.get("kwargs") or {})
    if callback.get("subtask_type"):
        # Of a chain, a group or a chord.
        kwargs |= {name: _addressed(app, kwargs[name]) for name in _PARTS if kwargs.get(name)}
    elif not {"queue", "exchange", "routing_key"} & options.keys():
        theirs = _application_of(app, callback)
        if theirs is not None:
            options["queue"] = _queue_of(theirs, callback["task"])
    return maybe_signature({**callback, "kwargs": kwargs, "options": options}, app=app)


def _application_of(app: Celery, callback: Mapping[str, Any]) -> Celery | None:
    """Return the application that a callback belongs to, None where that is ours, or Celery itself."""
    name = callback["task"]
    if name.startswith((TASK_PREFIX, _CELERYS_OWN)):
        return None
    theirs: Celery | None = callback._app if isinstance(callback, Signature) else None  # type: ignore[attr-defined]  # noqa: SLF001 - the property would make one up
    theirs = theirs or current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - the application behind Celery's proxy
    if theirs is not app:
        return theirs
    return None if name in app.tasks else Celery(set_as_current=False)


def _queue_of(app: Celery, task: str) -> str:
    """Return the name of the queue that an application publishes this task to."""
    router: Any = app.amqp.router
    queue: str = router.route({}, task)["queue"].name
    return queue


def call_callbacks(task: Task, final: Any) -> None:  # type: ignore[type-arg]
    """Publish what the caller has linked to an execution, in place of Celery, which gets to see none of it.

    One that can't be published is told in the log, and the execution has ended all the same: its queue may not be ours
    to write to, say. Celery would take that for a failure of the execution, and keep its message. Raises a connection
    error where Redis can't be reached.
    """
    request = task.request
    callbacks, chain = list(request.callbacks or ()), list(request.chain or ())
    request.callbacks = request.chain = None
    after: list[tuple[Any, dict[str, Any]]] = [(callback, {}) for callback in callbacks]
    if chain:
        after.append((chain[-1], {"chain": chain[:-1]}))
    place: dict[str, Any] = {"parent_id": request.id, "root_id": request.root_id or request.id}
    for callback, options in after:
        try:
            signature(callback, app=task.app).apply_async((final,), **place, **options)
        except Exception as error:
            if isinstance(error, LOST_CONNECTION) and not _is_refused(error):
                raise
            logger.exception("A callback of execution %s could not be published, and is not called", request.id)


def _is_refused(error: BaseException) -> bool:
    """Return whether Redis refuses what was asked for want of rights: for redis-py that is a lost connection."""
    return any(isinstance(each, NoPermissionError) for each in (error, error.__cause__, error.__context__))


def route_ours(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """Return where a task of ours goes, None for the others: the first of Celery's `task_routes`.

    So no route of a team's celeryconfig is asked about our tasks. It may take them elsewhere, or not know them.
    """
    return {"queue": QUEUE} if name.startswith(TASK_PREFIX) else None


def route_callback(
    default_queue: str | None, name: str, *_: Any, task: Any = None, **__: Any
) -> dict[str, Queue] | None:
    """Return where a task goes that our application does not know, None for the others: one of Celery's `task_routes`.

    `default_queue` is the queue of the application beside ours, where one is known.
    """
    if task is not None or name.startswith((TASK_PREFIX, _CELERYS_OWN)):
        return None
    # Not by its name alone: Celery would note it among the queues that this worker reads.
    return {"queue": Queue(default_queue or _CELERYS_DEFAULT_QUEUE)}
