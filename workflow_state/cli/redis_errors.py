"""What the command says when Redis, or what reaches it, fails. Apart from errors.py, because it imports Celery."""

from typing import Final

from kombu.exceptions import OperationalError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from workflow_state.client.connections import NotSafeError, redis_address
from workflow_state.settings import PREFIX

REDIS_ERRORS: Final = (RedisError, OperationalError)
_UNREACHABLE: Final = "Redis can't be reached"


def describe_redis_error(error: Exception) -> list[str]:
    """Return lines that say what is wrong with the server, and what to do next."""
    if isinstance(error, NotSafeError):
        # Redis was reached.
        return [str(error)]
    message = _describe(error)
    if not message.startswith(_UNREACHABLE):
        return [message]
    advice = (
        f"  start it, or name yours in {PREFIX}REDIS_URL; "
        f"`workflow-state run` without {PREFIX}REDIS_URL brings one of its own"
    )
    return [message, advice]


def _describe(error: Exception) -> str:
    """Say what is wrong with the server, and at which address; never with its password."""
    address = redis_address()
    match error:
        case BusyLoadingError():
            return f"Redis at {address} is still loading its data; try again in a moment"
        case InvalidResponse():
            return f"what answers at {address} is no Redis: {error}"
        case AuthenticationError() | NoPermissionError():
            return (
                f"Redis at {address} refuses the login: {error} "
                f"Name and password belong in {PREFIX}REDIS_URL: redis://NAME:PASSWORD@HOST:PORT/0"
            )
        case ReadOnlyError():
            return f"Redis at {address} is a read-only replica; name its primary in {PREFIX}REDIS_URL"
        case OutOfMemoryError():
            return f"Redis at {address} has no memory left: {error}"
    return f"{_UNREACHABLE} at {address}: {error}"
