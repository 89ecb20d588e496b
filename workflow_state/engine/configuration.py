"""Celery's settings for our application: which of them a team may change, and which correctness rests on.

A team's celeryconfig.py is often that of an application of its own, beside ours. So what can't be changed is kept as it
is, and told once when a worker starts. Dictionaries are merged. What can't hold at all is refused.
"""

import importlib
import importlib.util
import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from celery.app import defaults
from celery.app.defaults import NAMESPACES, flatten
from celery.utils.imports import cwd_in_path

from workflow_state.engine.callbacks import route_callback, route_ours
from workflow_state.engine.sentinel import with_sentinels
from workflow_state.errors import SettingsError
from workflow_state.settings import find_unknown_variables, get_settings
from workflow_state.store.names import use_key_prefix

logger = logging.getLogger(__name__)

_OURS_DEFAULT = "it is for a team's own tasks, ours need Celery's default"

KEPT_SETTINGS: Mapping[str, str] = {
    "task_default_queue": "workers of another application would take our messages and drop them",
    "task_queues": "our workers would take the messages of another application and drop them",
    "task_default_exchange": "our queue has the exchange of its own name",
    "task_default_exchange_type": "our queue is a plain list in Redis",
    "task_default_routing_key": "our queue is a plain list in Redis",
    "task_create_missing_queues": "callbacks go to queues that our workers do not read",
    "control_exchange": "another application's `celery control shutdown` would end our workers",
    "task_serializer": "our messages are JSON",
    "result_serializer": "our results are JSON",
    "accept_content": "pickle and YAML on a queue run code",
    "result_accept_content": "pickle and YAML in a result run code",
    "task_compression": "our broker transport writes JSON as it is",
    "result_compression": "our result backend writes JSON as it is",
    "task_protocol": "our messages are of protocol 2",
    "task_acks_late": "a killed worker's message would be lost",
    "task_acks_on_failure_or_timeout": "a message that can't be read would come back for ever",
    "task_reject_on_worker_lost": "a killed process's message would be lost",
    "task_track_started": "it would overwrite the state of a running execution",
    "task_ignore_result": "an action's result is what its level waits for",
    "task_store_eager_result": "nothing of ours runs eagerly",
    "task_annotations": _OURS_DEFAULT,
    "task_default_rate_limit": "it is for a team's own tasks, ours have the rateLimit of a definition",
    "result_extended": "a result would hold the inputs once more",
    "result_expires": "states and results live equally long: set WORKFLOW_STATE_RETENTION_S",
    "result_failure_expires": "states and results live equally long: set WORKFLOW_STATE_RETENTION_S",
    "result_chord_expires": "a level may wait for a person as long as its execution lives",
    "result_backend_always_retry": "an answer that can't be stored now would be lost",
    "result_backend_max_retries": "an answer that can't be stored now would be lost",
    "worker_prefetch_multiplier": "a worker would hold back messages that others could run",
}
"""What correctness rests on, each with what would break: a team's celeryconfig can't change these for our workers."""

MERGED_SETTINGS = ("broker_transport_options", "result_backend_transport_options")
"""Dictionaries, to which a team's celeryconfig may add: our own keys stay."""

CONNECTION_SETTINGS = ("broker_url", "broker_read_url", "broker_write_url", "result_backend")
"""Where WORKFLOW_STATE_REDIS_URL is set, these follow from it."""

_PREFIX = "global_keyprefix"


def load_configuration() -> dict[str, Any]:
    """Return Celery's settings: ours, over them those of a celeryconfig module on the path, then what must hold.

    WORKFLOW_STATE_REDIS_URL, where set, wins over a celeryconfig's own broker and result backend. Raises SettingsError
    where an environment variable is wrong, and where a celeryconfig asks for what can't be.
    """
    ours, theirs = settings_in("workflow_state.celeryconfig"), read_their_settings()
    kept = {**KEPT_SETTINGS, **(dict.fromkeys(CONNECTION_SETTINGS, "") if get_settings().redis_url else {})}
    settings = {name: value for name, value in {**ours, **theirs}.items() if name in ours or name not in kept}
    settings |= {name: ours[name] for name in kept if name in ours}
    # Theirs are not asked about ours; what our application does not know is somebody's callback.
    routes = theirs.get("task_routes") or []
    to_theirs = partial(route_callback, theirs.get("task_default_queue"))
    settings["task_routes"] = [route_ours, *(routes if isinstance(routes, list | tuple) else [routes]), to_theirs]
    for name in MERGED_SETTINGS:
        settings[name] = {**ours.get(name, {}), **(theirs.get(name) or {}), **_our_options(ours.get(name, {}))}
    if problem := find_contradiction(settings):
        raise SettingsError(problem)
    use_key_prefix((settings[MERGED_SETTINGS[0]] or {}).get(_PREFIX, ""))
    return with_sentinels(settings)


