"""What encryption costs: the same plans on a worker with keys and on one without, by turns."""

import base64
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from report import Part
from stage import Stage, cpu_s, median, memory_of, plan_of, run_plans, timed_s, usual, worker

from workflow_state.encryption import KEY_BYTES, seal, unseal
from workflow_state.settings import get_settings

ROUNDS = 5
PLANS = 40
KEYS = "WORKFLOW_STATE_KEYS"
MARKER = "workflow_state:encryption"


def measure_encryption(stage: Stage) -> Part:
    """Measure what keys cost a plan, its worker and Redis, and what a value costs by itself."""
    head = ["", "actions a second", "CPU for an action", "CPU of who submits, for a plan", "a finished execution"]
    part = Part("The price of encryption", head)
    variants = {"without keys": "", "with keys": base64.b64encode(os.urandom(KEY_BYTES)).decode()}
    taken: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, key in variants.items():
            with having_key(stage, key):
                taken[name].append(measure_once(stage, key))
    for name, rounds in taken.items():
        rate, worker_ms, submitter_ms, left_kb = (median(values) for values in zip(*rounds, strict=True))
        part.row(name, f"{rate:.0f}", f"{worker_ms:.2f} ms", f"{submitter_ms:.1f} ms", f"{left_kb:.0f} KB")
    part.note(f"Medians of {ROUNDS} rounds, by turns. CPU to encrypt and decrypt a value: {of_a_value()}.")
    return part


def measure_once(stage: Stage, key: str) -> tuple[float, float, float, float]:
    """Return actions a second, the worker's CPU for an action and the submitter's for a plan in ms, and what is left.

    The last is the KB in Redis of one execution.
    """
    plan = plan_of(usual())
    with worker(stage, **{KEYS: key}) as process:
        run_plans(plan, 2)
        stage.ours.delete(*stage.ours.keys("celery-task-meta*"), *stage.ours.keys("workflow_state:[ep]*:*"))
        before_s, own_before_s = cpu_s(process), time.process_time()
        taken_s = timed_s(lambda: run_plans(plan, PLANS))
        worker_s, own_s = cpu_s(process) - before_s, time.process_time() - own_before_s
        actions = PLANS * len(plan["actions"])
        return actions / taken_s, worker_s / actions * 1000, own_s / PLANS * 1000, memory_of(stage) / PLANS / 1024


@contextmanager
def having_key(stage: Stage, key: str) -> Iterator[None]:
    """Have this process submit with the key; what encrypted executions leave keeps nobody from submitting without."""
    os.environ[KEYS] = key
    get_settings.cache_clear()
    try:
        yield
    finally:
        del os.environ[KEYS]
        get_settings.cache_clear()
        stage.ours.delete(MARKER)


def of_a_value() -> str:
    """Return what it takes to encrypt a value and to decrypt it, by its size."""
    keys = [os.urandom(KEY_BYTES)]
    told = []
    for name, size, rounds in (("1 KB", 2**10, 3_000), ("64 KB", 2**16, 1_000), ("10 MB", 10 * 2**20, 15)):
        data = os.urandom(size)
        unseal(seal(data, keys, "e", "f"), keys, "e", "f")
        before_s = time.process_time()
        for _ in range(rounds):
            unseal(seal(data, keys, "e", "f"), keys, "e", "f")
        told.append(f"{name} in {(time.process_time() - before_s) / rounds * 1e6:,.0f} µs")
    return ", ".join(told)
