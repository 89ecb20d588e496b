"""One real Redis, one real HTTP service and one real worker for all acceptance tests of a run."""

import importlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from helpers.command import CLI
from helpers.definitions import API_TOKEN, DEFINITIONS
from helpers.forked_python import run_python
from helpers.http_service import Service, http_service

from workflow_state import celeryconfig
from workflow_state.actions.definitions import catalog
from workflow_state.celery import app
from workflow_state.engine.configuration import load_configuration
from workflow_state.engine.local import local_redis, local_worker
from workflow_state.settings import get_settings


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Serve what the plans call."""
    with http_service() as running:
        yield running


@pytest.fixture(scope="session")
def definitions(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the action definitions into a folder, and return it."""
    folder = tmp_path_factory.mktemp("actions")
    (folder / "test.yaml").write_text(DEFINITIONS.format(url=service.url))
    return folder


@pytest.fixture(scope="session")
def redis_url(definitions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Redis of the tests' own, with this process set up to use it."""
    with local_redis() as url:
        os.environ |= {
            "WORKFLOW_STATE_REDIS_URL": url,
            "WORKFLOW_STATE_ACTIONS": str(definitions),
            "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
            "WORKFLOW_STATE_STORAGE_URL": str(tmp_path_factory.mktemp("storage")),
            "TEST_API_TOKEN": API_TOKEN,
        }
        get_settings.cache_clear()
        catalog.forget_catalog()
        # pytest's collection looks at the tasks that a test module imports, and that makes Celery read its settings; a
        # test that ran before may have had it connect. Which tests a process of the run has had is chance.
        importlib.reload(celeryconfig)
        app.conf.update(load_configuration())
        app._pool = app._backend_cache = None  # noqa: SLF001 - Celery has no verb for it
        app._local = threading.local()  # noqa: SLF001 - likewise
        yield url
        app.close()


@pytest.fixture(scope="session")
def worker(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run `celery -A workflow_state worker`, and return its log file."""
    log_file = tmp_path_factory.mktemp("worker") / "worker.log"
    with local_worker(redis_url, log_file=log_file, extra_arguments=("-E",)):
        yield log_file


@pytest.fixture
def cli(definitions, tmp_path):
    """Run the command in an empty folder; without a Redis unless one is given."""

    def run(*arguments, redis_url="", stdin="", **variables):
        environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": redis_url, "TMPDIR": str(tmp_path)}
        environment |= {"WORKFLOW_STATE_ACTIONS": str(definitions), "TEST_API_TOKEN": "t", **variables}
        return run_python([*CLI, *arguments], env=environment, stdin=stdin, text=True, cwd=tmp_path)

    return run


@pytest.fixture
def plan_file(tmp_path):
    """Write a plan into a file and return its path."""

    def write(document):
        path = tmp_path / f"{uuid4().hex}.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    return write
