"""What follows from what: whether an action runs, what its failure means, and when it is tried again.

Pure: plans, states and times in, decisions out.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workflow_state.errors import ReferenceParseError
from workflow_state.plans.references import find_references
from workflow_state.schema import (
    MAY_BE_DONE,
    OUTCOME_UNKNOWN,
    ActionExecutionState,
    ActionFailure,
    ActionStatus,
    ActionSuccess,
    ErrorDetail,
    PlannedAction,
    RetryPolicy,
)

# The steps are those that kombu has a list of its own for.
_MOST_MESSAGES = {100: 0, 500: 3, 2_500: 6}

ActionStateData = Mapping[str, Any]
"""An ActionExecutionState as JSON data, the way that it is stored."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The action can't run, because `by` failed, or was itself kept from running by `root`."""

    by: str
    root: str


def find_block(action: PlannedAction, states: Mapping[str, ActionStateData]) -> Blocked | None:
    """Return what keeps the action from running, given the states of its dependencies; None where nothing does.

    A dependency blocks where it failed, or was skipped because of a failure. An action with `continueOnFailure`
    tolerates every such dependency, one whose condition reads `${x.status}` tolerates x.
    """
    if action.error_handling.continue_on_failure:
        return None
    tolerated = _dependencies_whose_status_is_read(action)
    for dependency in action.dependencies:
        if dependency in tolerated:
            continue
        state = states[dependency]
        if state["status"] == ActionStatus.FAILED:
            return Blocked(by=dependency, root=dependency)
        if root := blocked_by(state):
            return Blocked(by=dependency, root=root)
    return None


def blocked_by(state: ActionStateData) -> str | None:
    """Return the failed action because of which this one was skipped, or None."""
    result = state.get("result") or {}
    root: str | None = result.get("blockedBy")
    return root


def stopping_failure(actions: Iterable[PlannedAction], states: Mapping[str, ActionStateData]) -> PlannedAction | None:
    """Return the first action that failed and has no `continueOnFailure`: it stops the plan."""
    for action in actions:
        state = states.get(action.id)
        if state and state["status"] == ActionStatus.FAILED and not action.error_handling.continue_on_failure:
            return action
    return None


def is_of_unknown_outcome(state: ActionExecutionState) -> bool:
    """Return whether the action failed, and may have been done all the same: nothing may take its place."""
    return isinstance(state.result, ActionFailure) and state.result.error.code == OUTCOME_UNKNOWN


def needs_decision(state: ActionExecutionState) -> bool:
    """Return whether an unsafe request may have had its effect although it failed: it is not sent again unasked."""
    if not isinstance(state.result, ActionFailure):
        return False
    return is_of_unknown_outcome(state) or state.result.error.context.items() >= MAY_BE_DONE.items()


def settle_failure(action: PlannedAction, state: ActionExecutionState) -> ActionExecutionState:
    """Return what the action's end means: with a fallback value, a failure is a completion with that output."""
    if state.status is not ActionStatus.FAILED or not action.error_handling.has_fallback:
        return state
    success = ActionSuccess(output=action.error_handling.fallback_value, used_fallback=True)
    return state.model_copy(update={"status": ActionStatus.COMPLETED, "result": success})


def retry_delay_ms(policy: RetryPolicy, attempt: int, error: ErrorDetail) -> int | None:
    """Return how long to wait before the next attempt, or None where `attempt` (from 1) was the last.

    Full jitter: uniform(0, min(cap, base x multiplier^n)), and never less than the server's Retry-After.
    """
    if not error.retryable or attempt >= policy.max_attempts:
        return None
    # The exponent is bounded by maxAttempts (20) and the multiplier (100): it stays a finite float.
    ceiling_ms = min(policy.max_delay_ms, policy.initial_delay_ms * policy.backoff_multiplier ** (attempt - 1))
    return max(round(random.uniform(0, ceiling_ms)), error.retry_after or 0)


def level_priority(messages: int) -> int:
    """Return the priority of a level's messages, Celery's own for Redis: 0 goes first, 9 last.

    A level of ten thousand may take its time, but other plans need not wait for it: what comes in small numbers goes
    first. A chain of ten thousand comes in ones.
    """
    return next((priority for most, priority in _MOST_MESSAGES.items() if messages <= most), 9)


def reads_plan_inputs(action: PlannedAction) -> bool:
    """Return whether the action may read `${inputs.…}`; a text that only looks like it does no harm."""
    condition = action.condition.if_ if action.condition else ""
    return "${inputs" in f"{action.inputs!r} {condition} {action.for_each or ''}"


def _dependencies_whose_status_is_read(action: PlannedAction) -> set[str]:
    if action.condition is None:
        return set()
    try:
        references = find_references(action.condition.if_)
    except ReferenceParseError:
        return set()
    return {reference.action_id for reference in references if reference.field == "status"}
