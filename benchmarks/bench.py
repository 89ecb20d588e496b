"""What the engine costs, beside the same HTTP calls on hand-written Celery chords: `make bench`, ten minutes.

Sides are interleaved in one run, medians and ratios are shown: machines are shared and noisy, seconds by themselves say
little. results/ is written where no part is named; `bench.py latency scale` measures these only, and `bench.py pools`
shows what the defaults of celeryconfig.py were chosen by.

With `python benchmarks/peers.py install` beforehand celery-director and Prefect run the same plan.
"""

import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from encrypted import measure_encryption
from peers import FOLDER, find_peers, measure_peer
from report import Part, Plot, write_report
from stage import (
    CONCURRENCY,
    Stage,
    action,
    cpu_s,
    deep,
    interleaved_s,
    median,
    memory_of,
    plan_of,
    resident_mb,
    run_chords,
    run_plans,
    scattered,
    stage,
    timed_s,
    traffic,
    until,
    usual,
    wide,
    worker,
)
from start import measure_start, measure_worker_start

RESULTS = Path(__file__).with_name("results")
RECOVERED_WITHIN_S = 90
LARGEST = 10_000
IN_LINE = 5_000


def measure_latency(stage: Stage) -> Part:
    """Measure (a) how long a plan takes from submission to its final state, and on other engines."""
    part = Part("Time of one plan", ["plan", "workflow_state", "bare chords", "ratio"])
    with worker(stage), worker(stage, "bare_chords"):
        for name, levels, delay_ms, rounds in (
            ("1 action", [["a"]], 0, 20),
            ("20 actions, calls of 0 ms", usual(), 0, 20),
            ("20 actions, calls of 20 ms", usual(), 20, 10),
            ("20 actions, calls of 100 ms", usual(), 100, 8),
        ):
            plan = plan_of(levels, delay_ms)
            urls = [[stage.url(action_id, delay_ms) for action_id in level] for level in levels]
            times = interleaved_s(rounds, 1, ours=lambda p=plan: run_plans(p), bare=lambda u=urls: run_chords(u))
            ours_ms, bare_ms = (median(times[side]) * 1000 for side in ("ours", "bare"))
            part.row(name, f"{ours_ms:.0f} ms", f"{bare_ms:.0f} ms", f"{ours_ms / bare_ms:.2f}")
            if delay_ms == 0 and len(levels) > 1:
                part.plots.append(Plot("20 actions of 0 ms", "ms", {"workflow_state": ours_ms, "bare chords": bare_ms}))
    for name, python in find_peers(FOLDER).items():
        times_ms = measure_peer(name, python, stage.url("peer"), rounds=7, timeout_s=90)
        if times_ms:
            ours_ms = part.plots[-1].bars["workflow_state"]
            part.plots[-1].bars[name] = median(times_ms)
            told = f"{median(times_ms):.0f} ms, {median(times_ms) / ours_ms:.1f} times workflow_state's"
            part.note(f"{name}, the same 20 actions of 0 ms: {told}.")
    return part


def measure_throughput(stage: Stage) -> Part:
    """Measure (b) how many actions a second 200 plans at once make, and what they cost the worker."""
    part = Part("200 plans of 20 actions at once", ["", "workflow_state", "bare chords", "ratio"])
    plan, urls = plan_of(usual()), [[stage.url(name) for name in level] for level in usual()]
    with worker(stage) as ours, worker(stage, "bare_chords") as bare:
        run_plans(plan, 10)
        run_chords(urls, 10)
        spent: dict[str, list[float]] = {"ours": [], "bare": []}
        sides = {"ours": (ours, lambda: run_plans(plan, 200)), "bare": (bare, lambda: run_chords(urls, 200))}

        def spending(side: str) -> Callable[[], object]:
            process, work = sides[side]

            def measured() -> None:
                before_s = cpu_s(process)
                work()
                spent[side].append((cpu_s(process) - before_s) / 4_000 * 1000)

            return measured

        times = interleaved_s(2, 0, ours=spending("ours"), bare=spending("bare"))
    rates = {side: 4_000 / median(times[side]) for side in ("ours", "bare")}
    cpu_ms = {side: median(spent[side]) for side in ("ours", "bare")}
    ratio = rates["ours"] / rates["bare"]
    part.row("actions a second", f"{rates['ours']:.0f}", f"{rates['bare']:.0f}", f"{ratio:.2f}")
    ratio = cpu_ms["ours"] / cpu_ms["bare"]
    part.row("CPU of the worker for an action", f"{cpu_ms['ours']:.2f} ms", f"{cpu_ms['bare']:.2f} ms", f"{ratio:.2f}")
    return part


