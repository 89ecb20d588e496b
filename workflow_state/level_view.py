"""The levels of a plan as a person looks at them: each alternative beside the action that it stands in for. Pure."""

from collections.abc import Iterable, Sequence

from workflow_state.patterns import schedule_levels
from workflow_state.schema import PlannedAction


def show_levels(actions: Sequence[PlannedAction]) -> list[list[PlannedAction]]:
    """Return all of a plan's actions level by level; see `beside_primaries`. Raises as schedule_levels does."""
    levels = schedule_levels(actions)
    in_levels = {action.id for level in levels for action in level}
    return beside_primaries(levels, [action for action in actions if action.id not in in_levels])


def beside_primaries(
    levels: Iterable[Iterable[PlannedAction]], standby: Iterable[PlannedAction]
) -> list[list[PlannedAction]]:
    """Return the levels with each action on standby after the first in whose place it may run."""
    waiting = {action.id: action for action in standby}
    shown: list[list[PlannedAction]] = []
    for level in levels:
        row: list[PlannedAction] = []
        for action in level:
            current: PlannedAction | None = action
            while current:
                row.append(current)
                current = waiting.pop(current.error_handling.alternative_action_id or "", None)
        shown.append(row)
    return shown
