"""The questions to people and their answers, as they are stored and as the state has them. Pure.

Title and message are the plan's and the same for all elements of a list. So no question stores them: the plan has them.
Only the final state, which must do without the plan, has them once for each list.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workflow_state.rules.packing import unpack
from workflow_state.schema import ConfirmationState, PlannedAction

Asks = Sequence[Mapping[str, Any]]

_FIELDS = {field.alias for field in ConfirmationState.model_fields.values()}


def list_of(step: str) -> str | None:
    """Return the action whose list the step is an element of; None for a step that is a whole action."""
    name, bracket, _ = step.partition("[")
    return name if bracket else None


def template_field(step: str) -> str | None:
    """Return the field of the progress hash that has the template of the step's list, if it is of one (packing.py)."""
    name = list_of(step)
    return None if name is None else f"{name}:template"


def parse_asks(fields: Mapping[str, Any], step: str) -> list[dict[str, Any]]:
    """Return a step's questions, each with the answer to it, from the fields of the progress hash."""
    stored = fields.get(f"{step}:asks")
    if not stored:
        return []
    asks: list[dict[str, Any]] = json.loads(unpack(stored, fields.get(template_field(step) or "")))
    return [
        {**ask, **json.loads(fields.get(f"{step}:answer:{number}") or b"{}")}
        for number, ask in enumerate(asks, start=1)
    ]


def confirmation_states(
    asks: Mapping[str, Asks], actions: Iterable[PlannedAction], *, once_for_lists: bool = False
) -> list[ConfirmationState]:
    """Return every question that was asked, by step, in the order of asking, with the answers.

    `actions` have the titles and messages. With `once_for_lists` only the first question of a list's elements has them.
    """
    texts = {action.id: action.user_confirmation for action in actions if action.user_confirmation}
    states = [
        ConfirmationState.model_validate({"actionId": step, **{key: ask[key] for key in ask if key in _FIELDS}})
        for step, of_step in asks.items()
        for ask in of_step
    ]
    states.sort(key=lambda state: state.requested_at)
    told: set[str] = set()
    for state in states:
        name = list_of(state.action_id)
        if name in told:
            continue
        if name and once_for_lists:
            told.add(name)
        if (text := texts.get(name or state.action_id)) and state.title is None:
            state.title, state.message = text.title, text.message
    return states


def is_open(confirmation: ConfirmationState) -> bool:
    """Return whether a question waits for its answer."""
    return confirmation.confirmed is None and not confirmation.timed_out


def tell_each(confirmations: Sequence[ConfirmationState]) -> None:
    """Give each question of a list the title and the message that the first one of the list has."""
    first: dict[str, ConfirmationState] = {}
    for state in confirmations:
        name = list_of(state.action_id)
        if name is None:
            continue
        told = first.setdefault(name, state)
        if state.title is None and told.title is not None:
            state.title, state.message = told.title, told.message
