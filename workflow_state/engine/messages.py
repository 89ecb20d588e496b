"""What one message of `execute_action` is about, and what goes into other messages from there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Task
from redis import Redis

from workflow_state.actions.execute import ActionContext
from workflow_state.rules.for_each import element_id
from workflow_state.schema import ActionDefinition, Effect, PlannedAction
from workflow_state.store.claims import Claim, mark_sent
from workflow_state.store.records import is_cancelled


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
class ActionMessage:
    """One message of `execute_action`: names only, what they mean is in the record.

    `uses` is the action's definition, and `after` are the actions whose results it reads, so that one round trip reads
    all that an attempt begins with. `stands_in_for` are the actions in whose place this one runs as their alternative,
    the planned one first; `element` is the index in the list of a `forEach`.
    """

    execution_id: str
    action_id: str
    uses: str
    after: Sequence[str] = ()
    attempt: int = 1
    stands_in_for: Sequence[str] = ()
    element: int | None = None

    @property
    def step(self) -> str:
        """The action's id, or the name of one element of its list: `pay[3]`. Claims and results are kept under it."""
        return element_id(self.action_id, self.element)


def arguments_for(action: PlannedAction, stands_in_for: Sequence[str] = (), **others: Any) -> dict[str, Any]:
    """Return the keyword arguments of an action's message; an alternative does not wait for what it stands in for."""
    after = [name for name in action.dependencies if name not in stands_in_for]
    given = {"after": after, "stands_in_for": list(stands_in_for), **others}
    # A message is stored twice while it is under way: what says nothing is left out.
    told = {name: value for name, value in given.items() if value not in ([], None)}
    return {"uses": action.action_definition_id, **told}


@dataclass(frozen=True, slots=True)
class Work:
    """What one message of `execute_action` asks for."""

    task: Task  # type: ignore[type-arg]
    client: Redis
    execution_id: str
    action: PlannedAction
    attempt: int
    primaries: tuple[PlannedAction, ...] = ()
    element: int | None = None

    @property
    def step(self) -> str:
        """The action's id, or the name of one element of its list: `pay[3]`. Claims and results are kept under it."""
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
        action_id=work.step,
        attempt=claim.attempt,
        before_send=partial(mark_sent, work.client, claim) if marks else None,
        is_wanted=lambda: not is_cancelled(work.client, work.execution_id),
    )


def message_for(work: Work, attempt: int) -> str:
    """Return the message for an attempt, with this task's id and its place in the chord."""
    kwargs = {**(work.task.request.kwargs or {}), "attempt": attempt}
    return json.dumps(work.task.signature_from_request(kwargs=kwargs))
