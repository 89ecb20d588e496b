"""Where one execution is stored: the value that functions of the store take first."""

from dataclasses import dataclass
from typing import Any

from redis import Redis

from workflow_state.settings import get_settings
from workflow_state.store.connection import redis_client
from workflow_state.store.names import action_task_id, progress_key, record_key


@dataclass(frozen=True, slots=True)
class ExecutionStore:
    """One execution in Redis.

    `client` is the Redis client of `backend`, Celery's result backend. What is stored lives for `retention_s` after its
    last change.
    """

    client: Redis
    backend: Any
    execution_id: str
    retention_s: int

    @property
    def record(self) -> str:
        """The key of the record (records.py)."""
        return record_key(self.execution_id)

    @property
    def progress(self) -> str:
        """The key of what is under way (claims.py)."""
        return progress_key(self.execution_id)

    def task_id(self, step: str) -> str:
        """Return the id of a step's task."""
        return action_task_id(self.execution_id, step)

    def result(self, step: str) -> Any:
        """Return the key of a step's result, which is Celery's."""
        return self.backend.get_key_for_task(self.task_id(step))


def open_store(backend: Any, execution_id: str) -> ExecutionStore:
    """Return where the execution is stored; nothing is sent to Redis yet.

    `backend` is a Celery application's result backend. Raises SettingsError where that is not Redis.
    """
    return ExecutionStore(redis_client(backend), backend, execution_id, get_settings().retention_s)
