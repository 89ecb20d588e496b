"""Celery's Redis result backend, without what loses, leaks or costs too much in a worker.

Celery's own does five things that this one does not:

- It subscribes to results. A worker waits for none, and yet it subscribes for ever to each member of a group that it
  publishes. Where the threads of its pool race for a global flag of Celery's, it subscribes to every task. Here no
  worker ever subscribes.
- It stores a result in two steps, look and write. In between another process may have stored the success. Where the
  next attempt ends soon, the note of a retry overwrites it like that. Here it is one step, and of a retry nothing is
  noted: the claim tells of it.
- It counts a task as failed in its chord when a time limit kills the task, or when its result could not be stored. That
  would fail the execution over the heads of its other actions. Actions return their failures. Whatever else becomes of
  their task does not end them, and the sweep sends it again.
- It gives up an answer that can't be stored because Redis is away, full or read-only. Here the answer is kept, and
  stored once it can be.
- It stores an action's result twice, once for the chord, in two round trips of some twenty commands, and publishes a
  chord's body by four more. Here the step that stores the result counts the action by its name. Whoever is counted last
  publishes what the record of the execution says comes next. Where that worker dies before, its message comes back, or
  the sweep publishes it.
"""

import json
from functools import partial
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery import states
from celery.backends.redis import RedisBackend, SentinelBackend
from kombu.utils.json import dumps, loads
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from workflow_state.engine.messages import Summary
from workflow_state.engine.result_consumer import PatientConsumer
from workflow_state.store.names import ACTION_TASK, LEVEL_INFIX, TASK_PREFIX, record_key, step_of_task
from workflow_state.store.scripts import run_script
from workflow_state.store.sealing import require_own_result, seal_result, unseal_result

_RUNNING = "RUNNING"
_COMPACT = (",", ":")

# Redis takes no writes now, but it will again.
_PASSING_ERRORS = (OutOfMemoryError, ReadOnlyError)

# The sweep sends again what they end.
_TIME_LIMITS = (TimeLimitExceeded, SoftTimeLimitExceeded)
# Stands for a result that is text already. It is the first text after the status, so no other is taken for it.
_ELSEWHERE = "(elsewhere)"
# What a string of Redis holds at most.
_LARGEST_VALUE = 512 * 2**20

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
        if _is_action(request):
            return None
        return super().mark_as_retry(task_id, exc, *args, **kwargs)  # type: ignore[misc]

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        if getattr(result, "is_stored", False):
            return result
        backend: Any = self
        keys, arguments = self._writing_of(task_id, result, state, traceback)
        if request is None or not (request.chord and _is_action(request)):
            backend.ensure(run_script, (backend.client, "store_result", keys, arguments))
            return result
        execution_id, _, level = request.group.rpartition(LEVEL_INFIX)
        counted = backend.get_key_for_group(request.group, ".d")
        keys |= {"counted": counted, "record": record_key(execution_id)}
        arguments |= {"step": step_of_task(task_id), "level": level, "stored_bytes": _stored_bytes(result)}
        if message := backend.ensure(run_script, (backend.client, "store_result_in_level", keys, arguments)):
            backend.app.signature(json.loads(message)).apply_async()
            # Only now: until then whoever is counted again finds that all have ended, and publishes it.
            backend.ensure(backend.client.delete, (counted,))
        return result

    def decode(self, payload: Any) -> Any:
        return unseal_result(super().decode(payload), loads)  # type: ignore[misc]

    def _get_task_meta_for(self, task_id: str) -> Any:
        return require_own_result(task_id, super()._get_task_meta_for(task_id))  # type: ignore[misc]

    def _writing_of(
        self, task_id: str, result: Any, state: str, traceback: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the keys and the arguments of the script that stores a result."""
        backend: Any = self
        text = result.text if isinstance(result, Summary) else None
        meta = backend._get_result_meta(  # noqa: SLF001 - our base class's, seen through Any
            # Of the request it would note the group and the parent, which are in the ids.
            result=result if text is None else _ELSEWHERE,
            state=state,
            traceback=traceback,
            request=None,
        )
        write = partial(dumps, separators=_COMPACT)
        sealed = seal_result(task_id, meta, lambda value: text if text and value == _ELSEWHERE else write(value))
        value = write({**sealed, "task_id": task_id})
        if text is not None:
            value = value.replace(f'"{_ELSEWHERE}"', text, 1)
        arguments: dict[str, Any] = {
            "value": value,
            "success_prefix": dumps({"status": states.SUCCESS}, separators=_COMPACT)[:-1],
            "keeps_any": state == _RUNNING,
            "ttl_s": backend.expires or None,
        }
        return {"result": backend.get_key_for_task(task_id)}, arguments

    def store_once(self, task_id: str, result: Any) -> None:
        """Store a success, and raise whatever Redis says to that: nothing is tried again."""
        keys, arguments = self._writing_of(task_id, result, states.SUCCESS)
        if len(arguments["value"]) > _LARGEST_VALUE:
            raise ResponseError(f"a value of {len(arguments['value'])} bytes is larger than Redis takes")
        backend: Any = self
        run_script(backend.client, "store_result", keys, arguments)

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, *args: Any, **kwargs: Any) -> None:
        if request is not None and _is_action(request):
            # Its chord is told in the same step.
            self.store_result(task_id, result, states.SUCCESS, request=request)  # type: ignore[attr-defined]
        else:
            super().mark_as_done(task_id, result, request, *args, **kwargs)  # type: ignore[misc]

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        # That of a level is in the record, where `levels` has noted it before.
        if LEVEL_INFIX not in group_id:
            super().set_chord_size(group_id, chord_size)  # type: ignore[misc]

    def mark_as_failure(self, task_id: str, exc: BaseException, *args: Any, **kwargs: Any) -> Any:
        request = args[1] if len(args) > 1 else kwargs.get("request")
        is_ours = str(getattr(request, "task", None)).startswith(TASK_PREFIX)
        if _is_action(request) or (is_ours and isinstance(exc, _TIME_LIMITS)):
            return None
        return super().mark_as_failure(task_id, exc, *args, **kwargs)  # type: ignore[misc]

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        # A worker has an answer to keep. Who asks for a result, by `ready()` say, would be held up by an outage.
        is_passing = isinstance(exc, _PASSING_ERRORS) or super().exception_safe_to_retry(exc)  # type: ignore[misc]
        return _in_worker and is_passing


def _stored_bytes(result: Any) -> int:
    """Return how many bytes of an action's output are in the storage, by its state."""
    outcome = result.data.get("result") if isinstance(result, Summary) else None
    location = (outcome or {}).get("outputLocation")
    return location["size"] if location else 0


def _is_action(request: Any) -> bool:
    return getattr(request, "task", None) == ACTION_TASK


class SturdyRedisBackend(_SturdyMixin, RedisBackend):
    """For redis://, rediss:// and redis+socket://."""

    ResultConsumer = PatientConsumer


class SturdySentinelBackend(_SturdyMixin, SentinelBackend):
    """For sentinel://."""

    ResultConsumer = PatientConsumer


OVERRIDES = {
    "redis": "workflow_state.engine.result_backend:SturdyRedisBackend",
    "rediss": "workflow_state.engine.result_backend:SturdyRedisBackend",
    "sentinel": "workflow_state.engine.result_backend:SturdySentinelBackend",
}
"""By the scheme of the result backend's URL, the way that Celery's loader overrides backends."""
