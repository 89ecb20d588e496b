"""What is left over when everything has ended: no messages, no subscriptions, and nothing that stays for ever."""

from pathlib import Path

import pytest
from chaos.harness.chaos_plans import many
from chaos.harness.cluster import children_of
from chaos.options import FULL

PLANS_AT_ONCE = 100
ROUNDS = 10 if FULL else 2
# What may grow in 800 plans: what is allocated once, and a few pages of a fragmented heap.
MAX_GROWTH = 1.10


@pytest.mark.timeout(400 if FULL else 120)
@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_nothing_is_left_over(world, verdict, dice, pool):
    """Over a thousand plans memory, descriptors and threads of a worker stay what they were."""
    world.add_workers(1, "--pool", pool, "--concurrency", "8" if pool == "threads" else "2")
    sizes = []
    for _ in range(ROUNDS):
        world.submit(many(dice, PLANS_AT_ONCE if FULL else 30, delay_ms=20))
        world.wait_for_ends(120)
        sizes.append([size_of(process) for process in [world.workers[0].pid, *children_of(world.workers[0].pid)]])
    verdict(world)
    with world.connection() as redis:
        world.wait_for(
            lambda: not redis.llen("workflow_state") and not redis.hlen("workflow_state:unacked"), "nothing is queued"
        )
        # The alarm of an execution is taken out when it ends.
        assert not redis.zcard("workflow_state:alarms")
        for_ever = [key.decode() for key in redis.scan_iter() if redis.ttl(key) == -1]
        # kombu's own: which queues there are, whatever is run.
        assert [key for key in for_ever if not key.startswith("_kombu.binding")] == []
        # A worker waits for no result; the only client that may is the one that submits, and it has waited for none.
        clients = redis.client_list()
        assert [client for client in clients if int(client["sub"])] == []
    threads, descriptors = ([[size[key] for size in part] for part in sizes] for key in ("threads", "descriptors"))
    assert threads[0] == threads[-1]
    assert max(descriptors[-1]) <= max(descriptors[0]) + 4
    if FULL:
        # A child's heap finds its size within the first five hundred plans.
        early = max(sum(size["memory"] for size in part) for part in sizes[1:5])
        late = sum(size["memory"] for size in sizes[-1])
        assert late < early * MAX_GROWTH, "; ".join(
            " ".join(f"{size['memory'] // 1024}" for size in part) for part in sizes
        )


def size_of(process):
    """Return a process's memory in KiB, its descriptors and its threads."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return {
        "memory": int(status["VmRSS"].split()[0]),
        "threads": int(status["Threads"]),
        "descriptors": len(list(Path(f"/proc/{process}/fd").iterdir())),
    }
