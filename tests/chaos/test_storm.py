"""A storm: workers and Redis are killed by -9 at random, over plans under way."""

import time

import pytest
from chaos.harness.chaos_plans import many
from chaos.options import FULL

PLANS, MIN_WORKER_KILLS, MAX_STORM_S = (1_000, 20, 240) if FULL else (60, 4, 30)
WORKERS = 4
TICK_S = 0.25
# The small part is short: its storm is a heavier one.
P_WORKER, P_REDIS = (0.08, 0.02) if FULL else (0.25, 0.1)


@pytest.mark.timeout(600 if FULL else 120)
def test_storm(world, verdict, dice):
    """Nothing is lost, nothing is wrong, and nothing is sent again without need."""
    world.add_workers(WORKERS, "--concurrency", "8")
    plans = many(dice, PLANS)
    waiting = list(plans.items())
    begun_s = next_tick_s = time.monotonic()

    def storm():
        nonlocal next_tick_s
        now_s = time.monotonic()
        if now_s < next_tick_s or now_s > begun_s + MAX_STORM_S:
            return
        next_tick_s = now_s + TICK_S
        if dice.random() < P_WORKER:
            world.kill(dice.choice(world.workers))
        if dice.random() < P_REDIS:
            world.kill_redis()

    while waiting:
        part, waiting = dict(waiting[:5]), waiting[5:]
        world.submit(part)
        storm()
        world.supervise()
    world.wait_for_ends(MAX_STORM_S, storm)
    while len([fault for fault in world.faults if "worker" in fault.kind]) < MIN_WORKER_KILLS:
        # A mild storm, by the dice: a test without faults would prove nothing.
        world.submit(many(dice, 5))
        world.kill(dice.choice(world.workers))
        world.supervise()
    world.wait_for_ends(90)
    report = verdict(world)
    assert report.faults >= MIN_WORKER_KILLS
