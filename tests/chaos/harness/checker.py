"""The one checker of all chaos tests: what must hold, whatever was killed, cut off or delivered twice.

It reads what can't be argued with: the HTTP server's own journal, the final states, and the log of what was done to the
processes. Pure: data in, violations out. A request's path ends in `<execution>.<action>`; that is how one is known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any

# Settled by this long after the last fault, or by its own retries.
SETTLED_WITHIN_S = 60
# Not processed, the server says: an unsafe request may be sent again.
NOT_PROCESSED = (425, 429, 503)
# Clocks of one machine, read by two processes.
_TOLERANCE_S = 0.01


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done, to what, and when (s since 1970)."""

    at: float
    kind: str


@dataclass(frozen=True, slots=True)
class Run:
    """What was submitted, what became of it, and what the world saw."""

    plans: Mapping[str, Mapping[str, Any]]
    states: Mapping[str, Mapping[str, Any]]
    journal: Sequence[Mapping[str, Any]]
    faults: Sequence[Fault] = ()
    unsafe: frozenset[str] = frozenset({"post"})
    """Definitions of which no request may be repeated."""
    may_overlap: bool = False
    """Whether a worker was stopped past its lease: what it was sending goes on beside the new run."""
    may_forget: bool = False
    """Whether a failover lost results that nobody waited for: what is safe to repeat is sent again, and ends later."""
    revoked: frozenset[str] = frozenset()
    """Executions that were revoked: they may end cancelled."""


@dataclass(slots=True)
class Report:
    """What was found: each violation a line, and the figures of the table."""

    violations: list[str] = field(default_factory=list)
    executions: int = 0
    actions: int = 0
    faults: int = 0
    lost: int = 0
    wrong: int = 0
    overlapping: int = 0
    extra: int = 0
    extra_unsafe: int = 0
    unknown: int = 0
    settled_after_s: float = 0

    def add(self, figure: str, execution_id: str, text: str) -> None:
        """Count a violation, and tell it."""
        setattr(self, figure, getattr(self, figure) + 1)
        self.violations.append(f"{execution_id}: {text}")


COLUMNS = {
    "executions": "executions",
    "actions": "actions",
    "faults": "faults",
    "lost": "lost",
    "wrong": "wrong",
    "overlapping": "overlapping",
    "extra": "extra requests",
    "extra_unsafe": "extra unsafe",
    "unknown": "outcome unknown",
    "settled_after_s": "settled after (s)",
}


