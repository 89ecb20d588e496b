"""What the benchmarks measure on: a Redis for each side, the HTTP service, workers, and plans to run."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from redis import Redis

from workflow_state.engine.local import local_redis

HERE = Path(__file__).parent
CONCURRENCY = 16
"""The default of `worker_concurrency` (celeryconfig.py)."""
READY_WITHIN_S = 30
PLAN_WITHIN_S = 600

Levels = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Stage:
    """Two Redis servers, ours and the baseline's, and the base URL of the HTTP service."""

    ours: Redis
    bare: Redis
    service_url: str
    folder: Path

    def url(self, name: str, delay_ms: int = 0) -> str:
        """Return what a call of this name asks for."""
        return f"{self.service_url}/echo/{name}?delay_ms={delay_ms}"


@contextmanager
def stage() -> Iterator[Stage]:
    """Start all but the workers; from then on this process's own settings are those of the benchmark."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        ours_url, bare_url = stack.enter_context(local_redis()), stack.enter_context(local_redis())
        port_file = folder / "port"
        stack.enter_context(running([sys.executable, str(HERE / "service.py"), str(port_file)], folder / "service.log"))
        until(port_file.exists, "the HTTP service is up", READY_WITHIN_S)
        service_url = f"http://127.0.0.1:{port_file.read_text()}"
        definition = {"id": "echo", "endpoint": {"url": f"{service_url}/echo/{{name}}", "method": "GET"}}
        (folder / "echo.json").write_text(json.dumps(definition))
        os.environ |= {
            "WORKFLOW_STATE_REDIS_URL": ours_url,
            "WORKFLOW_STATE_ACTIONS": str(folder / "echo.json"),
            "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
            "BENCH_BARE_URL": bare_url,
            "BENCH_CONCURRENCY": str(CONCURRENCY),
        }
        yield Stage(client_of(ours_url), client_of(bare_url), service_url, folder)


def client_of(url: str) -> Redis:
    """Return a client of a private Redis."""
    return Redis(unix_socket_path=url.removeprefix("redis+socket://").partition("?")[0])


@contextmanager
def worker(
    stage: Stage, app: str = "workflow_state", *options: str, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker as a person starts it, until the block ends; it is ready when the block begins."""
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "--hostname", f"{time.monotonic_ns()}", *options]
    log = stage.folder / f"{app}-{time.monotonic_ns()}.log"
    environment = {**os.environ, "PYTHONPATH": str(HERE), **variables}
    client = stage.ours if app == "workflow_state" else stage.bare
    before = consumers(client)
    with running(command, log, environment) as process:
        until(lambda: consumers(client) > before, f"a worker of {app} waits for messages", READY_WITHIN_S)
        yield process


def consumers(client: Redis) -> int:
    """Return how many workers wait for a message right now."""
    return sum(1 for connection in client.client_list() if connection["cmd"] == "brpop")


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)  # noqa: S603 - our own
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], object], what: str, timeout_s: float) -> None:
    """Wait for a condition; SystemExit where it does not come true."""
    ends_at_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends_at_s:
            raise SystemExit(f"not within {timeout_s} s: {what}")
        time.sleep(0.01)


# --- What is run -------------------------------------------------------------------------------------------------


def usual(levels: int = 4, width: int = 5) -> Levels:
    """Return the names of the actions of a usual plan: each depends on the whole level before."""
    return [[f"l{level}_{index}" for index in range(width)] for level in range(levels)]


def plan_of(levels: Levels, delay_ms: int = 0) -> dict[str, Any]:
    """Return a plan of these levels, in which each action depends on the whole level before."""
    before: Sequence[str] = []
    actions = []
    for level in levels:
        actions += [action(name, before, delay_ms) for name in level]
        before = level
    return {"name": f"{len(actions)} actions in {len(levels)} levels", "actions": actions}


def action(name: str, dependencies: Sequence[str] = (), delay_ms: int = 0) -> dict[str, Any]:
    """Return an action that calls the service."""
    inputs = {"name": name} | ({"query.delay_ms": delay_ms} if delay_ms else {})
    return {"id": name, "actionDefinitionId": "echo", "inputs": inputs, "dependencies": list(dependencies)}


def wide(count: int) -> dict[str, Any]:
    """Return a plan of one level."""
    return {"name": f"wide {count}", "actions": [action(f"a{index}") for index in range(count)]}


def deep(count: int) -> dict[str, Any]:
    """Return a plan that is a chain."""
    names = [f"a{index}" for index in range(count)]
    chain = [action(name, names[index - 1 : index]) for index, name in enumerate(names)]
    return {"name": f"deep {count}", "actions": chain}


def scattered(count: int) -> dict[str, Any]:
    """Return a plan whose actions depend on up to three of the 200 before them, the same one each time."""
    dice = random.Random(count)
    names = [f"a{index}" for index in range(count)]
    actions = []
    for index, name in enumerate(names):
        near = names[max(0, index - 200) : index]
        actions.append(action(name, sorted(set(dice.choices(near, k=min(3, len(near)))))))
    return {"name": f"random {count}", "actions": actions}


def run_plans(plan: dict[str, Any], count: int = 1) -> None:
    """Submit a plan that many times, and wait until all have completed."""
    from workflow_state import execute_plan  # noqa: PLC0415 - it reads the environment

    handles = [execute_plan.delay(plan) for _ in range(count)]
    for handle in handles:
        state = handle.get(timeout=PLAN_WITHIN_S)
        if state["status"] != "completed":
            raise SystemExit(f"{plan['name']} ended {state['status']}: {state.get('error')}")


def run_chords(urls: Levels, count: int = 1) -> None:
    """Run the baseline that many times at once."""
    from bare_chords import run_level  # noqa: PLC0415 - likewise

    handles = [run_level.delay(urls) for _ in range(count)]
    for handle in handles:
        handle.get(timeout=PLAN_WITHIN_S)


# --- How it is measured ------------------------------------------------------------------------------------------


def timed_s(work: Callable[[], object]) -> float:
    """Return how long the work takes."""
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


def interleaved_s(rounds: int, warming: int, **sides: Callable[[], object]) -> dict[str, list[float]]:
    """Return how long each side takes, in each of the rounds, one after the other; those for warmth come first."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warming + rounds):
        for name, work in sides.items():
            taken_s = timed_s(work)
            if number >= warming:
                times[name].append(taken_s)
    return times


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Return how much CPU a process and its children have used."""
    parent = psutil.Process(process.pid)
    spent = [member.cpu_times() for member in [parent, *parent.children(recursive=True)]]
    return sum(times.user + times.system for times in spent)


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    """Return the memory of a process and its children; what they share counts once for each."""
    parent = psutil.Process(process.pid)
    return float(sum(member.memory_info().rss for member in [parent, *parent.children(recursive=True)])) / 2**20


@dataclass(frozen=True)
class Traffic:
    """What a Redis has done so far: commands, also those within scripts, and bytes in and out."""

    commands: int
    bytes_in: int
    bytes_out: int

    def __sub__(self, before: "Traffic") -> "Traffic":
        return Traffic(
            self.commands - before.commands, self.bytes_in - before.bytes_in, self.bytes_out - before.bytes_out
        )


def traffic(client: Redis) -> Traffic:
    """Return what this Redis has done so far."""
    told: Any = client.info("stats")
    return Traffic(told["total_commands_processed"], told["total_net_input_bytes"], told["total_net_output_bytes"])


def memory_of(stage: Stage) -> float:
    """Return how many bytes the executions' own keys take."""
    keys = [
        key for pattern in ("celery-task*", "workflow_state:[ep]*:*") for key in stage.ours.scan_iter(pattern, 1000)
    ]
    with stage.ours.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.memory_usage(key, samples=0)
        return float(sum(size or 0 for size in pipe.execute()))


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)
