"""Workers that are restarted, stopped for a while, or lose their pool's children."""

import json
import os
import signal
import time
from uuid import uuid4

from chaos.harness.chaos_plans import five_actions, many
from chaos.harness.cluster import children_of
from chaos.options import thorough


def test_rolling_restart(world, verdict, dice):
    """SIGTERM to one worker after the other, under load: nothing is lost, and no request sent a second time."""
    world.add_workers(3, "--concurrency", "8")
    world.canary()
    for index in range(3):
        world.submit(many(dice, 20, delay_ms=500))
        worker = world.workers[index]
        world.kill(worker, signal.SIGTERM)
        world.wait_for(lambda: worker.poll() is not None, "the worker has ended", timeout_s=40)  # noqa: B023 - at once
    world.wait_for_ends(60)
    # A restart is no fault: exactly the requests of the traces, and not one more.
    verdict(world, faults=())


def test_worker_stopped_past_its_lease(world, verdict, dice):
    """Its work is taken over; when it wakes up it may finish what it was sending, and changes nothing more."""
    world.add_workers(2, "--concurrency", "8")
    world.canary()
    world.submit(many(dice, 20, delay_ms=800))
    world.wait_for(lambda: world.under_way() > 8, "requests of both are under way")
    sleeper = world.workers[0]
    world.kill(sleeper, signal.SIGSTOP)
    time.sleep(9)  # three times its lease
    world.kill(sleeper, signal.SIGCONT)
    world.wait_for_ends(60)
    verdict(world, may_overlap=True)


@thorough
def test_children_killed(world, verdict, dice):
    """Of a prefork pool, one after the other, under load."""
    world.add_workers(1, "--pool", "processes", "--concurrency", "4")
    world.canary()
    world.submit(many(dice, 15, delay_ms=500))
    for _ in range(8):
        children = children_of(world.workers[0].pid)
        if children:
            os.kill(dice.choice(children), signal.SIGKILL)
            world.note("SIGKILL to a child")
        time.sleep(0.4)  # strokes of damage, whatever happens between them
    world.wait_for_ends(90)
    verdict(world)


@thorough
def test_poison(world):
    """An action kills its worker each time: five children of a pool die over it, then it is the action that ends."""
    execution_id = f"poison-{uuid4()}"
    inputs = {"name": f"{execution_id}.poison", "query.delay_ms": 60_000}
    world.add_workers(1, "--pool", "processes", "--concurrency", "2")
    action = {"id": "poison", "actionDefinitionId": "echo", "inputs": inputs}
    world.submit({execution_id: {"name": "poison", "actions": [action]}})
    for count in range(1, 6):
        world.wait_for(lambda: len(world.requests_to(f"{execution_id}.poison")) == count, "it is sent again", 40)  # noqa: B023 - called at once
        with world.connection() as redis:
            claim = json.loads(redis.hget(f"workflow_state:progress:{execution_id}", "poison"))
        os.kill(int(claim["process"].partition(":")[2]), signal.SIGKILL)
    world.wait_for_ends(30)
    state = world.call("states", [execution_id])[execution_id]
    error = state["actionStates"]["poison"]["result"]["error"]
    assert (state["status"], error["category"], error["code"]) == ("failed", "state_inconsistent", "workers_lost")
    assert len(world.requests_to(f"{execution_id}.poison")) == 5


def test_killed_while_a_level_task_is_at_work(world, verdict, dice):
    """Here it looks at expected outcomes, for seconds; another worker does it over once the lease has run out."""
    execution_id = f"outcome-{uuid4()}"
    # Each of them copies the list.
    rows = [1] * 200_000
    exists = {"reference": "${inputs.rows}", "operator": "exists"}
    validations = [{"name": f"{number}", **exists} for number in range(12)]
    outcome = {"description": "slow", "validations": validations}
    world.add_workers(2, "--concurrency", "4")
    world.canary()
    plan = {**five_actions(dice, execution_id), "inputs": {"rows": rows}, "expectedOutcome": outcome}
    world.submit({execution_id: plan})

    def claim():
        with world.connection() as redis:
            return json.loads(redis.hget(f"workflow_state:progress:{execution_id}", ":level") or b"{}")

    last_level = 3
    found = world.wait_for(lambda: claim().get("level") == last_level and claim(), "the last level's task has begun")
    pid = int(found["process"].partition(":")[2])
    [holder] = [worker for worker in world.workers if worker.pid == pid]
    world.kill(holder)
    world.wait_for_ends(60)
    assert claim()["losses"] == 1
    assert claim()["process"] != found["process"]
    verdict(world)
