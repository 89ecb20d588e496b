"""Messages that come twice, or late, or never, and some that are none."""

import json
import time

import pytest
from chaos.harness.chaos_plans import five_actions, many
from chaos.options import FULL

# What doubling.py keeps.
COPIES_KEY = "chaos:copies"
QUEUE = ("workflow_state", "workflow_state:unacked", "workflow_state:unacked_index")


def test_every_message_twice(world, verdict, dice):
    """And all of them once more when everything is over: not one request more than with each message once."""
    world.app = "doubling"
    world.restart_client()
    world.add_workers(2, "--concurrency", "8")
    world.submit(many(dice, 100 if FULL else 30))
    world.wait_for_ends(60)
    with world.connection() as redis:
        copies = redis.lrange(COPIES_KEY, 0, -1)
        # Each was really there twice, and comes a third time.
        assert len(copies) > 5 * len(world.plans)
        redis.rpush("workflow_state", *copies)
        world.wait_for(
            lambda: not redis.llen("workflow_state") and not redis.hlen("workflow_state:unacked"),
            "the late ones are read",
        )
    verdict(world)


def test_every_message_twice_where_requests_wait_for_permits(world, verdict, dice):
    """A message that is held back becomes another one: two of them must not become four, and eight."""
    world.app = "doubling"
    world.restart_client()
    world.add_workers(2, "--concurrency", "8")
    ids = [f"limited-{number}-{dice.random()}" for number in range(20)]
    plans = {
        key: {
            "name": "limited",
            "actions": [{"id": "a", "actionDefinitionId": "limited", "inputs": {"name": f"{key}.a"}}],
        }
        for key in ids
    }
    world.submit(plans)
    most = 0

    def watch():
        nonlocal most
        with world.connection() as redis:
            most = max(most, redis.hlen("workflow_state:unacked") + redis.llen("workflow_state"))

    world.wait_for_ends(60, watch)
    # Two of the plan's and two of its action's, and on a busy machine a few more, because the two numbers are read one
    # after the other. If each wait doubled them, they would be sixteen after three.
    assert 10 < most <= 6 * len(ids)
    verdict(world)


def test_queue_deleted(world, verdict, dice):
    """Queue and unacknowledged messages are deleted again and again under live plans: all of them end."""
    world.add_workers(2, "--concurrency", "8")
    world.submit(many(dice, 200 if FULL else 30, delay_ms=600))
    with world.connection() as redis:
        for _ in range(10):
            redis.delete(*QUEUE)
            world.note("the queue was deleted")
            world.call("unended", [])
            time.sleep(0.3)  # the damage comes in strokes, whatever happens between them
    world.wait_for_ends(90)
    verdict(world)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xffnot JSON",
        b"null",
        b'{"body": "e30=", "headers": {}}',
        json.dumps(
            {
                "body": "W1tdLCB7fSwge31d",
                "content-encoding": "utf-8",
                "content-type": "application/x-python-serialize",
                "headers": {"task": "workflow_state.execute_action", "id": "1", "lang": "py"},
                "properties": {
                    "delivery_tag": "x",
                    "delivery_info": {"exchange": "", "routing_key": "q"},
                    "body_encoding": "base64",
                },
            }
        ).encode(),
    ],
    ids=["not-json", "null", "no-message", "pickle"],
)
def test_garbage_on_the_queue(world, verdict, dice, garbage):
    """No worker ends over it, and nothing is lost."""
    world.add_workers(1, "--concurrency", "8")
    pids = [worker.pid for worker in world.workers]
    world.submit(many(dice, 5))
    with world.connection() as redis:
        redis.lpush("workflow_state", garbage)
    world.note("garbage was put on the queue")
    world.submit(many(dice, 5))
    world.wait_for_ends(60)
    assert world.canary() < 10
    assert [worker.pid for worker in world.workers] == pids
    verdict(world)


def test_a_message_with_wrong_arguments_harms_no_other(world, verdict, dice):
    """Nor does one for a task that there is not."""
    world.add_workers(1, "--concurrency", "8")
    execution_id = "an-execution"
    world.plans[execution_id] = five_actions(dice, execution_id)
    world.call("publish", "workflow_state.execute_action", [execution_id, {"not": "an action"}])
    world.call("publish", "workflow_state.execute_action", [])
    world.call("publish", "workflow_state.execute_level", [7])
    world.call("publish", "workflow_state.no_such_task", [1])
    world.submit({execution_id: world.plans[execution_id]})
    world.wait_for_ends(30)
    verdict(world)
