"""What `execute_plan.delay` returns: Celery's own result of an execution, with what is different for one of ours."""

from typing import Any

from celery.result import AsyncResult

from workflow_state.engine.cancelling import cancel
from workflow_state.store.connection import broker_errors
from workflow_state.store.execution import open_store


class ExecutionHandle(AsyncResult):  # type: ignore[type-arg]
    """An execution, as Celery's AsyncResult: `id`, `get(timeout=…)` for its final state, `ready()` and all the rest.

    `get()` waits through an outage of Redis. `ready()`, `status` and the others raise BrokerUnavailableError.
    """

    @broker_errors()
    def _get_task_meta(self) -> Any:
        return super()._get_task_meta()  # type: ignore[misc] # the stubs lack it

    @broker_errors()
    def revoke(self, *_: Any, **__: Any) -> None:
        """Cancel the execution, as `cancel_execution` does: also where no worker runs, and through their restart.

        Celery's own would ask the workers that run now to drop a message, and leave the execution without an end.
        """
        cancel(self.app, open_store(self.app.backend, self.id))
