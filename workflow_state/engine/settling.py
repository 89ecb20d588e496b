"""Settling the end of a step: its alternative takes over, or its state goes to all in whose place it ran."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from celery import states

from workflow_state.engine.messages import Summary, message_of
from workflow_state.engine.outcomes import Finished, HandedOver
from workflow_state.engine.work import Work
from workflow_state.errors import WorkflowStateError
from workflow_state.logger import WorkflowLogger
from workflow_state.rules.policy import is_failure_of_the_plan, may_be_replaced, settle_failure
from workflow_state.rules.states import AttemptHistory, finished_state
from workflow_state.schema import ActionExecutionState, ActionFailure, ActionStatus, ActionSuccess, PlannedAction
from workflow_state.store.claims import WHICHEVER_IS_DUE, read_failure, remember_failure
from workflow_state.store.names import action_task_id
from workflow_state.store.records import read_actions


def alternative_of(work: Work) -> str | None:
    """Return the id of the action that takes the place of this one where it fails, or None.

    An element has none of its own: the alternative of a list takes the place of the whole list.
    """
    return work.action.error_handling.alternative_action_id if work.message.element is None else None


def settle(work: Work, state: ActionExecutionState) -> Finished | HandedOver:
    """Hand a failure over to the action's alternative; otherwise finish the planned action with this state."""
    if not may_be_replaced(state):
        # It may have arrived: another payment in its place could be the second one. Or its definition is missing.
        return finish(work, state.to_json_data())
    if state.status is ActionStatus.FAILED and (alternative := _read_alternative(work, state)):
        return _hand_over(work, alternative)
    if work.message.element is not None and work.action.error_handling.alternative_action_id:
        # Its fallback value is for the whole list, should the alternative fail as well.
        return Finished(state.to_json_data())
    settled = settle_failure(work.action, state)
    _log_replacement(work, work.step, settled)
    return finish(work, settled.to_json_data())


def finish(work: Work, state: Mapping[str, Any]) -> Finished:
    """Give the end of an alternative to its primaries, the nearest first; return the state of the planned action.

    All but the last are stored here. The last is the result of the task. May be called again: Celery keeps a first
    success.
    """
    action_id = work.action.id
    for primary in reversed(work.primaries):
        work.task.backend.store_result(action_task_id(work.execution_id, action_id), Summary(state), states.SUCCESS)
        ended = _end_of_primary(work, primary, ActionExecutionState.model_validate(state))
        _log_replacement(work, primary.id, ended)
        state, action_id = ended.to_json_data(), primary.id
    return Finished(state)


def _log_replacement(work: Work, step: str, state: ActionExecutionState) -> None:
    """Log that something took the place of a failed step's output: that it failed is in the log already."""
    result = state.result
    if not isinstance(result, ActionSuccess):
        return
    log = WorkflowLogger(execution_id=work.execution_id, plan_id=work.plan_id, action_id=step)
    if result.used_fallback:
        log.warn("action completed by its fallback value", status=state.status, used_fallback=True)  # noqa: G010 - ours
    elif result.alternative_action_id:
        told = {"status": state.status, "alternative_action_id": result.alternative_action_id}
        log.warn("action completed by its alternative", **told)  # noqa: G010 - ours


def _read_alternative(work: Work, failed: ActionExecutionState) -> PlannedAction | None:
    """Return the alternative that takes the place of the failed action, once its failure is stored."""
    alternative_id = alternative_of(work)
    if alternative_id is None:
        return None
    remember_failure(work.store, work.action.id, json.dumps(failed.to_json_data()))
    found = read_actions(work.store, [alternative_id])
    return found[0] if found else None


def _hand_over(work: Work, alternative: PlannedAction) -> HandedOver:
    ahead = [primary.id for primary in (*work.primaries, work.action)]
    message = message_of(work.execution_id, alternative, in_place_of=ahead)
    if work.message.attempt == WHICHEVER_IS_DUE:
        # The alternative may be under way already, and may be past its first attempt.
        message = replace(message, attempt=WHICHEVER_IS_DUE)
    return HandedOver(message)


def _end_of_primary(work: Work, primary: PlannedAction, alternative: ActionExecutionState) -> ActionExecutionState:
    """Return how an action ends whose alternative has ended."""
    failed = read_failure(work.store, primary.id)
    if failed is None:
        raise WorkflowStateError(f"{primary.id} has an alternative under way, but no failure of its own")
    if isinstance(alternative.result, ActionSuccess):
        success = ActionSuccess(output=alternative.result.output, alternative_action_id=alternative.action_id)
        if alternative.result.output_location:
            success.output_location = alternative.result.output_location
        history = AttemptHistory(str(failed.started_at), failed.attempts, failed.to_json_data()["httpTrace"])
        return finished_state(primary.id, success, history)
    # Where the alternative may have been done, or can't be run at all, a fallback value would hide it.
    return settle_failure(primary, failed) if may_be_replaced(alternative) else _with_reason(failed, alternative)


def _with_reason(failed: ActionExecutionState, alternative: ActionExecutionState) -> ActionExecutionState:
    """Return the failed action with what is wrong with its alternative, where that is the plan's own mistake."""
    if (
        isinstance(failed.result, ActionFailure)
        and isinstance(alternative.result, ActionFailure)
        and is_failure_of_the_plan(alternative.result.error)
    ):
        told = f"its alternative {alternative.action_id} could not run: {alternative.result.error.message}"
        error = failed.result.error.model_copy(update={"suggestion": told})
        return failed.model_copy(update={"result": failed.result.model_copy(update={"error": error})})
    return failed
