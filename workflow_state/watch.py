"""Following an execution to its end on a terminal: what it shows meanwhile, and what it asks."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.live import Live

from workflow_state import display
from workflow_state.celery import app
from workflow_state.errors import ConfirmationError
from workflow_state.executions import confirm_action, get_execution_state
from workflow_state.local import Engine, require_running
from workflow_state.records import read_record, redis_client
from workflow_state.schema import ConfirmationState, ExecutionState, ExecutionStatus, PlannedAction
from workflow_state.states import ENDED

_POLL_S = 0.1
_NO_WORKER_S = 10


@dataclass(frozen=True, slots=True)
class Watching:
    """What a command does beside looking: see to its own engine, and answer confirmations."""

    engine: Engine | None = None
    answer: Callable[[ConfirmationState], bool] | None = None


def answer_yes(_: ConfirmationState) -> bool:
    """Answer whatever is asked with yes."""
    return True


def ask_on_terminal(confirmation: ConfirmationState) -> bool:
    """Ask the person at the terminal; without one, nobody can say yes."""
    for line in display.question(confirmation):
        click.echo(line, err=True)
    if not sys.stdin.isatty():
        click.echo("rejected: there is no terminal to ask at; --yes confirms everything", err=True)
        return False
    return click.confirm("Send it?", err=True)


def follow(execution_id: str, watching: Watching, *, name: str | None = None, silent: bool = False) -> ExecutionState:
    """Show an execution until it has ended; a picture on a terminal, a line for each change otherwise."""
    state = get_execution_state(execution_id)
    states = _states_until_the_end(state, watching)
    if silent:
        *_, state = states
        return state
    levels = _levels_of(execution_id, state)
    console = Console()
    live = Live(console=console, auto_refresh=False)
    before: ExecutionState | None = None
    for after in states:
        now = datetime.now(UTC)
        if not console.is_terminal:
            for line in display.changes(before, after, levels, now):
                click.echo(line)
            sys.stdout.flush()
        elif watching.answer and after.status is ExecutionStatus.PAUSED_FOR_CONFIRMATION:
            # A new picture below the question: the old one would be painted over it.
            live.stop()
            live = Live(console=console, auto_refresh=False)
        else:
            live.start()
            live.update(display.live_view(name or execution_id, after, levels, now), refresh=True)
        before = state = after
    live.stop()
    return state


def _levels_of(execution_id: str, state: ExecutionState) -> list[list[str]]:
    """Return the action ids level by level, each alternative beside the action in whose place it would run."""
    record = read_record(redis_client(app.backend), execution_id)
    if record is None:
        return [list(state.action_states)]
    standby = {action.id: action for action in record.standby}
    levels: list[list[str]] = []
    for level in record.levels:
        shown: list[str] = []
        for action in level:
            current: PlannedAction | None = action
            while current:
                shown.append(current.id)
                current = standby.pop(current.error_handling.alternative_action_id or "", None)
        levels.append(shown)
    return levels


def _states_until_the_end(state: ExecutionState, watching: Watching) -> Iterator[ExecutionState]:
    """Yield every reading of an execution's state, up to the last."""
    yield state
    begun_s = time.monotonic()
    warned = False
    while state.status not in ENDED:
        if watching.answer:
            _answer_all(state, watching.answer)
        reading_s = time.monotonic()
        state = get_execution_state(state.id)
        yield state
        # A huge plan's state takes long to read: a tenth of the time is enough to spend on looking.
        time.sleep(max(_POLL_S, 9 * (time.monotonic() - reading_s)) if state.status not in ENDED else 0)
        if watching.engine:
            require_running(watching.engine)
        elif not warned and state.status is ExecutionStatus.INITIALIZING and time.monotonic() - begun_s > _NO_WORKER_S:
            click.echo("no worker has taken it yet; start one: celery -A workflow_state worker", err=True)
            warned = True


def _answer_all(state: ExecutionState, answer: Callable[[ConfirmationState], bool]) -> None:
    for confirmation in state.confirmations:
        if confirmation.confirmed is None:
            with suppress(ConfirmationError):  # its time ran out, or another answered, meanwhile
                confirm_action(state.id, confirmation.action_id, answer(confirmation), digest=confirmation.digest)
