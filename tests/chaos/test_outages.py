"""Redis goes away for a while, and comes back with its append-only file: nobody needs a restart."""

import json
import subprocess
import time
from contextlib import contextmanager
from functools import partial

import httpx
import pytest
from chaos.harness import steady_caller as caller
from chaos.harness.chaos_plans import many
from chaos.harness.cluster import environment_of, open_python, start_redis
from chaos.options import thorough
from helpers.command import CLI
from helpers.servers import free_port
from helpers.waiting import in_time

_BACK_WITHIN_S = 5
# A plan's own requests, and a machine that does other things beside.
_SLACK_S = 3
_OURS = "WorkflowStateError"


@contextmanager
def steady_caller(world):
    """Run the service beside the test; yields its log's reader. It has ended, by itself, when the block has."""
    path = world.folder / "steady.jsonl"
    path.touch()
    with (world.folder / "steady.log").open("ab") as log:
        process = open_python(
            ["-m", "steady_caller", str(path)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment_of(world),
        )
    try:
        yield lambda: [json.loads(line) for line in path.read_text().splitlines()]
        assert process.stdin
        process.stdin.close()
        assert process.wait(timeout=120) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def outage(world, duration_s):
    """Kill Redis, start it again after so many seconds, and return when it was away."""
    left = time.time()
    world.redis.kill()
    world.redis.wait()
    world.note("SIGKILL to Redis")
    time.sleep(duration_s)  # the outage itself
    start_redis(world)
    return left, time.time()


def judge(log, outages):
    """Return what does not hold in the service's log."""
    wrong = []
    finals = {entry["id"]: entry["status"] for entry in log if entry["call"] == "final"}
    for entry in log:
        if entry["call"] in ("final", "size", "end"):
            continue
        beginning, end = entry["at"], entry["at"] + entry["took_s"]
        # Redis may be away while the call lasts, or for as long after it came back as is allowed.
        touched = any(beginning < back + _BACK_WITHIN_S and end > left for left, back in outages)
        if entry["call"] == "get":
            if "error" in entry or finals.get(entry["id"]) != "completed":
                wrong.append(f"a waiting get() ended with {entry.get('message')!r}: {finals.get(entry['id'])}")
        elif "error" in entry:
            if not touched:
                wrong.append(f"{entry['call']} failed with Redis there: {entry['message']}")
            if _OURS not in entry["error"]:
                wrong.append(f"{entry['call']} raised {entry['error'][0]}, none of ours: {entry['message']}")
        if entry["call"] != "get" and entry["took_s"] > 5:
            wrong.append(f"{entry['call']} took {entry['took_s']:.1f} s, and ended with {entry.get('message')!r}")
    return wrong


def take_over_plans(world, log):
    """Have the checker look at each of the service's executions that it knows the end of."""
    world.plans |= {entry["id"]: caller.plan_for(entry["id"]) for entry in log if entry["call"] == "final"}


def end_after(read_log, moment):
    """Return when the first `.get()` returned after this moment, None where none has so far."""
    return min((entry["at"] for entry in read_log() if entry["call"] == "final" and entry["at"] > moment), default=None)


@pytest.mark.parametrize("pool", ["threads", "processes"])
@pytest.mark.parametrize("away_s", [4, pytest.param(8, marks=thorough), pytest.param(25, marks=thorough)])
def test_redis_away(world, verdict, pool, away_s):
    """The worker lives on, a waiting `.get()` returns, and the submitter needs no restart."""
    world.add_workers(1, "--pool", pool, "--concurrency", "4")
    world.canary()
    worker = world.workers[0]
    with steady_caller(world) as read_log:
        world.wait_for(lambda: end_after(read_log, 0), "the service has had an answer")
        world.wait_for(lambda: world.under_way() > 0, "a request is under way")
        outages = [outage(world, away_s)]
        back = outages[0][1]
        first = world.wait_for(lambda: end_after(read_log, back), "an execution has ended since", timeout_s=30)
        assert worker.poll() is None, "the worker has exited"
        time.sleep(3)  # more calls, after all is well again
    log = read_log()
    assert not (wrong := judge(log, outages)), "\n".join(wrong[:20])
    assert first - back < _BACK_WITHIN_S + _SLACK_S, f"{first - back:.1f} s until the first plan was done"
    take_over_plans(world, log)
    world.wait_for_ends(60)
    assert world.workers[0] is worker, "the worker was started anew"
    # Away for longer than the lease, which nobody can renew then: what is safe to repeat may be sent once more.
    verdict(world, may_overlap=True)


@thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_ten_outages(world, verdict, dice, pool):
    """After each of them the service answers again within five seconds, and nothing grows in it or in the worker."""
    world.add_workers(1, "--pool", pool, "--concurrency", "4")
    world.canary()
    worker, outages, sizes, after_s = world.workers[0], [], [], []
    with steady_caller(world) as read_log:
        for away_s in dice.sample([1, 2, 3, 4, 5, 8, 13, 20, 30, 60], 10):
            outages.append(outage(world, away_s))
            back = outages[-1][1]
            first = world.wait_for(partial(end_after, read_log, back), "an execution has ended since", timeout_s=30)
            after_s.append(first - back)
            time.sleep(5)  # the most that it may need; then its size is that of rest
            sizes.append(caller.size_of(worker.pid))
    log = read_log()
    assert not (wrong := judge(log, outages)), "\n".join(wrong[:20])
    assert max(after_s) < _BACK_WITHIN_S + _SLACK_S, after_s
    of_service = [entry for entry in log if entry["call"] == "size"]
    for of_one in (sizes, of_service):
        begun, ended = of_one[1], of_one[-1]
        assert ended["descriptors"] <= begun["descriptors"] + 10, of_one
        assert ended["threads"] <= begun["threads"] + 3, of_one
        assert ended["rss_kb"] <= begun["rss_kb"] * 1.3, of_one
    take_over_plans(world, log)
    world.wait_for_ends(60)
    assert world.workers[0] is worker, "the worker was started anew"
    # Away for longer than the lease, which nobody can renew then: what is safe to repeat may be sent once more.
    verdict(world, may_overlap=True)


def test_a_worker_that_starts_before_redis(world, verdict, dice):
    """It waits, and takes work once Redis is there."""
    plans = many(dice, 3)
    world.submit(plans)
    world.redis.kill()
    world.redis.wait()
    world.note("SIGKILL to Redis")
    world.add_workers(1, "--concurrency", "4")
    worker = world.workers[0]
    time.sleep(4)  # it tries, and fails, several times
    start_redis(world)
    world.wait_for_ends(30)
    assert world.workers[0] is worker, "the worker was started anew"
    verdict(world)


def test_who_watches_goes_on(world, verdict, dice):
    """The command that watches, and the run page: its lists answer 503 meanwhile, its stream goes on to the end."""
    world.add_workers(1, "--concurrency", "4")
    world.canary()
    (execution_id, plan) = next(iter(many(dice, 1, delay_ms=1).items()))
    plan["actions"][0]["inputs"]["query.delay_ms"] = 6_000
    world.submit({execution_id: plan})
    world.wait_for(lambda: world.under_way() > 0, "a request is under way")
    with command(world, "status", execution_id, "--watch") as watching, page(world) as client:
        with client.stream("GET", f"/api/executions/{execution_id}/events") as stream:
            lines = stream.iter_lines()
            next(lines)
            assert watching.stdout.readline().startswith(b"level 1 of "), "the command does not watch yet"
            world.redis.kill()
            world.redis.wait()
            world.note("SIGKILL to Redis")
            assert in_time(_BACK_WITHIN_S, partial(client.get, "/api/executions")).status_code == 503
            time.sleep(2)  # an outage that both notice
            start_redis(world)
            assert any(line == "event: end" for line in lines)
        assert client.get(f"/api/executions/{execution_id}").json()["status"] == "completed"
        # It looks as often as before: the longer the outage, the less often it would look, if that counted as reading.
        shown, said = watching.communicate(timeout=10)
    assert watching.returncode == 0, said
    assert f"{execution_id}  completed in ".encode() in shown
    assert b"waiting until it is there again" in said
    world.wait_for_ends(30)
    verdict(world)


@contextmanager
def command(world, *arguments):
    """Run the command beside the test."""
    process = open_python([*CLI, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment_of(world))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def page(world):
    """Serve the run page by the command, and yield a client of it."""
    port = free_port()
    with (
        command(world, "web", "--port", str(port)),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        world.wait_for(lambda: _answers(client), "the page is served")
        yield client


def _answers(client):
    try:
        return client.get("/api/executions").status_code == 200
    except httpx.ConnectError:
        return False
