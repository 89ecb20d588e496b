"""This process's connections to Redis, for who shows errors about them or has threads of its own.

An application needs none of it: the other functions of the client connect by themselves.
"""

from typing import Any

from redis import ConnectionPool

from workflow_state.celery import app
from workflow_state.redis_url import shown_address
from workflow_state.store.connection import NotSafeError as NotSafeError  # noqa: PLC0414 - the faces ask here
from workflow_state.store.connection import redis_client


def require_redis() -> None:
    """Find out with one try whether Redis is there; Celery's own ways try for long. Raises RedisError."""
    client: Any = redis_client(app.backend)
    client.ping()


def connection_pool() -> ConnectionPool:
    """Return the connections of this thread, none of which has been made yet where the thread has asked nothing yet.

    Celery gives each thread a result backend, and so a pool, of its own: who ends a thread calls `disconnect` of its
    pool. The first call reads Celery's settings, which takes a while. Raises SettingsError for a wrong setting.
    """
    return redis_client(app.backend).connection_pool


def redis_address() -> str:
    """Return the URL of Redis without its password, to be shown."""
    return shown_address(str(app.conf.result_backend))
