"""The Redis connection: the client, the errors that it may raise, and batches of keys."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from kombu.exceptions import BatchPublishError, OperationalError  # type: ignore[attr-defined] # stubs of an older kombu
from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from workflow_state.errors import BrokerUnavailableError, SettingsError

Item = TypeVar("Item")

CONNECTION_ERRORS = (RedisError, OperationalError, BatchPublishError, ConnectionError, TimeoutError)


LOST_CONNECTION = (
    RedisConnectionError,
    RedisTimeoutError,
    OperationalError,
    BatchPublishError,
    ConnectionError,
    TimeoutError,
)


class NotSafeError(RedisConnectionError):
    """A write was not confirmed as safe within its time; it may be there, and it may get lost (durability.py)."""


@contextmanager
def broker_errors() -> Iterator[None]:
    """Raise a BrokerUnavailableError for whatever goes wrong with Redis in the block; also a decorator.

    The message has all that the other errors say. They are its `__context__`, and are not printed: Celery, kombu and
    redis-py would show sixty lines of their own code.
    """
    try:
        yield
    except BrokerUnavailableError:
        raise
    except NotSafeError as error:
        raise BrokerUnavailableError(str(error)) from None
    except CONNECTION_ERRORS as error:
        raise BrokerUnavailableError(f"{_name_trouble(error)}: {error}") from None


def _name_trouble(error: Exception) -> str:
    match error:
        case AuthenticationError() | NoPermissionError():
            # A lost connection as well, for redis-py.
            return "Redis refuses the login"
        case BusyLoadingError():
            return "Redis is still loading its data"
        case ReadOnlyError():
            return "Redis is a read-only replica"
        case OutOfMemoryError():
            return "Redis has no memory left"
    return "Redis can't be reached" if isinstance(error, LOST_CONNECTION) else "Redis refuses what it is asked"


def forget_connections(client: Redis) -> None:
    """Have the client connect anew. Where one of its connections has died, the idle ones may have died unnoticed."""
    client.connection_pool.disconnect(inuse_connections=False)


_BATCH_SIZE = 1_000


def in_batches(items: Sequence[Item], size: int = _BATCH_SIZE) -> Iterator[Sequence[Item]]:
    """Yield the items a thousand at a time: a command with more of them would hold up everybody else."""
    return (items[start : start + size] for start in range(0, len(items), size))


def redis_client(backend: Any) -> Redis:
    """Return the Redis client of Celery's result backend. Raises SettingsError where the backend is not Redis."""
    client = getattr(backend, "client", None)
    if not isinstance(client, Redis):
        raise SettingsError(
            f"the result backend must be a Redis server, it is {type(backend).__name__}; "
            "set result_backend in celeryconfig.py, or WORKFLOW_STATE_REDIS_URL"
        )
    return client
