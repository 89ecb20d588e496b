"""The application of the tests' worker: the package's own, which takes the definitions of the test that runs.

`celery -A workflow_state.testing.worker worker` finds it here. A worker in production reads its own once.
"""

import json
import os
import threading
from typing import Any

from celery.signals import task_prerun

from workflow_state.actions.definitions.catalog import replace_definition_files
from workflow_state.celery import app
from workflow_state.schema import ActionDefinition
from workflow_state.settings import get_settings
from workflow_state.testing.engine import ENVIRONMENT_FILE

__all__ = ["app", "take_definitions"]

_lock = threading.Lock()
_taken: tuple[int, ...] | None = None


@task_prerun.connect
def take_definitions(**_: Any) -> None:
    """Before a task begins: take the definitions and secrets of the test that it is of."""
    global _taken  # noqa: PLW0603 - a process has one set of definitions
    (path,) = get_settings().actions
    with _lock:
        found = path.stat()
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if _taken != seen:
            os.environ.update(json.loads(path.with_name(ENVIRONMENT_FILE).read_text()))
            definitions = [ActionDefinition.model_validate(data) for data in json.loads(path.read_text())]
            replace_definition_files({definition.id: definition for definition in definitions})
            _taken = seen
