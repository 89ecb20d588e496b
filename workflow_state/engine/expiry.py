"""Removing stored outputs that nobody needs any more.

The storage itself says what there is. So nothing has to be written down beside it, and an empty Redis forgets nothing.
The outputs of an execution are removed when all of this holds:

- the execution is gone from Redis;
- every execution that was resumed from it, and keeps outputs of it, is gone as well;
- they were written longer than the retention time ago.

An execution that keeps outputs of another leaves a mark in their folder (`keep_stored`). `resume` writes the mark
before it makes sure that the earlier execution is there still. Here the mark is looked for after the execution was
found to be gone. So one of the two finds out about the other. The age covers the moment before the new execution is
registered, and a Redis that has lost its data.

Looking through a bucket takes longer than a worker's timer may be held. So it is a task,
`workflow_state.expire_outputs`. One worker of all publishes it, once an hour. Beat may publish it as well: twice at
once does no harm.
"""

import logging
from typing import Any

from celery import Celery

from workflow_state.actions.storage.outputs import remove_expired
from workflow_state.engine.timers import TimedStep
from workflow_state.settings import get_settings
from workflow_state.store.connection import CONNECTION_ERRORS, in_batches, redis_client
from workflow_state.store.names import EXPIRE_TASK, expiry_key, record_key

logger = logging.getLogger(__name__)
EXPIRE_EVERY_S = 3600

_ASK_EVERY_S = 60.0


def expire_outputs(app: Celery) -> int:
    """Remove what has expired, and return of how many executions that was. Safe to repeat, also at the same time.

    Raises StorageError, and SettingsError without a storage of one's own.
    """
    backend: Any = app.backend
    return remove_expired(lambda ids: _find_living(backend, ids), get_settings().retention_s)


def _find_living(backend: Any, execution_ids: set[str]) -> set[str]:
    """Return those of the executions of which the record or the final state is there."""
    client = redis_client(backend)
    ids = sorted(execution_ids)
    living: set[str] = set()
    for batch in in_batches(ids):
        with client.pipeline(transaction=False) as pipe:
            for execution_id in batch:
                pipe.exists(record_key(execution_id), backend.get_key_for_task(execution_id))
            living |= {execution_id for execution_id, count in zip(batch, pipe.execute(), strict=True) if count}
    return living


class Expiry(TimedStep):
    """Ask once a minute whether it is time, with one command."""

    def start(self, consumer: Any) -> None:
        """Begin to ask, where outputs are stored in a place of their own."""
        settings = get_settings()
        if settings.storage_url and settings.expire_outputs:
            self.repeat(consumer, _ASK_EVERY_S, publish_when_due, consumer.app)


def publish_when_due(app: Celery) -> bool:
    """Publish the task if no worker has in the last hour, and return whether it was published."""
    try:
        # Whoever sets it has the turn. A task that gets lost, or a worker that dies, costs an hour.
        if not redis_client(app.backend).set(expiry_key(), 1, nx=True, ex=EXPIRE_EVERY_S):
            return False
        app.signature(EXPIRE_TASK).apply_async(expires=EXPIRE_EVERY_S)
    except (*CONNECTION_ERRORS, OSError):
        logger.warning("Expired outputs are not looked for now; trying again in an hour", exc_info=True)
        return False
    return True
