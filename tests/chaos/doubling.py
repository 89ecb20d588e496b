"""The application with a broker that delivers every message twice, and keeps a copy for later.

For workers (`celery -A doubling worker`) and the client: in each of them a message goes on the queue two times, as the
same message, which is what a redelivery over Redis looks like.
"""

from typing import Any

from kombu.transport.redis import Channel

from workflow_state.celery import app as app  # noqa: PLC0414 - what `-A doubling` looks for

COPIES_KEY = "chaos:copies"

_put = Channel._put  # noqa: SLF001 - kombu's own place for a transport to put a message


def _put_twice(self: Any, queue: str, message: Any, **options: Any) -> None:
    _put(self, queue, message, **options)
    if queue == "workflow_state":
        with self.conn_or_acquire() as client:
            client.eval(
                "local m = redis.call('LINDEX', KEYS[1], 0) if m then redis.call('LPUSH', KEYS[1], m) "
                "redis.call('RPUSH', KEYS[2], m) end",
                2,
                queue,
                COPIES_KEY,
            )


Channel._put = _put_twice  # noqa: SLF001 - see above
