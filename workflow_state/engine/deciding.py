"""Deciding, before anything is sent: what an attempt sends, or how its step ends without a request."""

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_state.engine.contents import with_stored_values
from workflow_state.engine.work import Attempt, Work, end_sent, end_unsent
from workflow_state.plans.conditions import evaluate_condition
from workflow_state.plans.resolving import resolve_value
from workflow_state.rules.for_each import list_elements
from workflow_state.rules.policy import MAX_LOSSES, find_block, outcome_unknown, reads_plan_inputs
from workflow_state.schema import (
    WORKERS_LOST,
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionSuccess,
    ErrorCategory,
    ErrorDetail,
    PlannedAction,
)
from workflow_state.store.claims import Claim, read_failure
from workflow_state.store.records import read_inputs

CANCELLED = "the execution was cancelled"


def end_at_once(attempt: Attempt, *, is_cancelled: bool) -> ActionExecutionState | None:
    """Return how a step ends that is not sent whatever its inputs are; None where its inputs decide."""
    action, claim = attempt.work.action, attempt.claim
    if claim.was_sent:
        # Even where the execution was cancelled since: a resumed one must not send it again unasked.
        return end_sent(attempt, outcome_unknown(action))
    if is_cancelled:
        return end_unsent(attempt, ActionSkip(reason=CANCELLED))
    if claim.losses >= MAX_LOSSES:
        return end_sent(attempt, _workers_lost(action, claim))
    return None


def decide(
    work: Work, results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | ActionSkip | ActionFailure | ActionSuccess:
    """Return the resolved inputs to send, or how the step ends without being sent.

    `results` are the states (JSON data) of the actions that the message reads. Raises WorkflowStateError where a
    condition, a list or a reference can't be resolved, and StorageError where a stored output can't be read.
    """
    if skip := _skip_where_blocked(work, results):
        return skip
    scope = _read_scope(work, results)
    return _resolve(work.action, scope, element=work.message.element, is_alternative=bool(work.primaries))


def _skip_where_blocked(work: Work, results: Mapping[str, Mapping[str, Any]]) -> ActionSkip | None:
    block = find_block(work.action.model_copy(update={"dependencies": list(work.message.reads)}), results)
    if block is None:
        return None
    because = "failed" if block.by == block.root else f"was skipped, because {block.root} failed"
    return ActionSkip(reason=f"{block.by} {because}", blocked_by=block.root)


def _read_scope(work: Work, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what references can name: results, failures of primaries, the plan's inputs, stored outputs."""
    action = work.action
    scope = with_stored_values(results)
    for primary in work.primaries:
        if primary.id in action.dependencies:
            scope[primary.id] = read_failure(work.store, primary.id)
    if reads_plan_inputs(action):
        scope["inputs"] = read_inputs(work.store)
    return scope


def _resolve(
    action: PlannedAction, scope: dict[str, Any], *, element: int | None, is_alternative: bool
) -> dict[str, Any] | ActionSkip | ActionFailure | ActionSuccess:
    """Return what `decide` does, from a scope that has all that the action's references name."""
    # An element was published because the condition of its list holds.
    if element is None and action.condition and not evaluate_condition(action.condition.if_, scope):
        reason = f"its condition does not hold: {action.condition.if_}"
        if action.condition.else_ == "skip":
            return ActionSkip(reason=reason)
        return ActionFailure(error=ErrorDetail(category=ErrorCategory.VALIDATION_FAILED, message=reason))
    if action.for_each:
        elements = list_elements(action, scope)
        if element is None:
            return _end_of_whole_list(elements, is_alternative=is_alternative)
        scope = {**scope, "item": elements[element], "itemIndex": element}
    resolved: dict[str, Any] = resolve_value(action.inputs, scope)  # type: ignore[assignment]
    return resolved


def _end_of_whole_list(elements: Sequence[Any], *, is_alternative: bool) -> ActionSuccess | ActionFailure:
    """Return how an action with `forEach` ends whose message names no element.

    A level publishes the elements one by one, so this is an empty list, or one that the level could not read.
    """
    if not elements:
        return ActionSuccess(output=[])
    message = "its list could not be read when its level began; resume the execution"
    if is_alternative:
        message = "an alternative runs once, it can't have forEach"
    return ActionFailure(error=ErrorDetail(category=ErrorCategory.VALIDATION_FAILED, message=message))


def _workers_lost(action: PlannedAction, claim: Claim) -> ActionFailure:
    """Return the end of an action over which one worker after the other has died: it would go on like that."""
    return ActionFailure(
        error=ErrorDetail(
            category=ErrorCategory.STATE_INCONSISTENT,
            code=WORKERS_LOST,
            message=f"{claim.losses} workers were lost while they ran this action, it is not tried again",
            context={"actionDefinitionId": action.action_definition_id},
            suggestion="look at the workers' logs and memory for why they died, then resume the execution",
        )
    )
