"""An action with `forEach`: its elements, and the state that is made of theirs. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from workflow_state.errors import MissingKeyError, ReferenceResolutionError, WorkflowStateError
from workflow_state.plans.conditions import evaluate_condition
from workflow_state.plans.resolving import resolve_reference
from workflow_state.rules.allowed_definitions import NOT_ALLOWED
from workflow_state.rules.policy import DEFINITION_UNUSABLE, find_block
from workflow_state.schema import (
    OUTCOME_UNKNOWN,
    ActionExecutionState,
    ActionFailure,
    ActionSkip,
    ActionStatus,
    ActionSuccess,
    ElementState,
    PlannedAction,
)


def element_id(action_id: str, index: int | None) -> str:
    """Return the name of one element, as in `pay[3]`; without an index, that of the action."""
    return action_id if index is None else f"{action_id}[{index}]"


def list_elements(action: PlannedAction, scope: Mapping[str, Any]) -> list[JsonValue]:
    """Return the elements that the action runs for.

    Raises ReferenceResolutionError where its `forEach` points at nothing, at something else than a list, or at a list
    that is too long.
    """
    value = resolve_reference(str(action.for_each), scope)
    if not isinstance(value, list):
        kind = "null" if value is None else f"a {type(value).__name__}"
        raise ReferenceResolutionError(f"forEach needs a list, {action.for_each} is {kind}")
    if len(value) > action.for_each_limit:
        raise ReferenceResolutionError(
            f"{action.for_each} has {len(value)} elements; at most {action.for_each_limit} are allowed (forEachLimit)"
        )
    return value


def count_elements(action: PlannedAction, scope: Mapping[str, Any]) -> int:
    """Return for how many elements the action will run; 0 where it will be skipped or will fail before that."""
    if find_block(action, scope):
        return 0
    try:
        if action.condition and not evaluate_condition(action.condition.if_, scope):
            return 0
        return len(list_elements(action, scope))
    except MissingKeyError:
        raise
    except WorkflowStateError:
        return 0


def joined_state(action: PlannedAction, states: Sequence[Mapping[str, Any]]) -> ActionExecutionState:
    """Return the state of an action over a list, made of the states of all its elements (JSON data, in order).

    Its output is the list of their outputs. If an element failed, the action failed, with the outputs of the others as
    its partial output. If an element was skipped, which a cancellation does, the action was skipped.
    """
    models = [ActionExecutionState.model_validate(state) for state in states]
    outputs = [model.result.output if isinstance(model.result, ActionSuccess) else None for model in models]
    failed = [(index, model.result) for index, model in enumerate(models) if isinstance(model.result, ActionFailure)]
    result: ActionSuccess | ActionFailure | ActionSkip = ActionSuccess(output=outputs)
    status = ActionStatus.COMPLETED
    if skip := next((model.result for model in models if isinstance(model.result, ActionSkip)), None):
        result, status = ActionSkip(reason=skip.reason, partial_output=outputs), ActionStatus.SKIPPED
    if failed:
        status = ActionStatus.FAILED
        # A request that may have been done matters more than the others, and then a definition that can't be used.
        codes = [one.error.code for _, one in failed]
        foremost = next((code for code in (OUTCOME_UNKNOWN, DEFINITION_UNUSABLE, NOT_ALLOWED) if code in codes), None)
        index, first = failed[codes.index(foremost)] if foremost else failed[0]
        which = "the first" if (index, first) == failed[0] else "one"
        error = first.error.model_copy(deep=True)
        error.message = f"{len(failed)} of {len(models)} elements failed, {which} at index {index}: {error.message}"
        error.context = {**error.context, "elementIndex": str(index)}
        result = ActionFailure(error=error, partial_output=outputs)
    begun, ended = [model.started_at for model in models], [model.completed_at for model in models]
    started_at = min((at for at in begun if at), default=None)
    completed_at = max((at for at in ended if at), default=None)
    return ActionExecutionState(
        action_id=action.id,
        status=status,
        started_at=started_at,
        completed_at=completed_at,
        duration=_between_ms(started_at, completed_at),
        attempts=max(model.attempts for model in models),
        result=result,
        elements=[element_state(index, model) for index, model in enumerate(models)],
    )


def running_fan_out(action_id: str, elements: Mapping[int, ActionExecutionState]) -> ActionExecutionState:
    """Return the state of an action over a list while its elements run; `elements` are those that have started."""
    return ActionExecutionState(
        action_id=action_id,
        status=ActionStatus.RUNNING,
        started_at=min((state.started_at for state in elements.values() if state.started_at), default=None),
        attempts=max(state.attempts for state in elements.values()),
        elements=[element_state(index, elements[index]) for index in sorted(elements)],
    )


def element_state(index: int, state: ActionExecutionState) -> ElementState:
    """Return an element's state, which is like an action's without the output."""
    element = ElementState(index=index, status=state.status, attempts=state.attempts, http_trace=state.http_trace)
    for name in ("started_at", "completed_at", "duration", "next_attempt_at"):
        if (value := getattr(state, name)) is not None:
            setattr(element, name, value)
    if isinstance(state.result, ActionSuccess) and state.result.assumed:
        element.assumed = True
    if isinstance(state.result, ActionSuccess) and state.result.used_fallback:
        element.used_fallback = True
    if isinstance(state.result, ActionSuccess) and state.result.output_location:
        element.output_location = state.result.output_location
    if isinstance(state.result, ActionFailure):
        element.error = state.result.error
    if isinstance(state.result, ActionSkip):
        element.reason = state.result.reason
    return element


def split_state(joined: ActionExecutionState) -> dict[int, ActionExecutionState | None]:
    """Return the states of the elements, from the action's state; None for an element whose output is not in it."""
    if isinstance(joined.result, ActionFailure | ActionSkip):
        outputs = joined.result.partial_output
    elif isinstance(joined.result, ActionSuccess) and not joined.result.used_fallback:
        outputs = joined.result.output
    else:
        outputs = None
    outputs = outputs if isinstance(outputs, list) else []
    return {element.index: _own_state(joined.action_id, element, outputs) for element in joined.elements or []}


def _own_state(action_id: str, element: ElementState, outputs: Sequence[JsonValue]) -> ActionExecutionState | None:
    data = element.to_json_data()
    index, assumed, location = data.pop("index"), data.pop("assumed", None), data.pop("outputLocation", None)
    used_fallback = data.pop("usedFallback", None)
    error, reason = data.pop("error", None), data.pop("reason", None)
    result: dict[str, Any] | None = None
    if element.status is ActionStatus.FAILED:
        result = {"status": "failure", "error": error}
    elif element.status is ActionStatus.SKIPPED:
        result = {"status": "skipped", "reason": reason or ""}
    elif element.status in (ActionStatus.PENDING, ActionStatus.RUNNING):
        return ActionExecutionState.model_validate(data | {"actionId": element_id(action_id, index)})
    elif index >= len(outputs):
        return None
    else:
        result = {"status": "success", "output": outputs[index]} | ({"assumed": True} if assumed else {})
        result |= {"outputLocation": location} if location else {}
        result |= {"usedFallback": True} if used_fallback else {}
    return ActionExecutionState.model_validate(data | {"actionId": element_id(action_id, index), "result": result})


def _between_ms(started_at: datetime | None, completed_at: datetime | None) -> int | None:
    if started_at is None or completed_at is None:
        return None
    return max(0, round((completed_at - started_at).total_seconds() * 1000))
