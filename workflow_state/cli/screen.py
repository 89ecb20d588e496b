"""What `run` and `status --watch` show on a terminal, and the exit code that an execution stands for."""

import shlex
import sys
from collections.abc import Sequence
from datetime import datetime

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from workflow_state.client.executions import find_missing_worker
from workflow_state.schema import (
    ActionExecutionState,
    ActionStatus,
    ExecutionPlan,
    ExecutionState,
    ExecutionStatus,
)
from workflow_state.views.progress import count_definitions, find_doing, is_to_come
from workflow_state.views.text import count, describe, plain, seconds

STYLES = {
    "pending": "dim",
    "initializing": "dim",
    "running": "cyan",
    "paused_for_confirmation": "magenta",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "skipped": "yellow",
}
_MARKS = {
    ActionStatus.PENDING: "·",
    ActionStatus.RUNNING: "▶",
    ActionStatus.COMPLETED: "✔",
    ActionStatus.FAILED: "✘",
    ActionStatus.SKIPPED: "-",
}
_MOST_ROWS = 40
_MOST_QUESTIONS = 5


def live_view(
    name: str,
    state: ExecutionState,
    levels: Sequence[Sequence[str]],
    now: datetime,
    *,
    plan: ExecutionPlan | None = None,
    told: str | None = None,
    elapsed_ms: float | None = None,
) -> RenderableType:
    """Return the picture of a running execution: a line for each action, level by level.

    `told` stands in the place of the status, and `elapsed_ms` in that of the time since it started.
    """
    table = Table.grid(padding=(0, 2))
    finished = sum(_is_finished(action) for action in state.action_states.values())
    doing = find_doing(state, plan)
    is_long = len(state.action_states) > _MOST_ROWS
    to_come = _rest_of_level(state, levels) if is_long else []
    rows = 0
    # What is to come of this level has a row of its own.
    hidden = -len(to_come)
    for number, level in enumerate(levels, start=1):
        # On the first row that is shown: the level's first action may be hidden.
        label = f"level {number}"
        for action_id in level:
            action = state.action_states[action_id]
            # A long plan would not fit on the screen: what is under way is what one wants to see.
            if is_long and action.status is not ActionStatus.RUNNING:
                hidden += 1
                continue
            if rows >= _MOST_ROWS:
                hidden += 1
                continue
            rows += 1
            style = STYLES[action.status]
            table.add_row(
                Text(label, style="dim"),
                Text(f"{_MARKS[action.status]} {action_id}", style=style),
                Text(plain(describe(action, now, doing.get(action_id)) or "waiting"), style=style),
            )
            label = ""
        if to_come and to_come[0] in level:
            of_each = count_definitions(to_come, plan)
            table.add_row(
                Text(label, style="dim"), Text(f"· {len(to_come)} to come", style="dim"), Text(plain(of_each))
            )
    if elapsed_ms is None:
        elapsed_ms = (now - state.started_at).total_seconds() * 1000
    header = Text.assemble(
        (f"{plain(name)}  ", "bold"),
        (told or state.status, STYLES[state.status]),
        f"  {finished} of {count(len(state.action_states), 'action')}",
        "" if told else f"  {seconds(elapsed_ms)}",
    )
    parts: list[RenderableType] = [header, table]
    if hidden:
        parts.append(Text(f"… and {hidden} more", style="dim"))
    return Group(*parts)


def _rest_of_level(state: ExecutionState, levels: Sequence[Sequence[str]]) -> list[str]:
    """Return the actions that have not begun, of the first level in which something is left to do."""
    current = next(
        (level for level in levels if not all(_is_finished(state.action_states[name]) for name in level)), []
    )
    return [name for name in current if is_to_come(state.action_states[name])]


def _is_finished(state: ActionExecutionState) -> bool:
    return state.status not in (ActionStatus.PENDING, ActionStatus.RUNNING)


def next_commands(state: ExecutionState) -> list[str]:
    """Return the commands that a person may want after having seen this state: to answer, or to run it again."""
    commands: list[str] = []
    if state.status in (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED):
        commands = [f"resume {state.id}"]
    elif waiting := [item for item in state.confirmations if item.confirmed is None]:
        # Of a list's elements hundreds may wait.
        # Without quotes a shell takes `pay[3]` for a pattern of files.
        commands = [f"confirm {state.id} {shlex.quote(item.action_id)}" for item in waiting[:_MOST_QUESTIONS]]
    return [f"  next: workflow-state {plain(command)}" for command in commands]


def next_without_redis(state: ExecutionState) -> list[str]:
    """Return the command that a person may want after `run` on a Redis of its own, of which nothing is left."""
    if state.status is not ExecutionStatus.FAILED or not sys.stdout.isatty():
        return []
    return ["  next: workflow-state dev  (it keeps executions: what fails there can be resumed)"]


def tell_missing_worker(execution_id: str) -> None:
    """Say on standard error that no worker runs, where none answers."""
    if problem := find_missing_worker(execution_id):
        click.echo(problem, err=True)


def exit_code(status: ExecutionStatus) -> int:
    """Return the exit code of a command that waited for an execution."""
    return {ExecutionStatus.COMPLETED: 0, ExecutionStatus.CANCELLED: 3}.get(status, 1)
