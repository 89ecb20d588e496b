"""What it costs to start: the command's processor time, and a worker's until it waits for messages."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from report import Part
from stage import Stage, cpu_s, median, worker

ROUNDS = 9
WORKER_ROUNDS = 5
EXAMPLES = Path(__file__).parents[1] / "examples"


def measure_start(_: Stage) -> Part:
    """Measure how much of a processor a start takes, the sides by turns, and show the medians."""
    part = Part("Processor time of a start", ["what", "CPU"])
    plan = [str(EXAMPLES / "condition.json"), "--actions", str(EXAMPLES / "actions")]
    command = [sys.executable, "-m", "workflow_state.cli"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "workflow-state --help": [*command, "--help"],
        "workflow-state validate PLAN --actions FOLDER": [
            sys.executable,
            "-m",
            "workflow_state.cli",
            "validate",
            *plan,
        ],
        "import workflow_state": [sys.executable, "-c", "import workflow_state"],
        "from workflow_state import execute_plan": [sys.executable, "-c", "from workflow_state import execute_plan"],
    }
    spent_s: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, arguments in commands.items():
            spent_s[name].append(cpu_of_run_s(arguments))
    for name, times_s in spent_s.items():
        part.row(name, f"{median(times_s):.2f} s")
    return part


def measure_worker_start(stage: Stage) -> Part:
    """Measure likewise a worker, ours and one of hand-written chords, until it waits for messages."""
    part = Part("Processor time of a worker until it waits for messages", ["workflow_state", "bare chords"])
    spent_s: dict[str, list[float]] = {"workflow_state": [], "bare_chords": []}
    for _ in range(WORKER_ROUNDS):
        for app, times_s in spent_s.items():
            with worker(stage, app) as process:
                times_s.append(cpu_s(process))
    part.row(*(f"{median(times_s):.2f} s" for times_s in spent_s.values()))
    return part


def cpu_of_run_s(command: Sequence[str]) -> float:
    """Return the processor time of one process, from its beginning to its end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime
