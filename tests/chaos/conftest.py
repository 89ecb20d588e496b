"""What the chaos tests share: a seed, how much of them to run, and one cluster for each test.

CHAOS=full runs all of it (make chaos), otherwise a small part; CHAOS_SEED=… replays.
"""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from checker import Report, add_up, check, table
from cluster import Cluster, cluster
from http_service import Service, http_service

FULL = os.environ.get("CHAOS") == "full"
thorough = pytest.mark.skipif(not FULL, reason="left to `make chaos`")
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(2**31))

_reports: dict[str, Report] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of all scenarios that ran."""
    if _reports:
        terminalreporter.write_line(f"\nchaos, CHAOS_SEED={SEED}\n{table(_reports)}")


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Serve what the plans call."""
    with http_service() as running:
        yield running


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Return the test's own dice: the same for the same seed."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def world(service: Service) -> Iterator[Cluster]:
    """Run a cluster without workers; the test adds them."""
    # A socket's path must be short.
    with service.lock:
        service.journal.clear()
        service.seen.clear()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, cluster(Path(folder), service) as made:
        yield made


@pytest.fixture
def keep_report():
    """Return what adds up the reports of many runs to one row of the table."""

    def keep(name: str, reports: list[Report]):
        _reports[name] = add_up(reports)

    return keep


@pytest.fixture
def verdict(request: pytest.FixtureRequest):
    """Return what checks a run, keeps its row of the table, and fails the test where something does not hold."""

    def judge(made: Cluster, **fields):
        report = check(made.run(**fields))
        _reports[request.node.name.removeprefix("test_")] = report
        shown = "\n".join(report.violations[:30])
        log = made.log()[-3_000:] if report.violations else ""
        assert not report.violations, f"CHAOS_SEED={SEED}, {len(report.violations)} violations\n{shown}\n{log}"
        return report

    return judge
