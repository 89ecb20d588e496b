"""What the chaos tests share: one cluster for each test, and the check of what became of it.

What a test found goes along with its report, as a user property, to whichever process prints the table
(tests/conftest.py).
"""

import random
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from chaos.harness.checker import Report, add_up, check
from chaos.harness.cluster import Cluster, cluster
from chaos.options import SEED
from helpers.http_service import Service, http_service


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
def keep_report(request: pytest.FixtureRequest):
    """Return what adds up the reports of many runs to the test's row of the table."""

    def keep(reports: list[Report]):
        scenario = request.node.name.removeprefix("test_")
        row = {"scenario": scenario, "report": asdict(add_up(reports))}
        request.node.user_properties.append(("chaos", row))

    return keep


@pytest.fixture
def verdict(keep_report):
    """Return what checks a run, keeps its row of the table, and fails the test where something does not hold."""

    def judge(made: Cluster, **fields):
        report = check(made.run(**fields))
        keep_report([report])
        shown = "\n".join(report.violations[:30])
        log = made.log()[-3_000:] if report.violations else ""
        assert not report.violations, f"CHAOS_SEED={SEED}, {len(report.violations)} violations\n{shown}\n{log}"
        return report

    return judge
