"""The rules of running a plan: whether an action runs, what its failure means, and when it is tried again. Pure."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workflow_state.errors import ReferenceParseError
from workflow_state.plans.references import find_references
from workflow_state.rules.allowed_definitions import NOT_ALLOWED
from workflow_state.schema import (
    MAY_BE_DONE,
    OUTCOME_UNKNOWN,
    WORKERS_LOST,
    ActionExecutionState,
    ActionFailure,
    ActionStatus,
    ActionSuccess,
    ErrorCategory,
    ErrorDetail,
    PlannedAction,
    RetryPolicy,
)

DEFINITION_UNUSABLE = "definition_unusable"
"""The code of an error: this worker has no action definition of that id, or the definition is wrong."""

# How many messages a level may have at most for each priority. kombu has a Redis list for 0, 3, 6 and 9.
_MOST_MESSAGES = {100: 0, 500: 3, 2_500: 6}

MAX_LOSSES = 5
"""After so many lost workers an attempt, or a level of an execution, is not tried again.

By chance a worker is lost during the same attempt again and again only rarely.
"""

ActionStateData = Mapping[str, Any]
"""An ActionExecutionState as JSON data, the way that it is stored."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The action can't run because of its dependency `by`: that failed, or was skipped because `root` failed."""

    by: str
    root: str


def find_block(action: PlannedAction, states: Mapping[str, ActionStateData]) -> Blocked | None:
    """Return why the action can't run, given the states of its dependencies; None where it can.

    A dependency blocks it if it failed, or was skipped because of a failure. An action with `continueOnFailure` runs
    all the same. An action whose condition reads `${x.status}` runs whatever happened to x.
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
    """Return whether the action failed with an unknown outcome: it may have been done, so nothing may replace it."""
    return isinstance(state.result, ActionFailure) and state.result.error.code == OUTCOME_UNKNOWN


def is_failure_of_the_plan(error: ErrorDetail) -> bool:
    """Return whether an action failed because its definition is missing, wrong or not allowed."""
    return error.code in (DEFINITION_UNUSABLE, NOT_ALLOWED)


def may_be_replaced(state: ActionExecutionState) -> bool:
    """Return whether an alternative or a fallback value may take the place of a failed action.

    Not where its outcome is unknown: it may have been done. Not where its definition can't be used: that is a mistake
    in the plan or in the worker's set-up, and would stay hidden.
    """
    if not isinstance(state.result, ActionFailure):
        return True
    return not (is_of_unknown_outcome(state) or is_failure_of_the_plan(state.result.error))


def needs_decision(state: ActionExecutionState) -> bool:
    """Return whether an unsafe request may have had its effect although it failed: a person decides about it."""
    if not isinstance(state.result, ActionFailure):
        return False
    return is_of_unknown_outcome(state) or state.result.error.context.items() >= MAY_BE_DONE.items()


def settle_failure(action: PlannedAction, state: ActionExecutionState) -> ActionExecutionState:
    """Return the state with the fallback value applied: a failed action that has one completes with it as output."""
    if state.status is not ActionStatus.FAILED or not action.error_handling.has_fallback:
        return state
    success = ActionSuccess(output=action.error_handling.fallback_value, used_fallback=True)
    return state.model_copy(update={"status": ActionStatus.COMPLETED, "result": success})


def outcome_unknown(
    action: PlannedAction, message: str = "the worker was lost after the request had been sent: the outcome is unknown"
) -> ActionFailure:
    """Return the end of an unsafe request that was begun and never read to its end: it is not sent a second time."""
    return ActionFailure(
        error=ErrorDetail(
            category=ErrorCategory.STATE_INCONSISTENT,
            code=OUTCOME_UNKNOWN,
            message=message,
            context={"actionDefinitionId": action.action_definition_id},
            suggestion="find out at the server whether it was done; then resume with --assume-done VALUE "
            "(assume_done=…), the output that it had, where it was done, or with --send-again (send_again=…) where it "
            "was not. Where sending twice is harmless, declare the effect of the definition as idempotent or keyed",
        )
    )


def level_lost(level: int, losses: int) -> ErrorDetail:
    """Return why an execution ends over whose level, from 0, one worker after the other has died."""
    return ErrorDetail(
        category=ErrorCategory.STATE_INCONSISTENT,
        code=WORKERS_LOST,
        message=f"{losses} workers were lost, or failed, while they went on with level {level}; it is not tried again",
        context={"level": str(level)},
        suggestion="look at the workers' logs and memory for why they died, then resume the execution",
    )


def retry_delay_ms(policy: RetryPolicy, attempt: int, error: ErrorDetail) -> int | None:
    """Return how many milliseconds to wait before the next attempt, or None where `attempt` (from 1) was the last.

    The wait is random (full jitter): uniform(0, min(cap, base x multiplier^n)), and never less than what the server
    asked for with Retry-After.
    """
    if not error.retryable or attempt >= policy.max_attempts:
        return None
    # The exponent is bounded by maxAttempts (20) and the multiplier (100): it stays a finite float.
    ceiling_ms = min(policy.max_delay_ms, policy.initial_delay_ms * policy.backoff_multiplier ** (attempt - 1))
    return max(round(random.uniform(0, ceiling_ms)), error.retry_after or 0)


def level_priority(messages: int) -> int:
    """Return the priority of a level's messages, as Celery has it for Redis: 0 is taken first, 9 last.

    Small levels come first, so that other plans need not wait for a level of ten thousand actions. The levels of a long
    chain have one message each, and come first as well.
    """
    return next((priority for most, priority in _MOST_MESSAGES.items() if messages <= most), 9)


def reads_plan_inputs(action: PlannedAction) -> bool:
    """Return whether the action may read `${inputs.…}`. True for a text that only looks like it, which does no harm."""
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
