"""Redis goes away for a while, and comes back with its append-only file: nobody needs a restart."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from chaos.harness import steady_caller as caller
from chaos.harness.cluster import environment_of, start_redis
from chaos.options import thorough

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
        process = subprocess.Popen(
            [sys.executable, caller.__file__, str(path)],
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
    world.redis.kill()
    world.redis.wait()
    world.note("SIGKILL to Redis")
    left = time.time()
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


@pytest.mark.parametrize("pool", ["threads", "processes"])
@pytest.mark.parametrize("away_s", [4, pytest.param(8, marks=thorough), pytest.param(25, marks=thorough)])
def test_redis_away(world, verdict, pool, away_s):
    """The worker lives on, a waiting `.get()` returns, and the submitter needs no restart."""
    world.add_workers(1, "--pool", pool, "--concurrency", "4")
    world.canary()
    worker = world.workers[0]
    with steady_caller(world) as read_log:
        world.wait_for(lambda: any(entry["call"] == "final" for entry in read_log()), "the service has had an answer")
        world.wait_for(lambda: world.under_way() > 0, "a request is under way")
        outages = [outage(world, away_s)]
        back = outages[0][1]
        world.wait_for(
            lambda: any(entry["at"] > back for entry in read_log() if entry["call"] == "final"),
            "an execution has ended since",
            timeout_s=30,
        )
        first = min(entry["at"] for entry in read_log() if entry["call"] == "final" and entry["at"] > back)
        assert worker.poll() is None, "the worker has exited"
        time.sleep(3)  # more calls, after all is well again
    log = read_log()
    assert not (wrong := judge(log, outages)), "\n".join(wrong[:20])
    assert first - back < _BACK_WITHIN_S + _SLACK_S, f"{first - back:.1f} s until the first plan was done"
    world.wait_for_ends(60)
    assert world.workers[0] is worker, "the worker was started anew"
