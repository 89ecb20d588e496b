"""The Celery application: `celery -A workflow_state worker` finds it here."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from celery import Celery, _state
from celery.app.defaults import NAMESPACES, flatten
from celery.signals import task_postrun, worker_init, worker_process_init
from celery.utils.imports import cwd_in_path

from workflow_state.actions.definitions.catalog import load_catalog
from workflow_state.actions.storage.outputs import check_storage
from workflow_state.engine.expiry import Expiry
from workflow_state.engine.lease import Lease, keep_child_alive
from workflow_state.engine.result_backend import OVERRIDES, never_subscribe
from workflow_state.engine.sweep import Alarm
from workflow_state.errors import WorkflowStateError
from workflow_state.settings import get_settings
from workflow_state.store.leases import begin_incarnation, end_holder

CORE_SETTINGS = (
    "task_default_queue",
    "task_serializer",
    "result_serializer",
    "accept_content",
    "result_accept_content",
    "task_acks_late",
    "task_reject_on_worker_lost",
    "task_track_started",
    "task_ignore_result",
    "result_extended",
)
"""Correctness rests on these settings: a team's own celeryconfig can't change them for our application."""

CONNECTION_SETTINGS = ("broker_url", "result_backend")


def load_configuration() -> dict[str, Any]:
    """Return Celery's settings: ours, and over them those of a celeryconfig module on the path.

    Ours win for CORE_SETTINGS. Where WORKFLOW_STATE_REDIS_URL is set, it wins over a celeryconfig's own broker and
    result backend. Raises SettingsError where an environment variable is wrong.
    """
    ours = _settings_in("workflow_state.celeryconfig")
    with cwd_in_path():
        theirs = _settings_in("celeryconfig") if _have_their_own() else {}
    kept = CORE_SETTINGS + (CONNECTION_SETTINGS if get_settings().redis_url else ())
    return {**ours, **theirs, **{name: ours[name] for name in kept}}


def _have_their_own() -> bool:
    """Return whether there is a celeryconfig on the path that isn't the link to ours (as in our own repository)."""
    found = importlib.util.find_spec("celeryconfig")
    ours = importlib.util.find_spec("workflow_state.celeryconfig")
    if not (found and found.origin and ours and ours.origin):
        return False
    return not Path(found.origin).samefile(ours.origin)


def _settings_in(module: str) -> dict[str, Any]:
    known = {setting[0] for setting in flatten(NAMESPACES)}
    return {name: value for name, value in vars(importlib.import_module(module)).items() if name in known}


# A team may import us beside an application of its own. That one stays the current one, so that the team's @shared_task
# and AsyncResult go on meaning it.
app = Celery(
    "workflow_state",
    amqp="workflow_state.engine.broker:LeanAMQP",
    set_as_current=_state._tls.current_app is None,  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public question for it
    include=["workflow_state.executor", "workflow_state.client.outputs"],
)
# A promise: the environment is read when the settings are first needed, not when this module is imported.
app.add_defaults(load_configuration)
app.loader.override_backends = OVERRIDES
app.steps["consumer"].update((Lease, Alarm, Expiry))
worker_init.connect(never_subscribe)
task_postrun.connect(end_holder)


@worker_init.connect
def begin_worker(**_: Any) -> None:
    """Check the action definitions and the storage before the pool forks, and begin a new incarnation.

    Where one of them is wrong, the worker does not start.
    """
    try:
        load_catalog()
        # Later, a request would have been sent whose answer is lost. The default, a temporary folder, is for trying
        # out: a worker whose outputs all fit into the state does not need it.
        if get_settings().storage_url:
            check_storage()
    except WorkflowStateError as error:
        # Celery swallows other exceptions of a signal's receiver, and starts all the same.
        raise SystemExit(f"Error: {error}") from error
    begin_incarnation()


@worker_process_init.connect
def begin_child(**_: Any) -> None:
    """Let a child of a prefork pool say that it lives, before it takes its first task."""
    keep_child_alive(app)
