"""What a person has to decide before an execution is resumed: what became of requests of unknown outcome. Pure.

A request has a name: `pay` is that of an action, and `pay[3]` that of one element of an action over a list.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from workflow_state.errors import ExecutionConflictError, OutcomeUnknownError
from workflow_state.rules.for_each import element_id
from workflow_state.rules.policy import needs_decision
from workflow_state.schema import ActionExecutionState, ActionFailure, ExecutionPlan

Elements = Mapping[str, Mapping[int, ActionExecutionState | None]]
"""The states of the elements of each action over a list, by index; None for one whose output is gone."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions: which requests count as done, with what output, and which are sent again."""

    assumed: Mapping[str, JsonValue] = field(default_factory=dict)
    sent_again: Collection[str] = ()


def find_undecided(
    plan: ExecutionPlan, states: Mapping[str, ActionExecutionState], elements: Elements
) -> dict[str, str]:
    """Return the requests about which a decision is needed before the plan can go on, each with the reason."""
    undecided: dict[str, str] = {}
    for action in plan.actions:
        runs: dict[str, ActionExecutionState | None] = {
            element_id(action.id, index): state for index, state in elements.get(action.id, {}).items()
        }
        # An action over a list fails with the error of its first failed element; it has no request of its own.
        if not runs and action.id in states:
            runs = {action.id: states[action.id]}
        for name, state in runs.items():
            if state is None:
                undecided[name] = "it is done, but its output is not stored any more"
            elif isinstance(state.result, ActionFailure) and needs_decision(state):
                undecided[name] = state.result.error.message
    return undecided


def decide(
    execution_id: str,
    undecided: Mapping[str, str],
    *,
    assume_done: Mapping[str, Any] | None,
    send_again: Collection[str] | bool,
) -> Decisions:
    """Return the decision on each undecided request.

    In `send_again`, the id of an action over a list stands for all of its undecided elements, and True for all
    undecided requests, without those that are assumed done. Raises OutcomeUnknownError where a decision is missing,
    ExecutionConflictError for a decision about anything else, and ValueError for an output that is not JSON.
    """
    assumed = dict(assume_done or {})
    again: set[str] = set()
    for name, output in assumed.items():
        _require_json(name, output)
        if name not in undecided:
            raise ExecutionConflictError(_why_refused(name, undecided))
    if isinstance(send_again, bool):
        again = set(undecided) - set(assumed) if send_again else set()
        send_again = ()
    for name in [send_again] if isinstance(send_again, str) else send_again:
        if name in assumed:
            raise ExecutionConflictError(f"{name} can't be both assumed done and sent again")
        named = {name} & undecided.keys() or _elements_of(name, undecided)
        if not named:
            raise ExecutionConflictError(_why_refused(name, undecided))
        again |= named - assumed.keys()
    if open_still := {name: why for name, why in undecided.items() if name not in assumed and name not in again}:
        raise OutcomeUnknownError(execution_id, open_still)
    return Decisions(assumed, frozenset(again))


def _require_json(name: str, output: Any) -> None:
    try:
        json.dumps(output, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the output that {name} is assumed to have is no JSON: {error}") from None


def _elements_of(name: str, undecided: Mapping[str, str]) -> set[str]:
    return {run for run in undecided if run.startswith(f"{name}[")}


def _why_refused(name: str, undecided: Mapping[str, str]) -> str:
    if elements := sorted(_elements_of(name, undecided)):
        return f"{name} runs for each element of a list; say which element is assumed done: {', '.join(elements)}"
    there = f"only {', '.join(undecided)}" if undecided else "nothing else either"
    return f"there is nothing to decide about {name!r}: its outcome is not unknown; {there} needs a decision"
