"""The fixtures of the plugin."""

from collections.abc import Iterator
from itertools import count

import pytest

from workflow_state.errors import SettingsError
from workflow_state.testing.engine import SharedEngine, run_shared_engine
from workflow_state.testing.workflow import Workflow

_numbers = count(1)


@pytest.fixture(scope="session")
def workflow_engine() -> Iterator[SharedEngine]:
    """Run a private Redis, a worker and the server that answers, for all tests of this process.

    From then on this process submits to that Redis, so that code which calls execute_plan.delay can be tested, too.
    """
    try:
        with run_shared_engine() as engine:
            yield engine
    except SettingsError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def workflow(workflow_engine: SharedEngine, pytestconfig: pytest.Config) -> Iterator[Workflow]:
    """Give a test its own definitions, answers and executions."""
    running = Workflow(workflow_engine, next(_numbers), pytestconfig.rootpath)
    yield running
    running.close()
