"""The classes of our Celery tasks: what happens before a message is published, and once a task has ended.

Submitting is here, since `execute_plan.delay(plan)` is Celery's `apply_async` of a task: the plan is validated and
stored before its message is on the queue.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Unpack
from uuid import uuid4

from celery import Task
from celery.canvas import Signature
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.utils.json import dumps

from workflow_state import hooks
from workflow_state.engine.callbacks import address_callbacks
from workflow_state.engine.configuration import find_contradiction
from workflow_state.engine.handles import ExecutionHandle
from workflow_state.engine.messages import from_arguments
from workflow_state.engine.submit_options import PlanLike, SubmitOptions
from workflow_state.errors import PlanValidationError, SettingsError, WorkflowStateError
from workflow_state.plans.validation.validator import MAX_PROBLEMS
from workflow_state.rules.allowed_definitions import find_refused, read_definitions_option
from workflow_state.schema import ExecutionPlan, ResumeReport
from workflow_state.settings import get_settings
from workflow_state.store.alarms import remove_alarm
from workflow_state.store.connection import broker_errors
from workflow_state.store.execution import open_store
from workflow_state.store.names import LEVEL_TASK, QUEUE
from workflow_state.store.records import FirstMessage, register_execution, require_execution_id
from workflow_state.validation import validate_execution_plan

# These options are about the act of publishing, or about its time. A message that is published again for a lost one has
# none of them.
_OPTIONS_OF_PUBLISHING = frozenset(
    {
        "add_to_parent",
        "connection",
        "countdown",
        "eta",
        "producer",
        "publisher",
        "result_cls",
        "retry",
        "retry_policy",
        "router",
    }
)


# These are ours whatever the caller says: a message that is elsewhere, or written otherwise, is read by no worker of
# ours, and an end that is not stored is none. `group.apply_async(queue=…)` says them for each of its tasks.
_OPTIONS_OF_OURS = frozenset(
    {"compression", "exchange", "exchange_type", "ignore_result", "queue", "routing_key", "serializer"}
)


def require_allowed(plan: ExecutionPlan, definitions: Sequence[str] | None) -> None:
    """Raise PlanValidationError where an action's definition is not among those that may be used.

    `definitions` are the ids and patterns that the submission allows, None for all.
    """
    if refused := find_refused(plan, get_settings().allowed_definitions, definitions):
        raise PlanValidationError(refused[:MAX_PROBLEMS])


class LevelTask(Task):  # type: ignore[type-arg]
    """The task class of what returns an execution's final state."""

    # Said by each message, so that no `task_routes` of a team's celeryconfig sends it where nobody of ours reads.
    queue = QUEUE
    # A hard time limit kills a pool's child, not the execution: the message comes back.
    acks_on_timeout = False

    def apply(self, *_: Any, **__: Any) -> Any:
        """Refuse: a plan runs in workers, and nothing of it may be registered where none takes part."""
        raise WorkflowStateError(f"{self.name} runs in a worker: submit a plan with execute_plan.delay(plan)")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Look after the execution no more: its end is stored."""
        del retval, args, kwargs
        remove_alarm(open_store(self.app.backend, task_id))


class PlanTask(LevelTask):
    """The task class of execute_plan: validates and stores the plan before anything is queued."""

    def delay(self, plan: PlanLike, definitions: Collection[str] | None = None) -> ExecutionHandle:
        """Submit a plan (ExecutionPlan, its JSON data, or JSON text), and return the execution's handle.

            handle = execute_plan.delay(plan)
            final = handle.get(timeout=60)

        `definitions` are those of `apply_async`. Raises as it does.
        """
        return self.apply_async((plan,), definitions=definitions)

    def apply_async(  # type: ignore[override]
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        *,
        definitions: Collection[str] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> ExecutionHandle:
        """Submit a plan (ExecutionPlan, dict or JSON text); the task id is the execution's id.

            execute_plan.apply_async((plan,), task_id="order-4711", countdown=60)

        `definitions` are the ids and patterns (`crm.*`) of the only action definitions that the execution may use, also
        when it is resumed; by default all. It may be an argument of the task as well: `delay(plan, definitions=[…])`.

        Submitting the same plan under the same id again starts nothing new, and returns a handle of the execution.
        Raises PlanValidationError, ExecutionConflictError for an id that another plan has, SettingsError for a
        configuration under which no plan runs, and BrokerUnavailableError where Redis can't be reached.
        """
        if problem := find_contradiction(self.app.conf):
            raise SettingsError(problem)
        given, in_arguments = _read_arguments(*(args or ()), **(kwargs or {}))
        allowed = read_definitions_option(in_arguments if definitions is None else definitions)
        plan = validate_execution_plan(given)
        new_id = require_execution_id(str(uuid4()) if task_id is None else task_id)
        return self.submit(plan, new_id, definitions=allowed, **options)

    @broker_errors()
    def submit(
        self,
        plan: ExecutionPlan,
        execution_id: str,
        *,
        resumed: ResumeReport | None = None,
        definitions: Sequence[str] | None = None,
        kept_bytes: int = 0,
        **options: Any,
    ) -> ExecutionHandle:
        """Register a valid plan under this id, and publish its message unless it had been already.

        Where it resumes another, `kept_bytes` is how large the results are that it keeps. Raises PlanValidationError
        where the plan uses a definition that it may not use.
        """
        require_allowed(plan, definitions)
        with hooks.submit(execution_id, str(plan.id), plan.name) as headers:
            if headers:
                options["headers"] = {**(options.get("headers") or {}), **headers}
            register = partial(
                register_execution, plan=plan, resumed=resumed, definitions=definitions, kept_bytes=kept_bytes
            )
            return self._register_and_publish(register, plan.name, execution_id, options)

    def _register_and_publish(
        self, register: Callable[..., bool], plan_name: str, execution_id: str, options: dict[str, Any]
    ) -> ExecutionHandle:
        theirs = {name: value for name, value in options.items() if name not in _OPTIONS_OF_OURS}
        options = {**address_callbacks(self.app, theirs), "task_id": execution_id}
        # Not Celery's own `expires`: a worker that discards a message for its age tells nobody, least of all the sweep.
        expires_at = _point_in_time("expires", options.pop("expires", None))
        begins_at = _begin_of(options)
        kept = {name: value for name, value in options.items() if name not in _OPTIONS_OF_PUBLISHING}
        message = self.app.signature(LEVEL_TASK, args=(0,), options=kept, immutable=True)
        delay_s = max(0, (begins_at - datetime.now(UTC)).total_seconds()) if begins_at else 0
        first = FirstMessage(dumps(message), delay_s, expires_at)
        if not register(open_store(self.app.backend, execution_id), first=first):
            return self.AsyncResult(execution_id)
        # The message carries no plan: the record has it, and a monitor would show it.
        options["argsrepr"] = "()" if get_settings().keys else f"({plan_name!r},)"
        super().apply_async((), {}, **options)
        return self.AsyncResult(execution_id)

    def AsyncResult(self, task_id: str, **_: Any) -> ExecutionHandle:  # noqa: N802 - Celery's name
        """Return the handle of the execution that has this id."""
        return ExecutionHandle(task_id, app=self.app)

    def signature(self, *args: Any, **kwargs: Any) -> Signature[Any]:
        """Return a signature that any application can publish, as part of a chain or a chord of its own.

        It names our exchange, not our queue: Celery would note a queue among those that the other application's
        workers read. It is written as JSON, whatever that application writes.
        """
        return super().signature(*args, **kwargs).set(exchange=QUEUE, routing_key=QUEUE, serializer="json")


class ActionTask(Task):  # type: ignore[type-arg]
    """The task class of execute_action. Logs and monitors show each step by its own name, without its inputs."""

    # Only our own code publishes it, by the thousand. Its arguments are checked when it runs.
    typing = False
    queue = QUEUE
    # A hard time limit brings the message back, as a lost child does. The claim counts both.
    acks_on_timeout = False

    def shadow_name(  # type: ignore[override]
        self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> str:
        """Return the name that logs and monitors show: `execute_action.pay[3]`."""
        del options
        return f"execute_action.{from_arguments(args, kwargs).step}"

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Publish the message; logs and monitors show the step that it is about."""
        message = from_arguments(args, kwargs)
        shown = {"argsrepr": f"({message.execution_id!r}, {message.step!r})", "kwargsrepr": "{}"}
        return super().apply_async(args, kwargs, **{**options, **shown})


