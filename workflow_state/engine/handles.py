"""What `execute_plan.delay` returns: Celery's own result of an execution, with what is different for one of ours."""

from typing import Any

from celery import Celery
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult

from workflow_state.engine.cancelling import cancel
from workflow_state.engine.presence import START_A_WORKER, is_worker_there
from workflow_state.engine.reading import read_execution_state
from workflow_state.errors import WorkflowStateError
from workflow_state.rules.standing import describe_standing
from workflow_state.schema import ExecutionState
from workflow_state.store.connection import broker_errors
from workflow_state.store.execution import open_store

_WORKER_ANSWERS_WITHIN_S = 1.0


class TaskState(str):
    """Celery's state of the task, such as `SUCCESS`; called, it reads the execution's own.

    Both have the name `state`, and Celery's is no method: `handle.state == "SUCCESS"`, `handle.state().status`.
    """

    __slots__ = ("_app", "_execution_id")
    _app: Celery
    _execution_id: str

    @broker_errors()
    def __call__(self) -> ExecutionState:
        """Return the execution's state as it is now; raises as `get_execution_state` does."""
        return read_execution_state(self._app, self._execution_id)


class ExecutionHandle(AsyncResult):  # type: ignore[type-arg]
    """An execution, as Celery's AsyncResult: `id`, `get(timeout=…)` for its final state, `ready()` and all the rest.

    `get()` waits through an outage of Redis. `ready()`, `state` and the others raise BrokerUnavailableError.

    handle = execute_plan.delay(plan)
    handle.state().status          # as it is now
    final = handle.get(timeout=60) # the final state as JSON data, once it has ended
    """

    id: str
    app: Celery

    @broker_errors()
    def _get_task_meta(self) -> Any:
        return super()._get_task_meta()  # type: ignore[misc] # the stubs lack it

    def get(self, timeout: float | None = None, *args: Any, **options: Any) -> dict[str, Any]:
        """Wait until the execution has ended, for `timeout` seconds at most, and return its final state as JSON data.

        A failed execution is returned as well: its `status` says so. An outage of Redis is waited through. Takes
        Celery's other options. Raises `celery.exceptions.TimeoutError`, which says where the execution stands.
        """
        try:
            final: dict[str, Any] = super().get(timeout, *args, **options)
        except CeleryTimeoutError as error:
            raise CeleryTimeoutError(f"not within {timeout} s: {self._describe()}") from error
        return final

    def ready(self) -> bool:
        """Return whether it has ended."""
        return bool(super().ready())

    @property
    def state(self) -> TaskState:  # type: ignore[override]
        """Celery's state of the task: PENDING, RUNNING, or SUCCESS once it has ended, however it has.

        `handle.state()` returns the execution's own state.
        """
        state = TaskState(super().state)
        state._app, state._execution_id = self.app, self.id  # noqa: SLF001 - its own module's
        return state

    @broker_errors()
    def forget(self) -> None:
        """Delete what Celery stored of the end, as its own does."""
        super().forget()

    @broker_errors()
    def revoke(self, *_: Any, **__: Any) -> None:
        """Cancel the execution, as `cancel_execution` does: also where no worker runs, and through their restart.

        Celery's own would ask the workers that run now to drop a message, and leave the execution without an end.
        """
        cancel(self.app, open_store(self.app.backend, self.id))

    @broker_errors()
    def _read_and_ask(self) -> str:
        state = read_execution_state(self.app, self.id)
        position = f"execution {self.id} {describe_standing(state)}"
        if is_worker_there(self.app, within_s=_WORKER_ANSWERS_WITHIN_S):
            return position
        return f"{position}, and no worker answers; {START_A_WORKER}"

    def _describe(self) -> str:
        # To ask would take seconds more.
        if self.backend.result_consumer.is_away:  # type: ignore[attr-defined] # the stubs lack it
            return f"Redis can't be reached; execution {self.id} goes on once it is there again"
        try:
            return self._read_and_ask()
        except WorkflowStateError as error:
            return str(error)
