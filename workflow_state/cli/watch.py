"""Following an execution to its end: showing its progress on a terminal, and asking the questions that it has."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

import click
from rich.console import Console, RenderableType
from rich.live import Live

from workflow_state.cli import screen
from workflow_state.cli.exit_codes import INTERRUPTED
from workflow_state.cli.questions import show_question
from workflow_state.cli.terminal import ask, asks_on_stderr, can_ask, echo
from workflow_state.client.connections import require_redis
from workflow_state.client.executions import confirm_action, get_execution_state, read_plan
from workflow_state.engine.local import Engine, require_running
from workflow_state.errors import BrokerUnavailableError, ConfirmationError
from workflow_state.plans.levels import show_levels
from workflow_state.rules.states import ENDED
from workflow_state.schema import ConfirmationState, ExecutionPlan, ExecutionState, ExecutionStatus
from workflow_state.views import text as display

_POLL_S = 0.1
# A worker that is there has begun by then.
_BEGUN_WITHIN_S = 0.5
_AWAY_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Watching:
    """What a command does beside looking: see to its own engine, and answer confirmations."""

    engine: Engine | None = None
    answer: Callable[[ConfirmationState], bool] | None = None


class LeftRunning(click.ClickException):
    """Ctrl-C ended the looking, and not the execution."""

    exit_code = INTERRUPTED

    def show(self, file: IO[Any] | None = None) -> None:
        """Say how to come back; it is no error."""
        click.echo(f"\n{self.message}" if sys.stderr.isatty() else self.message, file=file, err=True)


def answer_yes(_: ConfirmationState) -> bool:
    """Answer whatever is asked with yes."""
    return True


def ask_on_terminal(confirmation: ConfirmationState) -> bool:
    """Ask the person at the terminal; without one, nobody can say yes."""
    show_question(confirmation, err=asks_on_stderr())
    if not can_ask():
        click.echo("rejected: there is no terminal to ask at; --yes confirms everything", err=True)
        return False
    return ask("Send it?")


def follow(execution_id: str, watching: Watching, *, name: str | None = None, silent: bool = False) -> ExecutionState:
    """Show an execution until it has ended; a picture on a terminal, a line for each change otherwise.

    On a Redis that is not the command's own it goes on without it: Ctrl-C raises LeftRunning.
    """
    try:
        require_redis()
        state = get_execution_state(execution_id)
        return _wait(state, watching) if silent else _show(state, watching, name or execution_id)
    except KeyboardInterrupt:
        if watching.engine:
            raise
        raise LeftRunning(
            f"{execution_id} goes on without you; come back to it: workflow-state status {execution_id} --watch"
        ) from None


def _wait(state: ExecutionState, watching: Watching) -> ExecutionState:
    *_, state = _states_until_the_end(state, watching)
    return state


def _show(state: ExecutionState, watching: Watching, name: str) -> ExecutionState:
    plan = read_plan(state.id)
    levels = _levels_of(plan, state)
    console = Console()
    # A terminal without cursor movements can't be painted over.
    if console.is_terminal and not console.is_dumb_terminal:
        # What is typed meanwhile would be shown in the middle of the picture.
        with echo(sys.stdout, on=False):
            return _show_picture(console, state, watching, partial(screen.live_view, name, levels=levels, plan=plan))
    before: ExecutionState | None = None
    for after in _states_until_the_end(state, watching):
        for line in display.changes(before, after, levels, datetime.now(UTC), plan=plan):
            click.echo(line)
        sys.stdout.flush()
        before = state = after
    return state


def _show_picture(
    console: Console, state: ExecutionState, watching: Watching, draw: Callable[..., RenderableType]
) -> ExecutionState:
    live = Live(console=console, auto_refresh=False)
    starting = "starting a worker" if watching.engine else "waits for a worker"
    elapsed_ms = 0.0
    try:
        for after in _states_until_the_end(state, watching):
            state = after
            if watching.answer and state.status is ExecutionStatus.PAUSED_FOR_CONFIRMATION:
                # A new picture below the question: the old one would be painted over it.
                live.stop()
                live = Live(console=console, auto_refresh=False)
                continue
            now = datetime.now(UTC)
            has_begun = state.status is not ExecutionStatus.INITIALIZING
            if has_begun:
                elapsed_ms = max(elapsed_ms, _elapsed_ms(state, now))
            told = None if has_begun else starting
            live.start()
            live.update(draw(state, now=now, told=told, elapsed_ms=elapsed_ms), refresh=True)
    finally:
        # Also on Ctrl-C: the picture hides the cursor.
        live.stop()
    return state


def _elapsed_ms(state: ExecutionState, now: datetime) -> float:
    """Return how long an execution runs, or ran; the clocks of this machine and of the worker's may differ."""
    total_ms = state.metrics.total_duration
    return (now - state.started_at).total_seconds() * 1000 if total_ms is None else total_ms


def _levels_of(plan: ExecutionPlan | None, state: ExecutionState) -> list[list[str]]:
    """Return the action ids level by level, each alternative beside the action in whose place it would run."""
    if plan is None:
        return [list(state.action_states)]
    return [[action.id for action in level] for level in show_levels(plan.actions)]


def _states_until_the_end(state: ExecutionState, watching: Watching) -> Iterator[ExecutionState]:
    """Yield every reading of an execution's state, up to the last."""
    yield state
    begun_s = time.monotonic()
    asked = False
    while state.status not in ENDED:
        if watching.answer:
            _answer_all(state, watching.answer)
        state, took_s = _read_patiently(state.id, watching)
        yield state
        # A huge plan's state takes long to read: a tenth of the time is enough to spend on looking.
        time.sleep(max(_POLL_S, 9 * took_s) if state.status not in ENDED else 0)
        if watching.engine:
            require_running(watching.engine)
        elif (
            not asked and state.status is ExecutionStatus.INITIALIZING and time.monotonic() - begun_s > _BEGUN_WITHIN_S
        ):
            asked = True
            screen.tell_missing_worker(state.id)


def _read_patiently(execution_id: str, watching: Watching) -> tuple[ExecutionState, float]:
    """Return the state, and for how many seconds it was read, without the time for which Redis was away.

    While Redis is away, this says so once and waits for it. The execution does so too.
    """
    told = False
    while True:
        begun_s = time.monotonic()
        try:
            state = get_execution_state(execution_id)
            return state, time.monotonic() - begun_s
        except BrokerUnavailableError as error:
            if watching.engine:
                # Its own Redis does not come back.
                require_running(watching.engine)
            if not told:
                click.echo(f"{str(error).rstrip('.')}; waiting until it is there again", err=True)
                told = True
            time.sleep(_AWAY_POLL_S)


def _answer_all(state: ExecutionState, answer: Callable[[ConfirmationState], bool]) -> None:
    for confirmation in state.confirmations:
        if confirmation.confirmed is None:
            with suppress(ConfirmationError, BrokerUnavailableError):  # too late, answered by another, or Redis is away
                confirm_action(state.id, confirmation.action_id, answer(confirmation), digest=confirmation.digest)
