"""kombu's Redis transport with less work for each message.

For every message that a worker takes or acknowledges, kombu makes a new Redis client, which costs more CPU than the
commands that it sends, and wraps two commands in MULTI and EXEC. Here each channel keeps its client, and the two
commands go out as they are, in one round trip. A server that dies between them leaves a message that the sweep finds
missing (sweep.py). So does a worker that dies between BRPOP and noting what it took.

The same holds where sentinels say which Redis it is. Celery takes it by `Celery(amqp=…)`. Other transports stay what
they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from time import time
from traceback import walk_tb
from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.connection import ConnectionPool, PooledConnection
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import dumps, loads
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from workflow_state.engine.malformed import MISREAD, drop, find_envelope_problem, where_raised
from workflow_state.store.names import TASK_PREFIX

# When to connect again, by the names of kombu's options.
_SOON_S = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2.0}
_COMPACT = (",", ":")
# A worker takes one of these where a header is missing.
_SAYS_NOTHING: tuple[Any, ...] = (None, {}, "{}", [], [None, None], (None, None))


class _QoS(kombu_redis.QoS):
    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's own signature
        """Put back a message that nobody holds any more; drop what is no message, or it would be tried for ever."""
        channel: Any = self.channel
        with channel.conn_or_acquire(client) as acquired:
            noted = acquired.hget(self.unacked_key, tag)
            if noted and (problem := _find_noted_problem(noted)):
                acquired.hdel(self.unacked_key, tag)
                acquired.zrem(self.unacked_index_key, tag)
                drop("noted as taken by a worker", problem)
                return
        super().restore_by_tag(tag, client, leftmost)

    def append(self, message: Any, delivery_tag: str) -> None:
        delivery = message.delivery_info
        noted = [message._raw, delivery["exchange"], delivery["routing_key"]]  # noqa: SLF001 - what kombu notes
        with self.pipe_or_acquire() as pipe:
            pipe.zadd(self.unacked_index_key, {delivery_tag: time()})
            pipe.hset(self.unacked_key, delivery_tag, dumps(noted, separators=_COMPACT))
            pipe.execute()
            virtual.QoS.append(self, message, delivery_tag)

    @contextmanager
    def pipe_or_acquire(self, pipe: Any = None, client: Any = None) -> Iterator[Any]:
        if pipe:
            yield pipe
        else:
            channel: Any = self.channel
            with channel.conn_or_acquire(client) as acquired:
                yield acquired.pipeline(transaction=False)


class _LeanChannel:
    """What a channel does differently, whether it knows its Redis by an address or by sentinels."""

    QoS: Any = _QoS
    # kombu's own, which is None once the channel was closed.
    connection: Any
    # JSON is text already.
    body_encoding: Any = None

    _kept_client: Redis | None = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's own signature
        if getattr(self.connection, "client", None) is None:
            # Its message goes to whoever asks for it next: the worker takes this for the lost connection that it is.
            # kombu would look for a server's name in a connection that is gone, which ends the worker.
            raise RedisConnectionError("the connection that this channel belonged to was lost")
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        # The pool is another one after a fork, and after a connection was lost.
        client = self._kept_client
        if client is None or client.connection_pool is not self.pool:  # type: ignore[attr-defined] # kombu's channel
            client = self._kept_client = super()._create_client()  # type: ignore[misc]
        return client

    def _put(self, queue: str, message: Any, _publish_batch: Any = None, **options: Any) -> None:
        if queue in self._expires:  # type: ignore[attr-defined]
            # Celery's own, for answers to `inspect`: kombu renews their time with each message.
            super()._put(queue, message, _publish_batch=_publish_batch, **options)  # type: ignore[misc]
            return
        key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))  # type: ignore[attr-defined]
        if _publish_batch is not None:
            _publish_batch.add("lpush", key, dumps(message, separators=_COMPACT))
        else:
            self._create_client().lpush(key, dumps(message, separators=_COMPACT))

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except MISREAD as error:
            if not any(frame.f_code is loads.__code__ for frame, _ in walk_tb(error.__traceback__)):
                raise
            # It is not on the queue any more, and nothing has been noted of it.
            drop("of unknown kind", f"it can't be read: {where_raised(error)}")
            return True


def _find_noted_problem(noted: bytes) -> str | None:
    """Return why a message that a worker has noted can't go back to its queue, or None where it can."""
    try:
        raw, exchange, routing_key = loads(noted)
    except MISREAD as error:
        return f"it can't be read: {where_raised(error)}"
    if not isinstance(exchange, str) or not isinstance(routing_key, str):
        return "it says no queue"
    return find_envelope_problem(raw)


class _Channel(_LeanChannel, kombu_redis.Channel):
    """A channel to the Redis at one address."""


class _SentinelChannel(_LeanChannel, kombu_redis.SentinelChannel):
    """A channel to whichever Redis is the primary."""


class _Transport(kombu_redis.Transport):
    Channel = _Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        if problem := find_envelope_problem(message):
            drop(f"from {queue}", problem)
            return
        super()._deliver(message, queue)


class _SentinelTransport(kombu_redis.SentinelTransport):
    Channel = _SentinelChannel


# By kombu's own class.
_TRANSPORTS: dict[Any, Any] = {
    kombu_redis.Transport: _Transport,
    kombu_redis.SentinelTransport: _SentinelTransport,
}


class _LeanMixin:
    def _ensure_connection(
        self, errback: Any = None, max_retries: int | None = None, *intervals_s: float, **options: Any
    ) -> Any:
        """Connect, and try again soon: kombu waits longer each time, after a minute for half a minute.

        Who publishes says by `intervals_s` how long to wait: from, a step more each time, up to.
        """
        given_s = dict(zip(_SOON_S, intervals_s, strict=False))
        return super()._ensure_connection(errback, max_retries, **{**_SOON_S, **given_s, **options})  # type: ignore[misc]

    def get_transport_cls(self) -> Any:
        """Return the class that kombu makes the transport of."""
        found = super().get_transport_cls()  # type: ignore[misc]
        return _TRANSPORTS.get(found, found)


class _PooledConnection(_LeanMixin, PooledConnection):
    """One of those that messages are published by."""


class _Pool(ConnectionPool):
    def new(self) -> Any:
        return _PooledConnection(self, **dict(self.connection._info(resolve=False)))  # noqa: SLF001 - as kombu does


class BrokerConnection(_LeanMixin, Connection):  # type: ignore[misc] # fewer positions than kombu's, which names them
    """A connection to the broker; where that is a Redis server, with this module's transport."""

    def Pool(self, limit: int | None = None, **options: Any) -> Any:  # noqa: N802 - kombu's name
        """Return a pool of such connections."""
        return _Pool(self, limit, **options)


class LeanAMQP(AMQP):
    """Celery's view of the broker, with our connections."""

    Connection = BrokerConnection

    @cached_property
    def send_task_message(self) -> Callable[..., Any]:
        """Return what publishes a task's message, without what says nothing.

        A message is sent twice, when it is published and when a worker notes that it has it, so that every byte counts.
        """
        send = self._create_task_sender()  # type: ignore[attr-defined]

        def send_terse(producer: Any, name: str, message: Any, **options: Any) -> Any:
            # They stand in the headers, and would be a property beside.
            others = {key: value for key, value in options.items() if key not in ("argsrepr", "kwargsrepr")}
            if name.startswith(TASK_PREFIX):
                headers = {key: value for key, value in message.headers.items() if value not in _SAYS_NOTHING}
                # The address is for result backends that send results as messages.
                message = message._replace(headers=headers, properties={})
            return send(producer, name, message, **others)

        return send_terse
