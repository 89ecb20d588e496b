"""A worker is killed by -9 at each write to Redis, and at each phase of a request, of one small plan."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from chaos.harness.checker import check
from chaos.harness.cluster import cluster
from chaos.harness.resp_proxy import resp_proxy
from chaos.options import FULL, SEED, thorough

SAMPLE = 8
AT_ONCE = 6
# What the clock writes, at rest as well: it would only shift the numbers.
NOISE = ("workflow_state:unacked_mutex", "workflow_state:alarms", "workflow_state:worker:", "/0.celeryev", "_kombu")
NEVER = 10**9


def six_actions(execution_id):
    """Return a plan of three levels: safe, unsafe, flaky, one whose alternative runs, keyed, and a last one."""

    def action(name, definition, *dependencies, **fields):
        inputs = {"name": f"{execution_id}.{name}"}
        return {
            "id": name,
            "actionDefinitionId": definition,
            "inputs": inputs,
            "dependencies": list(dependencies),
            **fields,
        }

    return {
        "name": "six",
        "actions": [
            action("read", "echo"),
            action("flaky", "flaky"),
            action("primary", "never", errorHandling={"alternativeActionId": "other"}),
            action("other", "echo"),
            action("pay", "post", "read", "flaky"),
            action("keyed", "keyed", "primary"),
            action("last", "echo", "pay", "keyed"),
        ],
    }


def crash(service, number, when):
    """Kill the worker at that write of the plan; return what was written there, how many were, and the report."""
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        cluster(Path(folder), service) as world,
        resp_proxy(world.redis_url) as proxy,
    ):
        proxy.counts = lambda _, key: not key.startswith(NOISE)
        world.add_workers(1, "--concurrency", "8", variables={"WORKFLOW_STATE_REDIS_URL": proxy.url})
        # Every script has been loaded after that, and the worker is at rest.
        world.submit({key: six_actions(key) for key in [f"warm-{uuid4()}"]})
        world.wait_for_ends(60)
        begun = len(proxy.record)
        victim = world.workers[0]
        proxy.at_write(begun + number, when, lambda: world.kill(victim))
        execution_id = f"six-{number}-{when}-{uuid4()}"
        world.submit({execution_id: six_actions(execution_id)})
        world.wait_for_ends(60)
        report = check(world.run())
        return (proxy.fired or [None])[0], len(proxy.record) - begun, report


@pytest.mark.timeout(1_000 if FULL else 240)
def test_crash_at_every_write(service, dice, keep_report):
    """Before and after each: the plan ends, nothing completed runs again, nothing unsafe is sent twice."""
    _, writes, undisturbed = crash(service, NEVER, "before")
    assert not undisturbed.violations
    assert writes > 40
    cases = [(number, when) for number in range(1, writes + 1) for when in ("before", "after")]
    if not FULL:
        cases = dice.sample(cases, SAMPLE)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda case: crash(service, *case), cases))
    fired = [write for write, _, _ in results if write]
    # The number of writes varies a little with who is first; the last ones of the list may not be reached.
    assert len(fired) >= len(cases) * 0.8
    violations = [
        f"CHAOS_SEED={SEED}, killed {when} write {number}, {write}: {violation}"
        for (number, when), (write, _, report) in zip(cases, results, strict=True)
        for violation in report.violations
    ]
    keep_report([report for _, _, report in results])
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize("definition", ["stall_get", "stall_post"])
@pytest.mark.parametrize(
    "part", [pytest.param("nothing", marks=thorough), pytest.param("header", marks=thorough), "body"]
)
def test_crash_within_a_request(world, verdict, definition, part):
    """With nothing of the answer there, half of its header, or half of its body."""
    execution_id = f"stalled-{uuid4()}"
    inputs = {"name": f"{execution_id}.stalled", "part": part}
    world.add_workers(1)
    world.submit(
        {
            execution_id: {
                "name": "s",
                "actions": [{"id": "stalled", "actionDefinitionId": definition, "inputs": inputs}],
            }
        }
    )
    world.wait_for(lambda: world.requests_to(f"{execution_id}.stalled"), "the request has arrived")
    world.kill(world.workers[0])
    world.wait_for_ends(30)
    report = verdict(world, unsafe=frozenset({"stall_post"}))
    is_safe = definition == "stall_get"
    assert (report.unknown, len(world.requests_to(f"{execution_id}.stalled"))) == ((0, 2) if is_safe else (1, 1))
