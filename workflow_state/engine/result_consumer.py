"""Waiting for results in a process that submits, through outages of Redis of any length.

Celery's own consumer gives up after twenty tries to reconnect: whoever waits gets "the application must be restarted",
and from then on every `.get()` of that process times out, although the executions complete. Here a lost connection is
no end. Whoever waits tries to connect again, twice a second, until its result is there or its own time is over.
With each new connection the results that were missed are read, and all that somebody waits for is subscribed to again.

One thread of all that wait tries to connect, and holds up none of the others: a Redis that says nothing takes seconds.

A child of a fork (a web server's worker, say) listens by a connection of its own. Celery sees to that for its own
processes only.

A result that this process can't decrypt is the end of the waiting for that one. Those who wait for others may be the
ones who read it, and go on.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any, NoReturn

from celery import states
from celery.backends.redis import ResultConsumer  # type: ignore[attr-defined] # the stubs lack it
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from workflow_state.errors import BrokerUnavailableError, DecryptionError
from workflow_state.store.connection import broker_errors, forget_connections

logger = logging.getLogger(__name__)

_CONNECT_EVERY_S = 0.5


class PatientConsumer(ResultConsumer):  # type: ignore[misc] # the stubs lack it
    """Celery's consumer of results, which takes an outage for what it is: something that passes."""

    _pubsub: Any = None
    _connecting: Lock
    _tried_at_s = float("-inf")
    _must_connect = False
    _is_told = False
    _process = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._decode_result: Any = partial(_decode, self.backend.decode_result)

    def _reset_sync(self) -> None:
        """Make the locks, at the beginning and in the child of a fork."""
        super()._reset_sync()
        self._connecting = Lock()
        self._process = os.getpid()

    def _begin_in_child(self) -> None:
        """Leave the connection and the locks of the process that this one was forked off to it."""
        if self._process != os.getpid():
            self._reset_sync()
            self._pubsub, self._must_connect = None, bool(self.subscribed_to)

    @property
    def is_away(self) -> bool:
        """Whether the last that is known of Redis is that it can't be reached."""
        return self._must_connect

    @contextmanager
    def reconnect_on_error(self) -> Iterator[None]:
        """Note that Redis is away, where the connection was lost in the block: the next `drain_events` connects."""
        try:
            yield
        except RedisTimeoutError as error:
            self._note_loss(error)
        except TimeoutError:
            # Nothing came in the time that the caller gave: no error.
            raise
        except self._connection_errors as error:
            self._note_loss(error)
        except RedisError as error:
            self._refuse(error)

    @broker_errors()
    def _refuse(self, error: RedisError) -> NoReturn:
        raise error

    def _note_loss(self, error: Exception) -> None:
        self._must_connect = True
        if not self._is_told:
            self._is_told = True
            logger.warning("Redis is away, results are waited for once it is there again: %s", error)

    def drain_events(self, timeout: float | None = None) -> Any:
        """Wait for a result, or for the time to try again to connect."""
        self._begin_in_child()
        if not self._must_connect:
            return super().drain_events(timeout)
        pause_s = self._tried_at_s + _CONNECT_EVERY_S - time.monotonic()
        if pause_s <= 0 and self._connecting.acquire(blocking=False):
            try:
                self._connect_anew()
            finally:
                self._tried_at_s = time.monotonic()
                self._connecting.release()
            return None
        wait_s = pause_s if pause_s > 0 else _CONNECT_EVERY_S
        time.sleep(wait_s if timeout is None else min(wait_s, timeout))
        return None

    def _connect_anew(self) -> None:
        """Try once to connect, to read what was missed, and to subscribe again."""
        try:
            # Before the lock is held, which whoever begins to wait needs.
            forget_connections(self.backend.client)
            self.backend.client.ping()
            with self._locked():
                # First: whoever begins to wait after this subscribes by itself, and whoever did before is in the list.
                self._must_connect = False
                self._close_pubsub()
                self._reconnect_pubsub()
        except self._connection_errors as error:
            self._note_loss(error)
        except RedisError as error:
            self._refuse(error)
        else:
            if self._is_told:
                logger.info("Redis is there again; the results that were missed have been read")
            self._is_told = False

    def _close_pubsub(self) -> None:
        """Give the connection back, so that an outage costs no descriptors."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            pubsub.close()

    def consume_from(self, task_id: str) -> None:
        """Subscribe to a result; while Redis is away it is noted, and subscribed to with the next connection."""
        self._begin_in_child()
        if not self._must_connect:
            with self.reconnect_on_error():
                super().consume_from(task_id)
            return
        key = self._get_key_for_task(task_id)
        self._pending_unsubscribe.discard(key)
        self.subscribed_to.add(key)
        if not self._must_connect:
            with self._locked(), self.reconnect_on_error():
                if self._pubsub is not None:
                    self._pubsub.subscribe(key)

    def on_wait_for_pending(self, result: Any, **kwargs: Any) -> None:
        """Read what is there already; while Redis is away the next connection does."""
        self._begin_in_child()
        if not self._must_connect:
            with self.reconnect_on_error():
                super().on_wait_for_pending(result, **kwargs)

    def cancel_for(self, task_id: str) -> None:
        """Listen for a result no more. A handle says so when it is thrown away, in each process that has it.

        That is in a destructor, whose errors nobody can catch: Python would print them, whole. In a process that ends
        the connection ends anyway, and to connect anew would fail for want of modules, or wait for a silent Redis.
        """
        if sys.is_finalizing():
            return
        self._begin_in_child()
        try:
            super().cancel_for(task_id)
        except BrokerUnavailableError as error:
            logger.debug("Redis refuses to end a subscription: %s", error)


def _decode(decode: Callable[[Any], Any], payload: Any) -> Any:
    try:
        return decode(payload)
    except DecryptionError as error:
        # `.get()` raises it, as what the task has raised.
        return {**json.loads(payload), "status": states.FAILURE, "result": error, "traceback": None}
