"""Connections to Redis that break, go silent or are slow, and a Redis that stands still, is full, or read-only."""

import signal
import time

import pytest
from chaos.harness.chaos_plans import many
from chaos.harness.resp_proxy import resp_proxy
from chaos.options import thorough

# By the issue: what goes silent is noticed and left within this.
RECOVERED_WITHIN_S = 15


@pytest.fixture
def proxied(world, request):
    """Have the workers reach Redis by a proxy."""
    with resp_proxy(world.redis_url) as proxy:
        variables = {"WORKFLOW_STATE_REDIS_URL": proxy.url, **getattr(request, "param", {})}
        world.add_workers(2, "--concurrency", "8", variables=variables)
        assert world.canary() < 20
        yield proxy
        for worker in world.workers:
            worker.kill()
            worker.wait()
        world.workers.clear()


def test_connections_reset(world, proxied, verdict, dice):
    """All of them, eight times under load: the broken connection's messages come again while their runs go on."""
    world.submit(many(dice, 40, delay_ms=600))
    for _ in range(8):
        proxied.reset_all()
        world.note("the connections were reset")
        world.supervise()
        time.sleep(0.4)  # strokes of damage, whatever happens between them
    world.wait_for_ends(90)
    verdict(world)


@thorough
def test_connections_silent(world, proxied, verdict, dice):
    """Without a FIN; new ones work again after two seconds."""
    world.submit(many(dice, 20, delay_ms=600))
    proxied.silence()
    world.note("the connections went silent")
    time.sleep(2)  # as long as the network is away
    proxied.speak()
    spoke_s = time.monotonic()
    world.note("new connections work")
    world.canary()
    recovered_s = time.monotonic() - spoke_s
    assert recovered_s < RECOVERED_WITHIN_S, world.log()
    world.wait_for_ends(90)
    # A renewal that meets a silent connection takes three seconds to notice, which is as long as the lease here.
    verdict(world, may_overlap=True)


@thorough
@pytest.mark.parametrize("proxied", [{"WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "30"}], indirect=True, ids=["200ms"])
def test_latency(world, proxied, verdict, dice):
    """200 ms for each round trip: slow, and nothing else."""
    proxied.latency_s = 0.1
    world.submit(many(dice, 3))
    world.wait_for_ends(90)
    verdict(world)


@thorough
def test_redis_stands_still(world, verdict, dice):
    """For twelve seconds, longer than every timeout and than the lease."""
    world.add_workers(2, "--concurrency", "8")
    world.canary()
    world.submit(many(dice, 20, delay_ms=600))
    world.redis.send_signal(signal.SIGSTOP)
    world.note("Redis was stopped")
    time.sleep(12)  # as long as it stands still
    world.redis.send_signal(signal.SIGCONT)
    world.note("Redis goes on")
    world.wait_for_ends(90)
    assert world.canary() < 10
    # Their leases ran out, though nobody had died: a request may be sent a second time beside the first.
    verdict(world, may_overlap=True)


def test_redis_is_full(world, verdict, dice):
    """It refuses writes for a while; workers end over that, and are started again."""
    world.add_workers(2, "--concurrency", "8")
    world.canary()
    world.submit(many(dice, 20, delay_ms=600))
    with world.connection() as redis:
        redis.config_set("maxmemory", 1)
        world.note("Redis is full")
        for _ in range(40):
            world.supervise()
            time.sleep(0.1)  # as long as it is full
        redis.config_set("maxmemory", 0)
        world.note("Redis takes writes again")
    world.wait_for_ends(90)
    assert world.canary() < 10
    # No lease could be renewed: see above.
    verdict(world, may_overlap=True)


@thorough
def test_redis_is_read_only(world, verdict, dice):
    """As after a failover to a replica."""
    world.add_workers(2, "--concurrency", "8")
    world.canary()
    world.submit(many(dice, 20, delay_ms=600))
    with world.connection() as redis:
        redis.config_set("replica-serve-stale-data", "yes")
        redis.replicaof("127.0.0.1", 1)
        world.note("Redis is read-only")
        for _ in range(40):
            world.supervise()
            time.sleep(0.1)  # as long as it is
        redis.replicaof("NO", "ONE")
        world.note("Redis takes writes again")
    world.wait_for_ends(90)
    assert world.canary() < 10
    # No lease could be renewed: see above.
    verdict(world, may_overlap=True)