def find_contradiction(settings: Mapping[str, Any]) -> str | None:
    """Return why these settings can't hold, in one line that names the setting; None where they can."""
    if settings.get("task_always_eager"):
        return (
            "task_always_eager can't hold for workflow_state: a plan runs in workers, and waits without holding one. "
            "Test plans with workflow_state.testing instead"
        )
    broker, results = ((settings.get(name) or {}).get(_PREFIX, "") for name in MERGED_SETTINGS)
    if broker != results:
        return (
            f"{_PREFIX} is {broker!r} in broker_transport_options and {results!r} in result_backend_transport_options: "
            "both must have the same one, or deployments that share a Redis run each other's plans"
        )
    return None


def refuse_queues(worker: Any) -> None:
    """Raise SettingsError where a worker reads other queues than ours only: plans would wait for ever."""
    queues, ours = set(worker.app.amqp.queues.consume_from), worker.app.conf.task_default_queue
    if ours not in queues:
        raise SettingsError(f"this worker reads {', '.join(sorted(queues))} only: add {ours} to its -Q, or plans wait")


def refuse_pool(pool: Any, autoscale: Any) -> None:
    """Raise SettingsError where a worker's pool can't do what it is asked for, in one line that says what to do.

    `pool` is what `--pool` or `worker_pool` says, a name or a class.
    """
    name = str(getattr(pool, "__module__", pool))
    if "gevent" in name or "eventlet" in name:
        raise SettingsError("--pool gevent and eventlet stop in the middle of a plan: take threads or processes")
    if autoscale and "thread" in name:
        raise SettingsError("--autoscale needs --pool processes: a pool of threads can't change its size")


def find_ignored(theirs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return those of a team's settings that are not followed, each with the reason."""
    return {
        name: reason for name, reason in KEPT_SETTINGS.items() if name in theirs and theirs[name] != settings.get(name)
    }


def tell_ignored_settings(settings: Mapping[str, Any]) -> None:
    """Say once, when a worker starts, which settings of a celeryconfig on the path are not followed, and why."""
    for name, reason in find_ignored(read_their_settings(), settings).items():
        logger.warning("celeryconfig.py sets %s, workflow_state keeps its own: %s", name, reason)


def tell_unknown_variables() -> None:
    """Say once, when a worker starts, which environment variables are named like a setting and are none."""
    for sentence in find_unknown_variables(os.environ):
        logger.warning("%s", sentence)


def _our_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of our transport options that a team can't change."""
    names = ("visibility_timeout", "unacked_key", "unacked_index_key", "unacked_mutex_key")
    return {name: options[name] for name in names if name in options}


def read_their_settings() -> dict[str, Any]:
    """Return the settings of a team's celeryconfig module, where there is one on the path."""
    with cwd_in_path():
        return settings_in("celeryconfig") if _have_their_own() else {}


def _have_their_own() -> bool:
    """Return whether there is a celeryconfig on the path that isn't the link to ours (as in our own repository)."""
    found = importlib.util.find_spec("celeryconfig")
    ours = importlib.util.find_spec("workflow_state.celeryconfig")
    if not (found and found.origin and ours and ours.origin):
        return False
    return not Path(found.origin).samefile(ours.origin)


def settings_in(module: str) -> dict[str, Any]:
    """Return those of a module's names that are settings of Celery, such as `BROKER_URL` by their names of today."""
    known = {setting[0] for setting in flatten(NAMESPACES)}
    new_names: Mapping[str, str] = defaults._TO_NEW_KEY  # type: ignore[attr-defined]  # noqa: SLF001 - Celery's own table
    found = vars(importlib.import_module(module))
    old = {new_names[name]: value for name, value in found.items() if name in new_names}
    return {**old, **{name: value for name, value in found.items() if name in known}}