def _read_arguments(plan: Any, definitions: Any = None) -> tuple[Any, Any]:
    """Return the arguments of execute_plan, however they were given."""
    return plan, definitions


def _begin_of(options: Mapping[str, Any]) -> datetime | None:
    """Return when an execution is to begin, where its `countdown` or its `eta` says so."""
    if countdown := options.get("countdown"):
        if not isinstance(countdown, int | float):
            raise _no_time("countdown", countdown)
        return _point_in_time("countdown", countdown)
    eta = options.get("eta")
    if isinstance(eta, int | float):
        raise _no_time("eta", eta)
    return _point_in_time("eta", eta)


def _point_in_time(name: str, given: Any) -> datetime | None:
    """Return the time that Celery would take an option for: seconds from now, a datetime, or ISO 8601."""
    if given is None:
        return None
    try:
        if isinstance(given, int | float):
            return datetime.now(UTC) + timedelta(seconds=given)
        at = maybe_iso8601(given)
        return maybe_make_aware(at) if at else None
    except (TypeError, ValueError, OverflowError):
        raise _no_time(name, given) from None


def _no_time(name: str, given: Any) -> WorkflowStateError:
    return WorkflowStateError(
        f"{name}={given!r} is no time: `eta` is a datetime, `countdown` a number of seconds, `expires` either of them"
    )
