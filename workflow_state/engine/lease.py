"""The lease, which a living worker renews, so that others can tell it from a dead one.

- Each process that runs actions keeps a key alive, and in it the holders of its claims. A claim is nobody's where the
  key is younger than the claim and does not name its holder.
- The worker renews the visibility of each message that it holds. So the visibility timeout can be seconds rather than
  an hour: a killed worker's actions run elsewhere soon, and a long action is never delivered twice.
"""

import logging
import threading
import time
from typing import Any

from celery import Celery
from redis.exceptions import RedisError

from workflow_state.engine.timers import TimedStep
from workflow_state.store.connection import forget_connections
from workflow_state.store.leases import renew_process

logger = logging.getLogger(__name__)


class Lease(TimedStep):
    """Renew, every third of the visibility timeout, this process's lease and that of the messages which it holds."""

    def start(self, consumer: Any) -> None:
        """Begin with a renewal: the first action may be claimed at once."""
        timeout_s = visibility_timeout_s(consumer.app)
        renew_lease(consumer, timeout_s)
        self.repeat(consumer, timeout_s / 3, renew_lease, consumer, timeout_s)


def visibility_timeout_s(app: Celery) -> float:
    """Return after how many seconds without renewal a message is delivered again."""
    return float(app.conf.broker_transport_options["visibility_timeout"])


def renew_lease(consumer: Any, timeout_s: float) -> None:
    """Renew the process's lease, and every message delivered to this worker and not yet acknowledged.

    A failed renewal is logged, not raised: the next one comes in time, and Celery reconnects by itself.
    """
    try:
        # Before the messages: when one of them is delivered again, the process's lease has run out already.
        renew_process(consumer.app.backend.client, timeout_s)
        channel = consumer.task_consumer.channel
        held = {tag: time.time() for tag in list(channel.qos._delivered) if tag not in channel.qos._dirty}  # noqa: SLF001 - kombu has no public view
        if held:
            with channel.conn_or_acquire() as client:
                # XX: a message that was acknowledged meanwhile must not come back.
                client.zadd(channel.unacked_index_key, held, xx=True)
    except (RedisError, OSError):
        logger.warning("The lease of this worker's messages could not be renewed; trying again soon", exc_info=True)
        forget_connections(consumer.app.backend.client)


def keep_child_alive(app: Celery) -> None:
    """Keep the lease of a prefork pool's child, which has no consumer: by a thread of its own, until it ends."""
    timeout_s = visibility_timeout_s(app)
    # Shorter than that of the messages, which the parent renews at other times: it has to run out first.
    lease_s, every_s = timeout_s * 2 / 3, timeout_s / 6

    def renew() -> None:
        while True:
            try:
                renew_process(app.backend.client, lease_s)  # type: ignore[attr-defined]
            except (RedisError, OSError):
                logger.warning("The lease of this process could not be renewed; trying again soon", exc_info=True)
            time.sleep(every_s)

    # Before the first task is taken: a claim is only as good as its holder's lease.
    renew_process(app.backend.client, lease_s)  # type: ignore[attr-defined]
    threading.Thread(target=renew, name="workflow_state lease", daemon=True).start()
