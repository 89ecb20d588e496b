"""What one message of `execute_action` is about, and what goes into other messages from there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Task
from redis import Redis

from workflow_state.actions.http import ActionContext
from workflow_state.delivery import Claim, mark_sent
from workflow_state.fan_out import element_id
from workflow_state.records import is_cancelled
from workflow_state.schema import ActionDefinition, Effect, PlannedAction


class Summary:
    """A state on its way into the result backend: JSON there, one word in logs and monitors.

    Celery writes the repr of what a task returns into its log and into the events that Flower shows; an output has no
    place in either.
    """

    def __init__(self, state: Any) -> None:
        self.data: Mapping[str, Any] = state if isinstance(state, Mapping) else state.to_json_data()

    def __json__(self) -> Mapping[str, Any]:
        """Return what kombu's JSON encoder is to write."""
        return self.data

    def __repr__(self) -> str:
        """Return how it ended."""
        return str(self.data["status"])


@dataclass(frozen=True, slots=True)
class Work:
    """One message of `execute_action`: what to attempt, and for whom."""

    task: Task  # type: ignore[type-arg]
    client: Redis
    execution_id: str
    action: PlannedAction
    attempt: int
    primaries: tuple[PlannedAction, ...] = ()
    element: int | None = None

    @property
    def run_id(self) -> str:
        """What is claimed, stored and sent under a name of its own: the action, or one element of its list."""
        return element_id(self.action.id, self.element)

    @property
    def dependencies(self) -> list[str]:
        """The action's dependencies; an alternative does not wait for the actions in whose place it runs."""
        ahead = {primary.id for primary in self.primaries}
        return [dependency for dependency in self.action.dependencies if dependency not in ahead]


def context_of(work: Work, claim: Claim, definition: ActionDefinition) -> ActionContext:
    """Return for whom the attempt is made; an unsafe request leaves a mark before its first byte does.

    Where the execution is cancelled while the attempt waits for a token or its connection, the request is not wanted
    any more.
    """
    marks = definition.effective_effect is Effect.UNSAFE
    return ActionContext(
        execution_id=work.execution_id,
        action_id=work.run_id,
        attempt=claim.attempt,
        before_send=partial(mark_sent, work.client, claim) if marks else None,
        is_wanted=lambda: not is_cancelled(work.client, work.execution_id),
    )


def message_for(work: Work, attempt: int) -> str:
    """Return the message for an attempt, with this task's id and its place in the chord."""
    kwargs = {**(work.task.request.kwargs or {}), "attempt": attempt}
    return json.dumps(work.task.signature_from_request(kwargs=kwargs))
