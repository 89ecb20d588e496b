"""The Redis connection, and its errors."""

from collections.abc import Iterator, Sequence
from typing import Any

from kombu.exceptions import BatchPublishError, OperationalError  # type: ignore[attr-defined] # stubs of an older kombu
from redis import Redis
from redis.exceptions import RedisError

from workflow_state.errors import SettingsError

CONNECTION_ERRORS = (RedisError, OperationalError, BatchPublishError, ConnectionError, TimeoutError)


def forget_connections(client: Redis) -> None:
    """Have the client connect anew: where one of its connections has died, the idle ones may have, without a word."""
    client.connection_pool.disconnect(inuse_connections=False)


_MGET_AT_ONCE = 1_000


def in_parts(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Return the keys a thousand at a time: one command with more would hold up everybody else."""
    return (keys[start : start + _MGET_AT_ONCE] for start in range(0, len(keys), _MGET_AT_ONCE))


def redis_client(backend: Any) -> Redis:
    """Return the Redis client of Celery's result backend; SettingsError where the backend isn't Redis."""
    client = getattr(backend, "client", None)
    if not isinstance(client, Redis):
        raise SettingsError(
            f"the result backend must be a Redis server, it is {type(backend).__name__}; "
            "set result_backend in celeryconfig.py, or WORKFLOW_STATE_REDIS_URL"
        )
    return client
