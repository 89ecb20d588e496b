"""Another application on the same Redis, whose jobs take longer than our visibility timeout."""

import os
import subprocess
import sys

from chaos.harness.chaos_plans import many
from chaos.options import thorough
from helpers.waiting import wait_until

_LASTS_S = 9


@thorough
def test_a_neighbour_with_long_jobs(world, verdict, dice):
    """Jobs and countdowns of three times our visibility timeout run once, while our worker is killed and comes back."""
    environment = {**os.environ, "NEIGHBOUR_REDIS_URL": world.redis_url, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "celery", "-A", "helpers.neighbour", "worker", "--pool", "threads"]
    log_file = world.folder / "neighbour.log"
    call = f"from helpers.neighbour import last_for\nfor n in range(4):\n    last_for.delay({_LASTS_S}, f'job-{{n}}')\n"
    call += f"    last_for.apply_async((0, f'later-{{n}}'), countdown={_LASTS_S})"
    with log_file.open("wb") as log:
        neighbour = subprocess.Popen(
            [*command, "--concurrency", "4", "--loglevel", "INFO"], stdout=log, stderr=log, env=environment
        )
    try:
        wait_until(lambda: "ready." in log_file.read_text(), "the neighbour's worker is ready")
        world.add_workers(2, "--concurrency", "8")
        world.canary()
        subprocess.run([sys.executable, "-c", call], env=environment, check=True)
        world.submit(many(dice, 30, delay_ms=500))
        world.kill(world.workers[0])
        with world.connection() as redis:
            names = [f"neighbour:{kind}-{number}" for kind in ("job", "later") for number in range(4)]
            world.wait_for(lambda: all(redis.llen(name) for name in names), "each has begun", timeout_s=60)
            world.wait_for_ends(60)
            assert [redis.llen(name) for name in names] == [1] * len(names)
    finally:
        neighbour.terminate()
        neighbour.wait(timeout=30)
    verdict(world)
