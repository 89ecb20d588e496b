"""Celery's Redis result backend, without four things that lose or leak in a worker.

- A worker waits for no result, and yet subscribes for ever to that of each member of a group that it publishes, and,
  where its pool's threads race for a global flag of Celery's, of every task. Here no worker ever subscribes.
- A result is stored in two steps, look and write, between which another run may have stored the success; a retry's
  own note overwrites it like that, where the next attempt ends soon. Here it is one step, and of a retry nothing is
  noted: the claim tells of it.
- A header task that is killed by a time limit, or whose result could not be stored, would count as failed in its chord,
  and fail the execution over the heads of its other actions. Actions return their failures; whatever else becomes of
  their task is no end of theirs, and the sweep sends it again.
- An answer that can't be stored, because Redis is away, full or read-only, is kept and stored once it can be.
"""

from typing import Any

from billiard.exceptions import TimeLimitExceeded
from celery import states
from celery.backends.redis import RedisBackend, SentinelBackend
from redis.exceptions import OutOfMemoryError, ReadOnlyError

from workflow_state.delivery import ACTION_TASK, TASK_PREFIX

_RUNNING = "RUNNING"

# Redis takes no writes now, but it will again.
_PASSING_ERRORS = (OutOfMemoryError, ReadOnlyError)

# KEYS: the result. ARGV: value, what the value of a success begins with, 1 where any other is to be kept, TTL in s or
# 0 for none.
# A success stays what it is, whoever comes later.
_STORE = """
local stored = redis.call('GETRANGE', KEYS[1], 0, #ARGV[2] - 1)
if stored == ARGV[2] or (stored ~= '' and ARGV[3] == '1') then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[4] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""

_in_worker = False


def never_subscribe(**_: Any) -> None:
    """Say that this process is a worker's: nothing in it waits for a result."""
    global _in_worker  # noqa: PLW0603 - a worker is one for all its life
    _in_worker = True


class _SturdyMixin:
    """What is different from Celery's own, whichever Redis it is."""

    def on_task_call(self, producer: Any, task_id: str) -> Any:
        return None if _in_worker else super().on_task_call(producer, task_id)  # type: ignore[misc]

    def add_pending_result(self, result: Any, *args: Any, **kwargs: Any) -> Any:
        return result if _in_worker else super().add_pending_result(result, *args, **kwargs)  # type: ignore[misc]

    def mark_as_retry(self, task_id: str, exc: BaseException, *args: Any, **kwargs: Any) -> Any:
        request = args[1] if len(args) > 1 else kwargs.get("request")
        if getattr(request, "task", None) == ACTION_TASK:
            return None
        return super().mark_as_retry(task_id, exc, *args, **kwargs)  # type: ignore[misc]

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        backend: Any = self
        meta = backend._get_result_meta(  # noqa: SLF001 - our base class's, seen through Any
            result=result, state=state, traceback=traceback, request=request
        )
        value = backend.encode({**meta, "task_id": task_id})
        success = backend.encode({"status": states.SUCCESS})[:-1]
        script = backend.client.register_script(_STORE)
        arguments = [value, success, int(state == _RUNNING), backend.expires or 0]
        backend.ensure(script, ([backend.get_key_for_task(task_id)], arguments))
        return result

    def mark_as_failure(self, task_id: str, exc: BaseException, *args: Any, **kwargs: Any) -> Any:
        request = args[1] if len(args) > 1 else kwargs.get("request")
        task = str(getattr(request, "task", None))
        if task == ACTION_TASK or (task.startswith(TASK_PREFIX) and isinstance(exc, TimeLimitExceeded)):
            return None
        return super().mark_as_failure(task_id, exc, *args, **kwargs)  # type: ignore[misc]

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        return isinstance(exc, _PASSING_ERRORS) or super().exception_safe_to_retry(exc)  # type: ignore[misc]


class SturdyRedisBackend(_SturdyMixin, RedisBackend):
    """For redis://, rediss:// and redis+socket://."""


class SturdySentinelBackend(_SturdyMixin, SentinelBackend):
    """For sentinel://."""


OVERRIDES = {
    "redis": "workflow_state.result_backend:SturdyRedisBackend",
    "rediss": "workflow_state.result_backend:SturdyRedisBackend",
    "sentinel": "workflow_state.result_backend:SturdySentinelBackend",
}
"""By the scheme of the result backend's URL, the way that Celery's loader overrides backends."""