def measure_scale(stage: Stage) -> Part:
    """Measure (c) what an action costs in plans of 20 to 10,000; and a small plan's time while the largest run."""
    part = Part("Cost of an action, by the size of its plan", ["actions", "wide", "deep (a chain)", "random"])
    shapes = {"wide": wide, "deep": deep, "random": scattered}
    costs: dict[str, dict[int, float]] = {name: {} for name in shapes}
    small = plan_of(usual())
    with worker(stage):
        run_plans(small)
        alone_s = median([timed_s(lambda: run_plans(small)) for _ in range(10)])
        beside_s = times_beside(wide(IN_LINE), small)
        for count in (20, 200, 2_000, LARGEST):
            for name, shape in shapes.items():
                plan, rounds = shape(count), {20: 5, 200: 3}.get(count, 1)
                taken_s = median([timed_s(lambda p=plan: run_plans(p)) for _ in range(rounds)])
                costs[name][count] = taken_s / count * 1000
                say(f"  {name} {count}: {taken_s:.1f} s")
    for count in costs["wide"]:
        part.row(f"{count:,}", *(f"{costs[name][count]:.1f} ms" for name in shapes))
    part.row("10,000 to 200", *(f"{costs[name][LARGEST] / costs[name][200]:.2f}" for name in shapes))
    part.note(
        f"A plan of 20 actions takes {alone_s * 1000:.0f} ms alone, and {median(beside_s) * 1000:.0f} ms "
        f"(median of {len(beside_s)}) while a level of {IN_LINE:,} actions is in line before it."
    )
    part.plots.append(Plot("Cost of an action", "ms", lines=costs))
    return part


def times_beside(large: dict[str, Any], small: dict[str, Any]) -> list[float]:
    """Return how long the small plan takes, again and again, as long as the large one runs."""
    times = []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_plans, large)
        # Its actions are in line by then.
        time.sleep(3)
        while not running.done():
            times.append(timed_s(lambda: run_plans(small)))
        running.result()
    return times


def measure_redis(stage: Stage) -> Part:
    """Measure (d) Redis commands and bytes for an action, and what a finished execution leaves."""
    part = Part("Redis, for each action", ["plan", "commands", "KB in", "KB out", "a finished execution"])
    with worker(stage), worker(stage, "bare_chords"):
        for name, plan, count in (("20 actions", plan_of(usual()), 20), ("200 in one level", wide(200), 4)):
            run_plans(plan)
            keys_before, memory_before = stage.ours.dbsize(), memory_of(stage)
            before = traffic(stage.ours)
            run_plans(plan, count)
            used, actions = traffic(stage.ours) - before, count * len(plan["actions"])
            until(lambda: stage.ours.zcard("workflow_state:unacked_index") == 0, "all is acknowledged", 10)
            left_kb = (memory_of(stage) - memory_before) / count / 1024
            assert stage.ours.dbsize() > keys_before  # noqa: S101 - what is kept is what is measured
            part.row(name, *told(used.commands, used.bytes_in, used.bytes_out, actions), f"{left_kb:.0f} KB")
        urls = [[stage.url(name) for name in level] for level in usual()]
        run_chords(urls)
        before = traffic(stage.bare)
        run_chords(urls, 20)
        used = traffic(stage.bare) - before
        part.row("20 actions, bare chords", *told(used.commands, used.bytes_in, used.bytes_out, 400), "")
    return part


def told(commands: int, bytes_in: int, bytes_out: int, actions: int) -> tuple[str, str, str]:
    """Return the three figures of a row."""
    return f"{commands / actions:.1f}", f"{bytes_in / actions / 1000:.1f}", f"{bytes_out / actions / 1000:.1f}"


def measure_memory(stage: Stage) -> Part:
    """Measure (e) the worker's memory after a thousand plans."""
    part = Part("Memory of a worker", ["after", "MB", "descriptors", "threads"])
    plan = plan_of(usual(2, 3))
    with worker(stage) as process:
        seen = psutil.Process(process.pid)
        done = 0
        for count in (100, 500, 1_000):
            run_plans(plan, count - done)
            done = count
            part.row(f"{count:,} plans", f"{resident_mb(process):.0f}", str(seen.num_fds()), str(seen.num_threads()))
    return part


def measure_recovery(stage: Stage) -> Part:
    """Measure (f) how long after `kill -9` a worker's action runs elsewhere."""
    from workflow_state import execute_plan, get_execution_state  # noqa: PLC0415 - it reads the environment

    part = Part("kill -9 of a worker", ["", "s"])
    plan = {"name": "long", "actions": [action("long", delay_ms=25_000)]}
    with worker(stage) as first:
        handle = execute_plan.delay(plan)
        until(lambda: get_execution_state(handle.id).action_states["long"].attempts == 1, "the action runs", 10)
        with worker(stage):
            first.send_signal(signal.SIGKILL)
            killed_s = time.monotonic()
            name = f"workflow_state:progress:{handle.id}"
            until(
                lambda: json.loads(stage.ours.hget(name, "long") or b"{}").get("losses") == 1,
                "another worker has taken the action over",
                RECOVERED_WITHIN_S,
            )
            taken_s = time.monotonic() - killed_s
            handle.get(timeout=60)
    part.row("until its action runs elsewhere", f"{taken_s:.1f}")
    return part


