"""What a shell completes of an argument: the ids of executions and of actions, from Redis."""

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from workflow_state.client.connections import connection_pool
from workflow_state.client.executions import get_execution_state, list_executions
from workflow_state.schema import ActionSuccess, ExecutionStatus

# Whoever presses Tab waits at most so long for Redis, and then gets nothing.
_DEADLINE_S: Final = 0.3
_MOST_IDS: Final = 50

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

LASTING: Final = frozenset(
    {ExecutionStatus.INITIALIZING, ExecutionStatus.RUNNING, ExecutionStatus.PAUSED_FOR_CONFIRMATION}
)
RESUMABLE: Final = frozenset({ExecutionStatus.FAILED, ExecutionStatus.CANCELLED})
EVERY_STATUS: Final = frozenset(ExecutionStatus)


def execution_ids(statuses: Collection[ExecutionStatus] = EVERY_STATUS) -> Completer:
    """Return what completes the id of an execution: the newest that have one of these statuses."""

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        summaries = _ask_redis(lambda: list_executions(_MOST_IDS)) or []
        return [
            CompletionItem(item.id, help=f"{item.status}, {item.name}")
            for item in summaries
            if item.status in statuses and item.id.startswith(incomplete)
        ]

    return complete


def waiting_actions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the actions of the execution before it that wait for an answer."""
    state = _ask_redis(lambda: get_execution_state(context.params["execution_id"]))
    waiting = [item for item in state.confirmations if item.confirmed is None] if state else []
    return [
        CompletionItem(item.action_id, help=item.title) for item in waiting if item.action_id.startswith(incomplete)
    ]


def completed_actions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the actions of the execution before it that have an output."""
    state = _ask_redis(lambda: get_execution_state(context.params["execution_id"]))
    actions = state.action_states if state else {}
    return [
        CompletionItem(name)
        for name, action in actions.items()
        if isinstance(action.result, ActionSuccess) and name.startswith(incomplete)
    ]


def _ask_redis(question: Callable[[], Any]) -> Any:
    """Return the answer, or None where there is none in time; whatever goes wrong, a shell must not be told."""
    answers: list[Any] = []

    def ask() -> None:
        with suppress(Exception):
            answers.append(question())

    with suppress(Exception):
        # What needs no network is done before the clock runs: the settings, and the client's own modules.
        connection_pool()
        # A thread, because looking up a name has no timeout; as a daemon it is not waited for.
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(_DEADLINE_S)
    return answers[0] if answers else None
