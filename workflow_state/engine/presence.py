"""Whether a worker of ours is there: for messages to people, not for decisions."""

from celery import Celery

START_A_WORKER = "start one: celery -A workflow_state worker"


def is_worker_there(app: Celery, *, within_s: float) -> bool:
    """Return whether a worker answers within that time; at once where one does.

    A worker of the solo pool does not answer while it runs a task. Raises an error of redis or kombu where Redis is
    away.
    """
    # With a limit the first answer is enough.
    return bool(app.control.broadcast("ping", reply=True, timeout=within_s, limit=1))
