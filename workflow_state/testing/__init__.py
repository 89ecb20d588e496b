"""A pytest plugin for teams that test their plans and action definitions: real Redis, real worker, canned answers.

In the conftest.py at the top: `pytest_plugins = ["workflow_state.testing"]`. It is no entry point: pytest imports those
in every run of the environment, and importing any module of this package imports Celery.

PYTEST_DONT_REWRITE: pytest warns where a conftest.py imports a plugin before it names it, and there is nothing to
rewrite: no assert statement is in here.
"""

from workflow_state.installation import install_command

try:
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"workflow_state.testing needs pytest: {install_command('testing')}", name="pytest"
    ) from error

from workflow_state.testing.answers import Answer, ReceivedRequest, make_answer
from workflow_state.testing.assertions import (
    assert_cancelled,
    assert_completed,
    assert_failed,
    assert_skipped,
    describe_state,
    error_of,
    output_of,
)
from workflow_state.testing.fixtures import workflow, workflow_engine
from workflow_state.testing.workflow import Workflow

__all__ = [
    "Answer",
    "ReceivedRequest",
    "Workflow",
    "assert_cancelled",
    "assert_completed",
    "assert_failed",
    "assert_skipped",
    "describe_state",
    "error_of",
    "make_answer",
    "output_of",
    "pytest_configure",
    "workflow",
    "workflow_engine",
]


def pytest_configure(config: pytest.Config) -> None:
    """Let warnings be errors in a team's tests: this one is Celery's (5.7 on redis-py 8)."""
    config.addinivalue_line("filterwarnings", "ignore:Call to deprecated setex:DeprecationWarning")
