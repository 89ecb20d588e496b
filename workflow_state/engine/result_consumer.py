"""Waiting for results in a process that submits, through outages of Redis of any length.

Celery's own consumer gives up after twenty tries to reconnect: whoever waits gets "the application must be restarted",
and from then on every `.get()` of that process times out, although the executions complete. Here a lost connection is
no end. Whoever waits tries to connect again, twice a second, until its result is there or its own time is over.
With each new connection the results that were missed are read, and all that somebody waits for is subscribed to again.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.backends.redis import ResultConsumer  # type: ignore[attr-defined] # the stubs lack it
from redis.exceptions import TimeoutError as RedisTimeoutError

logger = logging.getLogger(__name__)

_CONNECT_EVERY_S = 0.5


class PatientConsumer(ResultConsumer):  # type: ignore[misc] # the stubs lack it
    """Celery's consumer of results, which takes an outage for what it is: something that passes."""

    _pubsub: Any = None
    _tried_at_s = float("-inf")
    _is_away = False

    @contextmanager
    def reconnect_on_error(self) -> Iterator[None]:
        """Connect anew, once, where the connection was lost in the block; raise nothing if that fails as well."""
        try:
            yield
        except RedisTimeoutError:
            self._connect_anew()
        except TimeoutError:
            # Nothing came in the time that the caller gave: no error.
            raise
        except self._connection_errors:
            self._connect_anew()

    def _connect_anew(self) -> None:
        """Try once to connect, to read what was missed, and to subscribe again; the next `drain_events` tries again."""
        self._tried_at_s = time.monotonic()
        try:
            self._close_pubsub()
            self._reconnect_pubsub()
        except self._connection_errors as error:
            # Half a subscription is none.
            self._close_pubsub()
            if not self._is_away:
                logger.warning("Redis is away, results are waited for once it is there again: %s", error)
            self._is_away = True
        else:
            if self._is_away:
                logger.info("Redis is there again; the results that were missed have been read")
            self._is_away = False

    def _close_pubsub(self) -> None:
        """Give the connection back, so that an outage costs no descriptors."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            pubsub.close()

    def drain_events(self, timeout: float | None = None) -> Any:
        """Wait for a result, or for the time to try again to connect."""
        if self._pubsub is None and self.subscribed_to:
            pause_s = self._tried_at_s + _CONNECT_EVERY_S - time.monotonic()
            if pause_s > 0:
                time.sleep(min(pause_s, timeout if timeout is not None else pause_s))
                return None
            with self._locked():
                if self._pubsub is None:
                    self._connect_anew()
            return None
        return super().drain_events(timeout)

    def consume_from(self, task_id: str) -> None:
        """Subscribe to a result; while Redis is away it is noted, and subscribed to with the next connection."""
        with self._locked():
            if self._pubsub is None and self.subscribed_to:
                self.subscribed_to.add(self._get_key_for_task(task_id))
                self._connect_anew()
                return
            with self.reconnect_on_error():
                super().consume_from(task_id)

    def on_wait_for_pending(self, result: Any, **kwargs: Any) -> None:
        """Read what is there already; while Redis is away the next connection does."""
        with self.reconnect_on_error():
            super().on_wait_for_pending(result, **kwargs)
