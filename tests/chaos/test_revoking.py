"""Executions are revoked under load, by each of Celery's ways: they end, and nothing more of them is sent."""

import time

from chaos.harness.chaos_plans import many
from chaos.options import FULL

# Requests that had begun, and the time that a command takes to get to a worker.
_AT_LATEST_S = 1.0


def test_revoked_under_load(world, verdict, dice):
    """Half of them, the execution or one of its actions, with and without `terminate`; the others complete."""
    count = 60 if FULL else 16
    world.add_workers(2, "--concurrency", "8")
    world.canary()
    plans = many(dice, count, delay_ms=800)
    world.submit(plans)
    revoked = {}
    for execution_id in dice.sample(list(plans), count // 2):
        step = dice.choice(["", "~read", "~pay", "~last"])
        world.call("revoke", execution_id + step, dice.choice(["handle", "control", "terminate"]))
        revoked[execution_id] = time.time()
    world.wait_for_ends(60)
    report = verdict(world, faults=(), revoked=frozenset(revoked))
    states = world.call("states", list(plans))
    assert {state["status"] for key, state in states.items() if key not in revoked} == {"completed"}
    # Some may have ended before.
    assert "cancelled" in {states[key]["status"] for key in revoked}, report
    with world.service.lock:
        late = [
            (entry["path"], entry["at"] - revoked[key])
            for entry in world.service.journal
            if (key := entry["path"].rpartition("/")[2].partition(".")[0]) in revoked
            and states[key]["status"] == "cancelled"
            and entry["at"] > revoked[key] + _AT_LATEST_S
        ]
    assert late == []
