"""Sentinels make a replica the primary, under load: whoever submits and whoever works goes on without a restart."""

import signal
import tempfile
import time
from pathlib import Path

import pytest
from chaos.harness.chaos_plans import many
from chaos.harness.cluster import cluster
from chaos.options import thorough
from helpers.watched_redis import watched_redis

# From the moment that the sentinels have a new primary.
GOES_ON_WITHIN_S = 15


@pytest.fixture
def watched():
    """Run a primary, a replica and three sentinels."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, watched_redis(Path(folder)) as made:
        yield made


@pytest.fixture
def watched_world(service, watched):
    """Run a cluster on them, without workers."""
    with service.lock:
        service.journal.clear()
        service.seen.clear()
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        cluster(Path(folder), service, url=watched.url) as made,
    ):
        yield made


def fail_over(world, watched, how):
    """Do this to the primary, wait until the sentinels have another one, and return what was the primary."""
    primary = watched.primary()
    primary.process.send_signal(how)
    world.note(f"{how.name} to the primary")
    world.wait_for(lambda: watched.primary_port() not in (0, primary.port), "there is a new primary", timeout_s=40)
    world.note("there is a new primary")
    return primary


def check_that_nobody_ended(world, workers):
    """Require that workers and client go on: a failover is no reason to end."""
    assert [worker.poll() for worker in workers] == [None] * len(workers), world.log()[-3_000:]
    assert world.client.poll() is None


def test_primary_is_killed(watched_world, watched, verdict, dice):
    """Once, under load."""
    world = watched_world
    world.add_workers(2, "--concurrency", "8")
    workers = list(world.workers)
    world.canary()
    world.submit(many(dice, 15, delay_ms=600))
    fail_over(world, watched, signal.SIGKILL)
    world.submit(many(dice, 5))
    world.wait_for_ends(60)
    assert world.canary() < GOES_ON_WITHIN_S
    check_that_nobody_ended(world, workers)
    verdict(world, may_overlap=True, may_forget=True)


@thorough
@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_primary_is_cut_off(watched_world, watched, verdict, dice, pool):
    """It stands still, nobody gets a FIN, and when it wakes up it takes itself for the primary still."""
    world = watched_world
    world.add_workers(2, "--pool", pool, "--concurrency", "8")
    workers = list(world.workers)
    world.canary()
    world.submit(many(dice, 20, delay_ms=600))
    primary = fail_over(world, watched, signal.SIGSTOP)
    world.submit(many(dice, 10, delay_ms=600))
    time.sleep(2)  # as long as it stays away
    primary.process.send_signal(signal.SIGCONT)
    world.note("the old primary is back")
    world.wait_for_ends(90)
    assert world.canary() < GOES_ON_WITHIN_S
    check_that_nobody_ended(world, workers)
    verdict(world, may_overlap=True, may_forget=True)
