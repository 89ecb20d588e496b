"""The timeline of an execution: when each action ran, when it waited, and which actions determined the end. Pure.

Times are milliseconds since the execution began.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from workflow_state.plans.levels import schedule_levels, show_levels
from workflow_state.schema import (
    ActionExecutionState,
    ActionSkip,
    ActionSuccess,
    ExecutionPlan,
    ExecutionState,
    PlannedAction,
    RunState,
)

# Sections of one row that are closer than this are drawn as one: those of redirects and of a list's elements, say.
_TOUCHING_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Section:
    """The time of a request. For one without an answer it lasts until the next request, or the end of the action."""

    begin_ms: float
    end_ms: float
    is_answered: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One action: when it began and ended, and its requests.

    `begin_ms` is None where the action did not run; `note` says why.
    """

    action_id: str
    state: ActionExecutionState
    begin_ms: float | None
    end_ms: float
    sections: Sequence[Section]
    is_critical: bool
    note: str

    @property
    def duration_ms(self) -> float:
        """How long it took so far."""
        return self.end_ms - (self.begin_ms or 0.0) if self.state.duration is None else self.state.duration


@dataclass(frozen=True, slots=True)
class Timeline:
    """The rows level by level, each alternative below its primary; `critical` are the ids of the critical path."""

    levels: Sequence[Sequence[Row]]
    critical: Sequence[str]
    end_ms: float


def find_timeline(plan: ExecutionPlan, state: ExecutionState, now: datetime) -> Timeline:
    """Return the timeline of an execution of this plan; an action that still runs lasts until `now`."""
    begun = {
        action.id: times
        for action in plan.actions
        if (times := _times(state.action_states[action.id], state, now)) is not None
    }
    path = _critical_path(plan.actions, {name: end for name, (_, end) in begun.items()}, state)
    levels = [
        [_row(action, state, begun, action.id in path, now) for action in level] for level in show_levels(plan.actions)
    ]
    ends = [row.end_ms for level in levels for row in level]
    end_ms = max([_since(state, state.completed_at or now), *ends])
    return Timeline(levels, path, end_ms)


def _times(action: ActionExecutionState, state: ExecutionState, now: datetime) -> tuple[float, float] | None:
    """Return when the action began and ended; None where it did not run in this execution."""
    if action.started_at is None or _was_kept(action.action_id, state):
        return None
    # An action over a list completes with its level. Until then it counts as ended when all its elements have.
    elements = [element.completed_at for element in action.elements or []]
    last_at = max((at for at in elements if at), default=None) if all(elements) else None
    ended_at = action.completed_at or last_at or state.completed_at or now
    # Elements that were kept of a list may have run before this execution.
    begin_ms = max(0.0, _since(state, action.started_at))
    return begin_ms, max(begin_ms, _since(state, ended_at))


def _since(state: ExecutionState, moment: datetime) -> float:
    return (moment - state.started_at).total_seconds() * 1000


def _was_kept(action_id: str, state: ExecutionState) -> bool:
    report = state.resumed.actions.get(action_id) if state.resumed else None
    return report is not None and report.kept


def _critical_path(actions: Sequence[PlannedAction], ends: Mapping[str, float], state: ExecutionState) -> list[str]:
    """Return the chain of actions that determined when the execution ended, from the first to the last.

    A level starts when the one before has finished. So the chain has of each level the action that ended last; where
    several ended together, one that the next action depends on. An alternative follows the action in whose place it
    ran.
    """
    path: list[str] = []
    wanted: Sequence[str] = ()
    for level in reversed(schedule_levels(actions)):
        ran = [action for action in level if action.id in ends]
        if not ran:
            # The level was kept from an earlier execution, or not reached. Levels before it do not count.
            if path:
                break
            continue
        last = max(ran, key=lambda action: (ends[action.id], action.id in wanted))
        wanted = last.dependencies
        path[:0] = [last.id, *_stand_ins(last.id, ends, state)]
    return path


def _stand_ins(action_id: str, ends: Mapping[str, float], state: ExecutionState) -> list[str]:
    """Return the alternative whose output the action has."""
    result = state.action_states[action_id].result
    name = result.alternative_action_id if isinstance(result, ActionSuccess) else None
    return [name] if name and name in ends else []


def _row(
    action: PlannedAction,
    state: ExecutionState,
    begun: Mapping[str, tuple[float, float]],
    is_critical: bool,  # noqa: FBT001
    now: datetime,
) -> Row:
    own = state.action_states[action.id]
    if action.id not in begun:
        return Row(action.id, own, None, 0.0, (), is_critical=False, note=_why_not(own, state))
    begin_ms, end_ms = begun[action.id]
    stand_in = begun.get(action.error_handling.alternative_action_id or "")
    # The requests of an alternative are in the alternative's own row.
    requests_end_ms = min(end_ms, stand_in[0]) if stand_in and stand_in[0] >= begin_ms else end_ms
    runs: Sequence[RunState] = own.elements or [own]
    sections = [section for run in runs for section in _sections(run, state, requests_end_ms, now)]
    return Row(action.id, own, begin_ms, end_ms, _merged(sections), is_critical, note="")


def _why_not(action: ActionExecutionState, state: ExecutionState) -> str:
    if state.resumed and _was_kept(action.action_id, state):
        return f"kept from execution {state.resumed.execution_id}"
    return action.result.reason if isinstance(action.result, ActionSkip) else ""


def _sections(run: RunState, state: ExecutionState, limit_ms: float, now: datetime) -> Iterable[Section]:
    """Yield the requests of one run, in order."""
    end_ms = min(limit_ms, _since(state, run.completed_at or now))
    trace = run.http_trace
    begins = [_since(state, entry.timestamp) for entry in trace]
    for entry, begin_ms, next_ms in zip(trace, begins, [*begins, end_ms][1:], strict=True):
        if begin_ms >= 0:
            stop_ms = begin_ms + entry.response.duration if entry.response else next_ms
            yield Section(begin_ms, max(begin_ms, min(stop_ms, end_ms)), is_answered=entry.response is not None)


def _merged(sections: Iterable[Section]) -> list[Section]:
    """Return the sections, with those of one kind joined that touch or overlap.

    Sections without an answer come first, so that they are drawn below the others.
    """
    merged: list[Section] = []
    for kind in (False, True):
        current: Section | None = None
        for section in sorted((item for item in sections if item.is_answered is kind), key=lambda item: item.begin_ms):
            if current and section.begin_ms <= current.end_ms + _TOUCHING_MS:
                current = Section(current.begin_ms, max(current.end_ms, section.end_ms), kind)
                merged[-1] = current
            else:
                current = section
                merged.append(section)
    return merged
