"""The Celery application: `celery -A workflow_state worker` finds it here."""

from collections.abc import Mapping
from typing import Any

from celery import _state
from celery.signals import celeryd_init, task_postrun, worker_init, worker_process_init

from workflow_state.actions.definitions.catalog import load_catalog
from workflow_state.actions.storage.outputs import check_storage
from workflow_state.engine.application import Application
from workflow_state.engine.cancelling import take_over_revoke
from workflow_state.engine.configuration import (
    load_configuration,
    refuse_pool,
    refuse_queues,
    tell_ignored_settings,
    tell_unknown_variables,
)
from workflow_state.engine.expiry import Expiry
from workflow_state.engine.heap import bound_heap
from workflow_state.engine.intake import Intake
from workflow_state.engine.lease import Lease, keep_child_alive
from workflow_state.engine.result_backend import OVERRIDES, never_subscribe
from workflow_state.engine.rights import refuse_missing_rights
from workflow_state.engine.sweep import Alarm
from workflow_state.errors import SettingsError, WorkflowStateError
from workflow_state.settings import get_settings
from workflow_state.store.connection import redis_client
from workflow_state.store.leases import begin_incarnation, end_holder
from workflow_state.store.sealing import refuse_foreign_keys

# A team may import us beside an application of its own. That one stays the current one, so that the team's @shared_task
# and AsyncResult go on meaning it.
app = Application(
    "workflow_state",
    amqp="workflow_state.engine.broker:LeanAMQP",
    set_as_current=_state._tls.current_app is None,  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public question for it
    include=["workflow_state.executor", "workflow_state.client.outputs"],
)
# A promise: the environment is read when the settings are first needed, not when this module is imported.
app.add_defaults(load_configuration)
app.loader.override_backends = OVERRIDES
app.steps["consumer"].update((Intake, Lease, Alarm, Expiry))
task_postrun.connect(end_holder)


@celeryd_init.connect
def check_command(instance: Any = None, options: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Refuse to start with options of `celery worker` that can't work."""
    if instance is None or instance.app is not app:
        return
    given = options or {}
    try:
        refuse_pool(given.get("pool_cls") or given.get("pool") or app.conf.worker_pool, given.get("autoscale"))
    except SettingsError as error:
        raise SystemExit(f"Error: {error}") from error


@worker_init.connect
def begin_worker(sender: Any = None, **_: Any) -> None:
    """Check the queues, the definitions, the storage and the rights before the pool forks, and begin an incarnation.

    Where one of them is wrong, the worker does not start. A worker of another application, whose tasks submit plans,
    is none of ours.
    """
    if sender is None or sender.app is not app:
        return
    try:
        refuse_queues(sender)
        load_catalog()
        # Later, a request would have been sent whose answer is lost. The default, a temporary folder, is for trying
        # out: a worker whose outputs all fit into the state does not need it.
        if get_settings().storage_url:
            check_storage()
        refuse_missing_rights(app)
        refuse_foreign_keys(redis_client(app.backend))
    except WorkflowStateError as error:
        # Celery swallows other exceptions of a signal's receiver, and starts all the same.
        raise SystemExit(f"Error: {error}") from error
    tell_ignored_settings(app.conf)
    tell_unknown_variables()
    bound_heap()
    never_subscribe()
    take_over_revoke(app)
    # Celery notes each queue that a callback names, and would read them all once it has connected anew.
    queues: Any = app.amqp.queues
    queues.select(list(queues.consume_from))
    begin_incarnation()
    # Their children are told from those of another application's worker by this.
    worker_process_init.connect(begin_child)


def begin_child(**_: Any) -> None:
    """Let a child of a prefork pool say that it lives, before it takes its first task."""
    keep_child_alive(app)
