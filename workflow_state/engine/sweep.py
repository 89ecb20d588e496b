"""Looking after executions: one that shows no sign of life goes on all the same.

A message may be lost. Redis gives it to a worker that dies before it has noted that it has it, somebody empties a
queue, a result can't be stored. So what is stored is the truth, and a message is only a hint that there is something to
do.

Each execution that has not ended has an alarm (alarms.py). When it rings, and nothing was claimed or published for a
while, the message that goes on with the execution is published once more. `execute_level` then looks what has a result
and what is under way, and publishes the rest.

Where all is well that costs a few reads for each execution in `silence_before_recovery_s`, and never more than one
message of it.
"""

import json
import logging
import time
from collections.abc import Collection
from typing import Any

from celery import Celery, states
from celery.result import AsyncResult
from celery.signals import before_task_publish

from workflow_state.engine.timers import TimedStep
from workflow_state.engine.waiting import look_after, wake_all
from workflow_state.errors import DecryptionError
from workflow_state.rules.policy import level_priority
from workflow_state.rules.states import ENDED
from workflow_state.settings import get_settings
from workflow_state.store.alarms import AT_ONCE, put_off_alarm, remove_alarm, take_due
from workflow_state.store.connection import CONNECTION_ERRORS, forget_connections, redis_client
from workflow_state.store.ending import keep_execution_and_results
from workflow_state.store.execution import ExecutionStore, open_store
from workflow_state.store.level_claims import is_level_claimed
from workflow_state.store.names import TASK_PREFIX
from workflow_state.store.position import SignsOfLife, note_sign_of_life, read_signs_of_life

logger = logging.getLogger(__name__)

_RING_EVERY_S = 1.0
# A worker that looks at something has this long. Then another one looks at it.
_PUT_OFF_S = 5
# The timer is that of the event loop: messages wait while this runs.
_MOST_PARTS = 5
_PUBLISHED_AT = "publishedAt"


class Alarm(TimedStep):
    """Look, once a second, at what is due: one round trip where nothing is."""

    def start(self, consumer: Any) -> None:
        """Begin to look."""
        self.repeat(consumer, _RING_EVERY_S, ring, consumer.app)


def ring(app: Celery) -> None:
    """Look after everything that is due. What can't be looked after now is due again in a few seconds."""
    client = redis_client(app.backend)
    try:
        for _ in range(_MOST_PARTS):
            due = take_due(client, _PUT_OFF_S)
            for execution_id, step in due:
                _see_to(app, open_store(app.backend, execution_id), step)
            if len(due) < AT_ONCE:
                return
    except (*CONNECTION_ERRORS, OSError):
        logger.warning("What is due could not be looked after; trying again soon", exc_info=True)
        forget_connections(client)


def _see_to(app: Celery, store: ExecutionStore, step: str) -> None:
    try:
        if step:
            look_after(app, store, step)
        else:
            look_after_execution(app, store)
    except CONNECTION_ERRORS:
        raise
    except DecryptionError as error:
        logger.error("This worker can't look after an execution: %s", error)  # noqa: TRY400 - no defect
    except Exception:
        # A defect of ours, or a broken record: the others are to be looked after all the same.
        logger.exception("Execution %s could not be looked after", store.execution_id)


def look_after_execution(app: Celery, store: ExecutionStore) -> None:
    """See whether an execution goes on, and have it go on where it does not."""
    signs = read_signs_of_life(store)
    if signs is None or (signs.status in ENDED and _has_its_result(app, store.execution_id)):
        remove_alarm(store)
        return
    if signs.ttl_s < store.retention_s / 2:
        keep_execution_and_results(store)
    if signs.is_cancelled:
        wake_all(app, store)
    look_every_s = min(get_settings().silence_before_recovery_s, store.retention_s / 4)
    look_in_s = look_every_s - signs.silent_for_s
    if look_in_s <= 0:
        _go_on(app, store, signs, look_every_s)
        look_in_s = look_every_s
    put_off_alarm(store, after_s=look_in_s)


def _go_on(app: Celery, store: ExecutionStore, signs: SignsOfLife, look_every_s: float) -> None:
    """Publish the message that goes on with a silent execution.

    Not where its messages wait in line still, nor where a level task of it is at work: that may take long, for a level
    of many messages, or for expected outcomes.
    """
    if signs.next_message is None or is_level_claimed(store):
        return
    message = json.loads(signs.next_message)
    priority = message.get("options", {}).get("priority") or 0
    oldest_s = oldest_message_s(app, {priority, max(priority, level_priority(signs.message_count))})
    # A level takes a while to publish, hence the half.
    if oldest_s is not None and oldest_s < signs.now_s - signs.silent_for_s + look_every_s / 2:
        return
    logger.warning("Execution %s shows no sign of life; looking for what is missing", store.execution_id)
    note_sign_of_life(store, signs.now_s)
    app.signature(message).apply_async()


def _has_its_result(app: Celery, execution_id: str) -> bool:
    return bool(AsyncResult(execution_id, app=app).state == states.SUCCESS)


@before_task_publish.connect
def stamp(sender: str = "", headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Write into each of our messages when it was published, for `oldest_message_s`."""
    if headers is not None and sender.startswith(TASK_PREFIX):
        headers[_PUBLISHED_AT] = time.time()


def oldest_message_s(app: Celery, priorities: Collection[int] = (0,)) -> float | None:
    """Return when the message was published that is next in line (s since 1970), or None where nothing waits.

    Queues are first in, first out within a priority: what was published before that, with one of these, has left.
    """
    router: Any = app.amqp.router
    tasks = [name for name in app.tasks if name.startswith(TASK_PREFIX)]
    queues = {router.route({}, name)["queue"].name for name in tasks}
    with app.connection_or_acquire() as connection:
        channel: Any = connection.default_channel
        steps = {channel.priority(priority) for priority in priorities}
        # kombu puts the prefix before the keys of commands that it knows, of which LINDEX is none.
        prefix = channel.global_keyprefix
        keys = [prefix + channel._q_for_pri(queue, step) for queue in queues for step in steps]  # noqa: SLF001 - kombu has no public name for it
        with channel.conn_or_acquire() as broker, broker.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.lindex(key, -1)
            heads = pipe.execute()
    return min((at for head in heads if head and (at := _published_at(head)) is not None), default=None)


def _published_at(raw: bytes) -> float | None:
    try:
        return float(json.loads(raw)["headers"][_PUBLISHED_AT])
    except (ValueError, TypeError, KeyError):
        return None
