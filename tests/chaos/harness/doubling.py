"""The application with a broker that delivers every message twice, and keeps a copy for later.

For workers (`celery -A doubling worker`) and the client: in each of them a message goes on the queue two times, as the
same message, which is what a redelivery over Redis looks like.
"""

from typing import Any

from workflow_state.celery import app as app  # noqa: PLC0414 - what `-A doubling` looks for
from workflow_state.engine import broker

COPIES_KEY = "chaos:copies"
DOUBLE = """
local message = redis.call('LINDEX', KEYS[1], 0)
if message then
  redis.call('LPUSH', KEYS[1], message)
  redis.call('RPUSH', KEYS[2], message)
end
"""

_put = broker._Channel._put  # noqa: SLF001 - the place for a transport to put a message


def _put_twice(self: Any, queue: str, message: Any, _publish_batch: Any = None, **options: Any) -> None:
    _put(self, queue, message, _publish_batch, **options)
    if queue != "workflow_state":
        return
    key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
    if _publish_batch is not None:
        _publish_batch.add("eval", DOUBLE, 2, key, COPIES_KEY)
    else:
        with self.conn_or_acquire() as client:
            client.eval(DOUBLE, 2, key, COPIES_KEY)


broker._Channel._put = _put_twice  # type: ignore[method-assign]  # noqa: SLF001 - see above