def measure_concurrency(stage: Stage) -> Part:
    """Measure (g) how close 500 actions of 200 ms come to what the default worker could do at the most."""
    part = Part("500 actions of 200 ms on one worker", ["", "time", "of the ideal concurrency"])
    names = [[f"a{index}" for index in range(500)]]
    plan, urls = plan_of(names, 200), [[stage.url(name, 200) for name in names[0]]]
    ideal_s = 500 * 0.2 / CONCURRENCY
    with worker(stage), worker(stage, "bare_chords"):
        run_plans(plan_of(usual()))
        run_chords([[stage.url("warm")]])
        times = interleaved_s(3, 0, ours=lambda: run_plans(plan), bare=lambda: run_chords(urls))
    for name, side in (("workflow_state", "ours"), ("bare chords", "bare")):
        taken_s = median(times[side])
        part.row(name, f"{taken_s:.2f} s", f"{ideal_s / taken_s:.0%}")
    part.note(f"{CONCURRENCY} at a time, the default; the ideal is {ideal_s:.2f} s.")
    return part


def measure_observability(stage: Stage) -> Part:
    """Measure what being watched costs: events for Flower, log lines, and the trace of an attempt."""
    part = Part("The price of being watched", ["a worker with", "actions a second", "CPU for an action"])
    plan = plan_of(usual())
    variants = {
        "JSON lines (the default)": ((), {}),
        "no JSON lines": ((), {"WORKFLOW_STATE_LOG_LEVEL": "error"}),
        "JSON lines and events (-E)": (("-E",), {}),
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    costs: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(2):
        for name, (options, variables) in variants.items():
            with worker(stage, "workflow_state", *options, **variables) as process:
                run_plans(plan, 2)
                before_s = cpu_s(process)
                taken_s = timed_s(lambda: run_plans(plan, 50))
                rates[name].append(1_000 / taken_s)
                costs[name].append(cpu_s(process) - before_s)
    for name in variants:
        part.row(name, f"{median(rates[name]):.0f}", f"{median(costs[name]):.2f} ms")
    part.note(f"An attempt through execute_http_action, with its trace: {attempt_ms(stage)}.")
    return part


def measure_pools(stage: Stage) -> Part:
    """Measure what the defaults of celeryconfig.py are chosen by: the pool, its size, and the prefetch."""
    part = Part("Pools", ["a worker with", "actions a second of 0 ms", "of 100 ms", "MB"])
    plan, waiting = plan_of(usual()), plan_of(usual(2, 100), 100)
    variants = {
        "16 threads (the default)": (),
        "32 threads": ("--concurrency", "32"),
        "16 threads, prefetching 4 each": ("--prefetch-multiplier", "4"),
        "16 processes": ("--pool", "processes", "--concurrency", "16"),
    }
    for name, options in variants.items():
        with worker(stage, "workflow_state", *options) as process:
            run_plans(plan, 2)
            taken_s = timed_s(lambda: run_plans(plan, 40))
            waited_s = timed_s(lambda: run_plans(waiting, 2))
            part.row(name, f"{800 / taken_s:.0f}", f"{400 / waited_s:.0f}", f"{resident_mb(process):.0f}")
    return part


def attempt_ms(stage: Stage) -> str:
    """Return what one attempt takes by itself, beside the same call on a plain client."""
    import httpx  # noqa: PLC0415 - of this figure only

    from workflow_state import execute_http_action  # noqa: PLC0415 - it reads the environment

    with httpx.Client() as client:
        times = interleaved_s(
            300,
            1,
            ours=lambda: execute_http_action("echo", {"name": "a"}),
            plain=lambda: client.get(stage.url("a")).json(),
        )
    return f"{median(times['ours']) * 1000:.2f} ms, and {median(times['plain']) * 1000:.2f} ms with httpx alone"


PARTS: dict[str, Callable[[Stage], Part]] = {
    "latency": measure_latency,
    "throughput": measure_throughput,
    "scale": measure_scale,
    "redis": measure_redis,
    "memory": measure_memory,
    "recovery": measure_recovery,
    "concurrency": measure_concurrency,
    "observability": measure_observability,
    "encryption": measure_encryption,
    "start": measure_start,
    "worker-start": measure_worker_start,
    "pools": measure_pools,
}


# What the defaults were chosen by, and what a start costs; nobody needs it each time.
LEFT_OUT = ("pools", "start", "worker-start")


def say(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)


def main(names: list[str]) -> None:
    """Measure the parts, all of them by default, and print the report."""
    if unknown := [name for name in names if name not in PARTS]:
        raise SystemExit(f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    begun_s = time.monotonic()
    parts = []
    with stage() as made:
        for name in names or [part for part in PARTS if part not in LEFT_OUT]:
            say(f"{name} …")
            parts.append(PARTS[name](made))
            for client in (made.ours, made.bare):
                client.flushall()
    about = f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
    about += f", {time.monotonic() - begun_s:.0f} s in all"
    print(write_report(parts, about, None if names else RESULTS))


if __name__ == "__main__":
    main(sys.argv[1:])
