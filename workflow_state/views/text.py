"""How executions look as text: lines for a terminal, a pipe and a picture's labels. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from workflow_state.schema import (
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionStatus,
    ActionSuccess,
    ExecutionPlan,
    ExecutionState,
    ExecutionSummary,
    HttpTraceEntry,
    RunState,
)
from workflow_state.views.progress import MOST_NAMED, Doing, count_definitions, find_doing, is_to_come, name_actions

# Printable for Python, but nothing that a person sees: fillers, variation selectors, other ignorable code points.
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_SEEN = re.compile("[^" + _INVISIBLE + "]*")
_NOT_ASCII = re.compile("[^\x20-\x7e]+")


def changes(
    before: ExecutionState | None,
    after: ExecutionState,
    levels: Sequence[Sequence[str]],
    now: datetime,
    *,
    plan: ExecutionPlan | None = None,
) -> list[str]:
    """Return a line for everything that happened between two states; `levels` has the action ids level by level.

    With the plan it also tells how long lists are, and of which definitions the many actions of a level are.
    """
    lines: list[str] = []
    doing, did = find_doing(after, plan), find_doing(before, plan) if before else {}
    for number, level in enumerate(levels, start=1):
        has_begun = _has_begun(after, level)
        if has_begun and not (before and _has_begun(before, level)):
            lines.append(f"level {number} of {len(levels)}: {name_actions(level, plan)}")
        for action_id in level:
            state = after.action_states[action_id]
            previous = before.action_states.get(action_id) if before else None
            is_new = _stage(state, doing) != (_stage(previous, did) if previous else None)
            if is_new and (line := describe(state, now, doing.get(action_id))):
                lines.append(f"  {action_id}: {line}")
    return [*map(plain, lines)]


def summary(state: ExecutionState) -> str:
    """Return one line about an execution: how it ended, how long it took, and the counts."""
    metrics = state.metrics
    took = f" in {seconds(metrics.total_duration)}" if metrics.total_duration is not None else ""
    return (
        f"{state.status}{took}: {metrics.completed_actions} completed{_by_fallback(state)}, "
        f"{metrics.failed_actions} failed, {metrics.skipped_actions} skipped"
    )


def _by_fallback(state: ExecutionState) -> str:
    number = sum(action.completed_by_fallback for action in state.action_states.values())
    return f" ({number} by {'its fallback' if number == 1 else 'their fallbacks'})" if number else ""


def explanation(state: ExecutionState) -> list[str]:
    """Return what a person wants to know beside the counts: which outcomes came true, and which request failed how."""
    outcomes = [f"  expected outcome: {item.name}, it came true" for item in state.validations if item.passed]
    if state.error is None:
        return [*map(plain, outcomes)]
    # Of 404 the category says that the endpoint was removed, and most often only one thing is not there.
    kind = "http_404" if state.error.code == "http_404" else state.error.category
    lines = [f"error: {state.error.message} [{kind}]"]
    action_id = state.error.context.get("actionId")
    failed = state.action_states.get(action_id) if action_id else None
    if failed:
        lines += _trace_lines(failed.http_trace)
    else:
        lines += [f"  {name}: {text}" for name, text in state.error.context.items()]
    if state.error.suggestion:
        lines.append(f"  {state.error.suggestion}")
    return [*map(plain, lines)]


def _trace_lines(trace: Sequence[HttpTraceEntry]) -> list[str]:
    lines: list[str] = []
    attempt, before = 0, None
    for entry in trace:
        label = "redirected" if before and before.is_followed_redirect else "then"
        if before is None or not (before.is_followed_redirect or before.continued):
            attempt += 1
            label = f"attempt {attempt}"
        lines.append(f"  {label}: {traced(entry)}")
        before = entry
    return lines


def traced(entry: HttpTraceEntry) -> str:
    """Return one request of a trace as a line."""
    request = f"{entry.request.method} {entry.request.url}"
    if entry.response:
        return f"{request} → {entry.response.status} after {seconds(entry.response.duration)}"
    return f"{request} → {entry.error or 'no answer'}"


def executions_table(summaries: Sequence[ExecutionSummary]) -> list[str]:
    """Return a list of executions as aligned lines."""
    rows = [("ID", "STATUS", "SUBMITTED", "NAME")]
    rows += [(item.id, str(item.status), local_time(item.submitted_at), item.name) for item in summaries]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines with aligned columns."""
    rows = [[*map(plain, row)] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def plain(text: str) -> str:
    r"""Return a text as one line in which everything can be seen: an escape character is written as `\x1b`.

    Written out are control characters, all spaces but the usual one, what has no width, what changes the direction of
    writing, tags, fillers, variation selectors, and code points that mean nothing. The texts come from servers and
    plans. With any of these they could show a person another request than the one that is to be confirmed.
    """
    return _NOT_ASCII.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    run = found[0]
    if run.isprintable() and _SEEN.fullmatch(run):
        return run
    return "".join(
        char if char.isprintable() and _SEEN.fullmatch(char) else char.encode("unicode_escape").decode() for char in run
    )


def shorten(text: str, most: int) -> str:
    """Return at most so many characters of a text, with `…` at the end where it was cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def outcome(state: RunState) -> str:
    """Return in a few words the status of an action, with its duration and the number of attempts."""
    took = f" in {seconds(state.duration)}" if state.duration is not None and state.attempts else ""
    attempts = f", {state.attempts} attempts" if state.attempts > 1 else ""
    return f"{state.status}{_by_what(state)}{took}{attempts}"


def _by_what(state: RunState) -> str:
    """Return by what else than its own request an action or an element completed."""
    result = state.result if isinstance(state, ActionExecutionState) else None
    if isinstance(result, ActionSuccess) and result.alternative_action_id:
        return f" by its alternative {result.alternative_action_id}"
    is_fallback = result.used_fallback if isinstance(result, ActionSuccess) else getattr(state, "used_fallback", False)
    return " by its fallback value" if is_fallback else ""


def count(number: int, what: str) -> str:
    """Return a number of things: `1 action`, `2 actions`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def local_time(moment: datetime) -> str:
    """Return a time as a person reads it, in the local time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(milliseconds: float) -> str:
    """Return a duration as a person reads it."""
    if milliseconds < 10_000:  # noqa: PLR2004 - below ten seconds the hundredths say something
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds / 1000:.1f} s"


def _has_begun(state: ExecutionState, level: Sequence[str]) -> bool:
    return any(state.action_states[action_id].started_at is not None for action_id in level)


def _stage(state: ActionExecutionState, doing: Mapping[str, Doing]) -> tuple[Any, ...]:
    known = doing.get(state.action_id)
    return state.status, state.attempts, state.next_attempt_at is not None, known.stage if known else None


def describe(state: ActionExecutionState, now: datetime, doing: Doing | None = None) -> str | None:
    """Return the state of an action in words, or None where nothing has happened yet.

    `doing` is what `find_doing` found about it.
    """
    if state.result:
        return _describe_end(state)
    if state.next_attempt_at:
        wait_ms = max(0.0, (state.next_attempt_at - now).total_seconds() * 1000)
        last = f": {traced(state.http_trace[-1])}" if state.http_trace else ""
        return f"attempt {state.attempts} failed, retry in {seconds(wait_ms)}{last}"
    if doing:
        return str(doing)
    if state.status is ActionStatus.RUNNING:
        return f"running, attempt {state.attempts}" if state.attempts > 1 else "running"
    return None


def _describe_end(state: ActionExecutionState) -> str:
    attempts = f" ({state.attempts} attempts)" if state.attempts > 1 else ""
    took = f" in {seconds(state.duration)}" if state.duration is not None else ""
    match state.result:
        case ActionSkip(reason=reason):
            return f"skipped: {reason}"
        case ActionFailure(error=error):
            return f"failed{took}{attempts}: {error.message}"
        case ActionSuccess(assumed=True):
            return "assumed done, by decision"
    by_itself = isinstance(state.result, ActionSuccess) and bool(state.result.used_fallback)
    return f"completed{_by_what(state)}{took}{attempts}{_why_fallback(state, by_itself=by_itself)}"


def _why_fallback(state: ActionExecutionState, *, by_itself: bool) -> str:
    if by_itself:
        return f": {traced(state.http_trace[-1])}" if state.http_trace else ""
    elements = state.elements or []
    number = sum(bool(element.used_fallback) for element in elements)
    return f", {number} of {count(len(elements), 'element')} by the fallback value" if number else ""


def action_lines(states: Mapping[str, ActionExecutionState]) -> list[str]:
    """Return a line about the state of each action."""
    return _lines_of(states, {})


def progress_lines(state: ExecutionState, plan: ExecutionPlan | None) -> list[str]:
    """Return a line about each action, and one about all that are still to come where these are many."""
    to_come = [name for name, action in state.action_states.items() if is_to_come(action)]
    doing = find_doing(state, plan)
    if len(to_come) <= MOST_NAMED:
        return _lines_of(state.action_states, doing)
    begun = {name: action for name, action in state.action_states.items() if not is_to_come(action)}
    return [*_lines_of(begun, doing), plain(f"  {len(to_come)} to come{count_definitions(to_come, plan, before=': ')}")]


def _lines_of(states: Mapping[str, ActionExecutionState], doing: Mapping[str, Doing]) -> list[str]:
    now = datetime.now(UTC)
    rows = [(f"  {name}", describe(state, now, doing.get(name)) or "pending") for name, state in states.items()]
    return aligned(rows) if rows else []
