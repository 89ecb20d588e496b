"""What a completed execution has come to, as text: the outputs of the actions on which no other depends. Pure."""

import json
from collections.abc import Iterator

from pydantic import JsonValue

from workflow_state.actions.http.redaction import redact_json
from workflow_state.plans.levels import schedule_levels
from workflow_state.schema import ActionSuccess, ExecutionPlan, ExecutionState, ExecutionStatus
from workflow_state.views.text import plain

_MOST_SHOWN = 5
_MOST_CHARACTERS = 300


def outputs(state: ExecutionState, plan: ExecutionPlan | None, *, is_kept: bool) -> list[str]:
    """Return a line for each output of the plan: as JSON where it is short, and otherwise how to read it.

    Fields of secret names are masked, as in a trace. `is_kept` says that the execution can still be read.
    """
    if plan is None or state.status is not ExecutionStatus.COMPLETED:
        return []
    found = [*_last_outputs(state, plan)]
    lines = [f"  output of {name}: {_shown(state.id, name, result, is_kept=is_kept)}" for name, result in found]
    more = [f"  … and {len(lines) - _MOST_SHOWN} more outputs"] if len(lines) > _MOST_SHOWN else []
    return [*map(plain, [*lines[:_MOST_SHOWN], *more])]


def _last_outputs(state: ExecutionState, plan: ExecutionPlan) -> Iterator[tuple[str, ActionSuccess]]:
    needed = {name for action in plan.actions for name in action.dependencies}
    for level in schedule_levels(plan.actions):
        for action in level:
            result = state.action_states[action.id].result if action.id not in needed else None
            if isinstance(result, ActionSuccess):
                yield action.id, result


def _shown(execution_id: str, name: str, result: ActionSuccess, *, is_kept: bool) -> str:
    size = f"{result.output_location.size:,} bytes" if result.output_location else ""
    if not size:
        text = _as_json(result.output)
        if len(text) <= _MOST_CHARACTERS:
            return text
        size = f"{len(text):,} characters"
    return f"{size}; workflow-state output {execution_id} {name}" if is_kept else f"{size}; `run --json` prints them"


def _as_json(value: JsonValue) -> str:
    return json.dumps(redact_json(value), ensure_ascii=False)
