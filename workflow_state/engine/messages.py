"""The messages of `execute_action`, and how states travel to the result backend."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow_state.rules.for_each import element_id
from workflow_state.schema import PlannedAction
from workflow_state.store.names import action_task_id


@dataclass(frozen=True, slots=True)
class ActionMessage:
    """What one message of `execute_action` says: names only. What the names mean is in the execution's record.

    For example, `ActionMessage("e", "pay", "charge", reads=["order"], element=3)` asks for the first attempt of the
    step `pay[3]`.

    - `definition_id` is the action's definition, and `reads` are the actions whose results it needs. An attempt reads
      all of that in one round trip, before it has the action itself.
    - `attempt` counts from 1. It is WHICHEVER_IS_DUE in a message that is published again for a lost one.
    - `in_place_of` are the failed actions whose alternative this is. The planned action comes first.
    - `element` is the index in the list of a `forEach`.
    """

    execution_id: str
    action_id: str
    definition_id: str
    reads: Sequence[str] = ()
    attempt: int = 1
    in_place_of: Sequence[str] = ()
    element: int | None = None

    @property
    def step(self) -> str:
        """The action's id, or the name of one element of its list: `pay[3]`. Claims are kept under it."""
        return element_id(self.action_id, self.element)

    @property
    def task_id(self) -> str:
        """The id of the message's Celery task. An alternative has the one of the planned action."""
        planned = self.in_place_of[0] if self.in_place_of else self.step
        return action_task_id(self.execution_id, planned)


def message_of(
    execution_id: str, action: PlannedAction, *, in_place_of: Sequence[str] = (), element: int | None = None
) -> ActionMessage:
    """Return the message for the first attempt of an action, or of one element of its list.

    An alternative does not wait for the actions that it takes the place of: it reads no results of theirs.
    """
    reads = [name for name in action.dependencies if name not in in_place_of]
    return ActionMessage(
        execution_id, action.id, action.action_definition_id, reads, in_place_of=in_place_of, element=element
    )


def to_arguments(message: ActionMessage) -> tuple[tuple[str, str, str], dict[str, Any]]:
    """Return the positional and the keyword arguments with which `execute_action` is published.

    Redis holds a message twice while it is under way. So what has its default is left out.
    """
    told: dict[str, Any] = {}
    if message.reads:
        told["reads"] = list(message.reads)
    if message.attempt != 1:
        told["attempt"] = message.attempt
    if message.in_place_of:
        told["in_place_of"] = list(message.in_place_of)
    if message.element is not None:
        told["element"] = message.element
    return (message.execution_id, message.action_id, message.definition_id), told


def from_arguments(args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> ActionMessage:
    """Return the message that was published with these arguments; TypeError where they are none of a message."""
    message = ActionMessage(*args, **(kwargs or {}))
    if not isinstance(message.action_id, str):
        raise TypeError(f"an action's id is text, not a {type(message.action_id).__name__}")
    return message


class Summary:
    """A state on its way into the result backend: JSON there, one word in logs and monitors.

    Celery writes the repr of what a task returns into its log, and into the events that Flower shows. An output must
    not be in either.

    `text` is the whole state as JSON where that is large; then `data` is a part of it.
    """

    def __init__(self, state: Any, text: str | None = None) -> None:
        self.data: Mapping[str, Any] = state if isinstance(state, Mapping) else state.to_json_data()
        self.text = text
        self.is_stored = False
        """Whether the result backend has it already (ending.py)."""

    def __json__(self) -> Mapping[str, Any]:
        """Return what kombu's JSON encoder is to write."""
        if self.text is None:
            return self.data
        whole: Mapping[str, Any] = json.loads(self.text)
        return whole

    def __repr__(self) -> str:
        """Return how it ended."""
        return str(self.data["status"])
