"""What all tests of a process share: a private Redis, a worker, the server that answers, and the settings.

Whatever WORKFLOW_STATE_REDIS_URL says, tests have a Redis of their own; and whatever a definition's URL is, the worker
can connect to 127.0.0.1 only.
"""

import importlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workflow_state import celeryconfig
from workflow_state.actions.definitions.catalog import forget_definition_files, replace_definition_files
from workflow_state.celery import app
from workflow_state.engine.configuration import load_configuration
from workflow_state.engine.local import Engine, find_server, local_redis, local_worker
from workflow_state.errors import SettingsError
from workflow_state.installation import install_command
from workflow_state.schema import ActionDefinition
from workflow_state.settings import PREFIX, get_settings
from workflow_state.store.connection import redis_client
from workflow_state.store.names import index_key, key_of
from workflow_state.testing.server import CannedServer, canned_server

ENVIRONMENT_FILE = "environment.json"
"""The values of `${env.NAME}`, beside the definitions; written before them."""

_WORKER_APP = "workflow_state.testing.worker"  # not imported here: it listens to the tasks of its process
_DEFINITIONS_FILE = "definitions.json"
# A team's own celeryconfig may say otherwise, and a pool of one would make of every level a sequence.
_WORKER_OPTIONS = ("--pool", "threads", "--concurrency", "16")


@dataclass(frozen=True, slots=True)
class SharedEngine:
    """A running engine; `folder` is where the worker finds its definitions."""

    engine: Engine
    server: CannedServer
    folder: Path

    def publish(self, definitions: Mapping[str, ActionDefinition], environment: Mapping[str, str]) -> None:
        """Let worker and this process have these definitions, and the worker these values of `${env.NAME}`."""
        (self.folder / ENVIRONMENT_FILE).write_text(json.dumps(environment))
        data = [definition.to_json_data() for definition in definitions.values()]
        # In one step: the worker may look at any time.
        written = self.folder / "written"
        written.write_text(json.dumps(data))
        written.replace(self.folder / _DEFINITIONS_FILE)
        replace_definition_files(definitions)

    def find_executions(self, since_s: float) -> list[str]:
        """Return the ids of all that were submitted since (in seconds since 1970), by whomever."""
        found: Any = redis_client(app.backend).zrangebyscore(index_key(), since_s * 1000 - 1, "+inf")
        return [raw.decode() for raw in found]

    def forget_pauses(self) -> None:
        """Forget what rate limits have counted, and for how long a server asked to be left alone: of another test."""
        client = redis_client(app.backend)
        keys = [*client.scan_iter(match=key_of("permits:*"), count=1_000)]
        if keys:
            client.delete(*keys)


@contextmanager
def run_shared_engine() -> Iterator[SharedEngine]:
    """Run all of it until the block ends, and set up this process to submit to it.

    Raises SettingsError where there is no Redis server to start.
    """
    try:
        find_server()
    except SettingsError as error:
        raise SettingsError(
            f"the tests need a Redis server to start: {install_command('testing')}, or put a redis-server "
            "(6.2 or newer) on the PATH"
        ) from error
    with TemporaryDirectory(prefix="workflow-state-testing-") as name, canned_server() as server, local_redis() as url:
        folder = Path(name)
        (folder / "storage").mkdir()
        (folder / ENVIRONMENT_FILE).write_text("{}")
        (folder / _DEFINITIONS_FILE).write_text("[]")
        variables = {
            f"{PREFIX}REDIS_URL": url,
            f"{PREFIX}ACTIONS": str(folder / _DEFINITIONS_FILE),
            f"{PREFIX}STORAGE_URL": str(folder / "storage"),
            f"{PREFIX}EXPIRE_OUTPUTS": "0",
            # Opens that address, and closes all others: nothing leaves the machine.
            f"{PREFIX}ALLOWED_HOSTS": "127.0.0.1",
            f"{PREFIX}ALLOW_PRIVATE_NETWORKS": "0",
            f"{PREFIX}DENIED_HOSTS": "",
        }
        with _settings(variables):
            log = folder / "worker.log"
            with local_worker(url, app=_WORKER_APP, log_file=log, extra_arguments=_WORKER_OPTIONS) as worker:
                yield SharedEngine(Engine(url, worker, log), server, folder)


@contextmanager
def _settings(variables: Mapping[str, str]) -> Iterator[None]:
    """Set up this process, and put everything back at the end."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        _read_settings_again()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _read_settings_again()


def _read_settings_again() -> None:
    get_settings.cache_clear()
    forget_definition_files()
    # Celery keeps what it has read, and the connections that it has made of it.
    importlib.reload(celeryconfig)
    app.conf.update(load_configuration())
    celery: Any = app
    celery._after_fork()  # noqa: SLF001 - what forgets the connections; there is no public name for it
    celery._backend_cache, celery._local = None, threading.local()  # noqa: SLF001 - likewise, of the result backend
