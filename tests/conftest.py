"""What the processes that share a run have in common: their environment, and the table of what the chaos found."""

import os
import random
import signal
from collections.abc import Iterator

import pytest
from chaos.harness.checker import Report, table
from hypothesis import HealthCheck, settings

from workflow_state.actions.definitions.catalog import forget_definition_files
from workflow_state.settings import get_settings

# The other processes have it from this one's environment.
os.environ["CHAOS_SEED"] = os.environ.get("CHAOS_SEED") or str(random.randrange(2**31))

# Hundreds of commands and workers are started: without its bytecode each would compile the application anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A shell without job control starts what is to run in the background deaf to Ctrl-C, and all of its children with it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes depends on what else runs on the machine.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_reports: dict[str, Report] = {}


@pytest.fixture(autouse=True)
def settings_of_the_environment() -> Iterator[None]:
    """Have no test see the settings that another one read under an environment of its own, nor leave it such."""
    yield
    known = get_settings() if get_settings.cache_info().currsize else None
    get_settings.cache_clear()
    if known and known.actions != get_settings().actions:
        forget_definition_files()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the rows of the table, which come along with the tests' reports, from whichever process."""
    for name, value in report.user_properties:
        if name == "chaos":
            _reports[value["scenario"]] = Report(**value["report"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of all scenarios that ran."""
    if _reports:
        terminalreporter.write_line(f"\nchaos, CHAOS_SEED={os.environ['CHAOS_SEED']}\n{table(_reports)}")