def table(rows: Mapping[str, Report]) -> str:
    """Return the reports as a Markdown table."""
    lines = [f"| scenario | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, report in rows.items():
        values = [getattr(report, column) for column in COLUMNS]
        cells = [f"{value:.1f}" if isinstance(value, float) else str(value) for value in values]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def add_up(reports: Sequence[Report]) -> Report:
    """Return one report of many runs."""
    total = Report()
    for report in reports:
        total.violations += report.violations
        total.settled_after_s = max(total.settled_after_s, report.settled_after_s)
        for name in COLUMNS.keys() - {"settled_after_s"}:
            setattr(total, name, getattr(total, name) + getattr(report, name))
    return total


def check(run: Run) -> Report:
    """Return what does not hold, and the figures."""
    report = Report(executions=len(run.plans), faults=len(run.faults))
    requests = _by_action(run.journal)
    last_fault_s = max((fault.at for fault in run.faults), default=None)
    for execution_id, plan in run.plans.items():
        state = run.states.get(execution_id)
        if state is None or "completedAt" not in state:
            told = "there is no state of it" if state is None else f"it is {state['status']} still: {_open(state)}"
            report.add("lost", execution_id, told)
            continue
        if last_fault_s is not None:
            settled_s = _seconds(state["completedAt"]) - last_fault_s
            report.settled_after_s = max(report.settled_after_s, settled_s)
            if settled_s > SETTLED_WITHIN_S:
                report.add("lost", execution_id, f"it ended {settled_s:.0f} s after the last fault")
        _check_end(run, report, execution_id, state)
        for action in plan["actions"]:
            report.actions += 1
            sent = requests.get(f"{execution_id}.{action['id']}", [])
            _check_action(run, report, execution_id, action, state, sent)
    return report


def _check_end(run: Run, report: Report, execution_id: str, state: Mapping[str, Any]) -> None:
    """Check that the execution completed, unless the outcome of an unsafe request is unknown."""
    unknown = [name for name, item in state["actionStates"].items() if _is_unknown(item)]
    report.unknown += len(unknown)
    if unknown and not run.faults:
        report.add("wrong", execution_id, f"the outcome of {unknown} is unknown, though nothing was done to it")
    if state["status"] == "cancelled" and execution_id in run.revoked:
        return
    if state["status"] != "completed" and not unknown:
        report.add("wrong", execution_id, f"it {state['status']}: {state.get('error')}")


def _check_action(
    run: Run,
    report: Report,
    execution_id: str,
    action: Mapping[str, Any],
    state: Mapping[str, Any],
    sent: Sequence[Mapping[str, Any]],
) -> None:
    item = state["actionStates"][action["id"]]
    tell = partial(report.add, execution_id=execution_id)
    name = f"action {action['id']}"
    own = "alternativeActionId" not in item.get("result", {})
    if own and item["status"] == "completed" and not any(entry["status"] and entry["status"] < 300 for entry in sent):
        tell("wrong", text=f"{name} is completed, but no request of it was answered with 2xx")
    if not sent:
        return
    _check_number(run, report, execution_id, name, item, sent)
    for earlier, later in pairwise(sent):
        if action["actionDefinitionId"] in run.unsafe and earlier["status"] not in NOT_PROCESSED:
            tell("extra_unsafe", text=f"{name} is unsafe and was sent again after {earlier['status']}")
        if later["at"] < (earlier["endedAt"] or float("inf")) - _TOLERANCE_S and not run.may_overlap:
            tell("overlapping", text=f"{name} was sent again while its request was under way")
    if len(keys := {entry["headers"].get("idempotency-key") for entry in sent}) > 1:
        tell("wrong", text=f"{name} was sent with different keys: {keys}")
    late_s = sent[-1]["at"] - _seconds(item["completedAt"])
    if late_s > _TOLERANCE_S and not run.may_overlap:
        tell("wrong", text=f"{name} was sent {late_s:.2f} s after it had ended")
    for dependency in action.get("dependencies", []):
        ended = state["actionStates"][dependency].get("completedAt")
        if ended and sent[0]["at"] < _seconds(ended) - _TOLERANCE_S and not run.may_forget:
            tell("wrong", text=f"{name} was sent before {dependency} had ended")


def _check_number(
    run: Run,
    report: Report,
    execution_id: str,
    name: str,
    item: Mapping[str, Any],
    sent: Sequence[Mapping[str, Any]],
) -> None:
    """Check that there were as many requests as the trace says, and no more beyond them than faults."""
    traced = len(item["httpTrace"])
    if len(sent) < traced:
        report.add("wrong", execution_id, f"{name} has {traced} traced requests, {len(sent)} arrived")
    # The request of an unknown outcome was sent and has no trace.
    extra = max(0, len(sent) - traced - (1 if _is_unknown(item) else 0))
    report.extra += extra
    begun, ended = sent[0]["at"], sent[-1]["at"]
    reasons = [fault for fault in run.faults if begun - 1 <= fault.at <= ended + 1]
    if extra > len(reasons) and not run.may_forget:
        report.add("wrong", execution_id, f"{name} was sent {extra} times too often, with {len(reasons)} faults")


def _by_action(journal: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in sorted(journal, key=lambda entry: entry["at"]):
        found.setdefault(entry["path"].rpartition("/")[2], []).append(entry)
    return found


def _is_unknown(item: Mapping[str, Any]) -> bool:
    return item.get("result", {}).get("error", {}).get("code") == "outcome_unknown"


def _open(state: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {item['status']}"
        for name, item in state["actionStates"].items()
        if item["status"] in ("pending", "running")
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
