"""What an execution does now, and what is still to come, as text. Pure.

A list says how many of its elements are done (`running, 3 of 10 done`), an action that asks says so, and of a thousand
actions it is said how many there are of each definition (`600 crm.update, 400 mail.send`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from workflow_state.errors import WorkflowStateError
from workflow_state.plans.resolving import resolve_reference
from workflow_state.schema import ActionExecutionState, ActionStatus, ExecutionPlan, ExecutionState

MOST_NAMED = 20
"""Of more actions it is said how many there are of each definition."""

_MOST_DEFINITIONS = 4
_TOLD_PARTS = 4


@dataclass(frozen=True, slots=True)
class Doing:
    """What a running action does: of a list how many elements are `done` of how many, and how many questions it has.

    `total` is None where the list is not known here, because it is stored elsewhere.
    """

    done: int | None = None
    total: int | None = None
    questions: int = 0

    @property
    def stage(self) -> tuple[int | None, bool]:
        """What is worth a line of its own where it changes: each quarter of a list, and that it asks."""
        part = self.done * _TOLD_PARTS // self.total if self.done is not None and self.total else None
        return part, self.questions > 0

    def __str__(self) -> str:
        """Return it in words."""
        if self.done is None:
            return "waits for an answer"
        of_all = f" of {self.total}" if self.total else ""
        asks = f"{self.questions} {'waits' if self.questions == 1 else 'wait'} for an answer"
        return f"running, {self.done}{of_all} done" + (f", {asks}" if self.questions else "")


def find_doing(state: ExecutionState, plan: ExecutionPlan | None) -> dict[str, Doing]:
    """Return by id what those running actions do of which more is known than that they run."""
    open_questions = (item for item in state.confirmations if item.confirmed is None and not item.timed_out)
    asking = Counter(item.action_id.partition("[")[0] for item in open_questions)
    lists = {action.id: action.for_each for action in plan.actions if action.for_each} if plan else {}
    found = {}
    for name, action in state.action_states.items():
        if action.status is not ActionStatus.RUNNING:
            continue
        if action.elements:
            done = sum(
                element.status not in (ActionStatus.PENDING, ActionStatus.RUNNING) for element in action.elements
            )
            found[name] = Doing(done, _length(lists.get(name), state, plan), asking[name])
        elif asking[name]:
            found[name] = Doing(questions=asking[name])
    return found


def name_actions(names: Sequence[str], plan: ExecutionPlan | None) -> str:
    """Return the names of a few actions, and of many how many there are of each definition."""
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    return f"{len(names)} actions{count_definitions(names, plan, before=': ')}"


def count_definitions(names: Sequence[str], plan: ExecutionPlan | None, *, before: str = "") -> str:
    """Return how many of these actions there are of each definition, the most first, behind `before`."""
    if plan is None:
        return ""
    definitions = {action.id: action.action_definition_id for action in plan.actions}
    counted = Counter(definitions[name] for name in names if name in definitions).most_common()
    told = [f"{number} {definition}" for definition, number in counted[:_MOST_DEFINITIONS]]
    if others := sum(number for _, number in counted[_MOST_DEFINITIONS:]):
        told.append(f"{others} others")
    return f"{before}{', '.join(told)}" if told else ""


def is_to_come(state: ActionExecutionState) -> bool:
    """Return whether an action has not begun, and may still do so."""
    return state.status is ActionStatus.PENDING


def _length(for_each: str | None, state: ExecutionState, plan: ExecutionPlan | None) -> int | None:
    if for_each is None or plan is None:
        return None
    try:
        value = resolve_reference(for_each, {**state.action_states, "inputs": plan.inputs})
    except WorkflowStateError:
        return None
    return len(value) if isinstance(value, list) else None
