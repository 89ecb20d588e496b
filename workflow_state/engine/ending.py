"""The end of an execution: its final state is composed of what is stored, and noted in the record.

Celery stores what a task returns. It would try for ever to store what Redis refuses for good: a value larger than it
takes, or than there is memory for. So a state that is not small is stored here, before the task returns it. Where Redis
refuses it and takes other writes, an outline of the state takes its place, which says so.
"""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from workflow_state.engine.contents import with_stored_values
from workflow_state.engine.messages import Summary
from workflow_state.logger import WorkflowLogger
from workflow_state.plans.references import find_references
from workflow_state.rules.heavy_parts import HeavyParts, lighten, put_marks
from workflow_state.rules.outline import bare_state, outline
from workflow_state.rules.states import Progress, Record, final_state
from workflow_state.rules.stopping import end_begun_steps
from workflow_state.schema import ExecutionState
from workflow_state.store.connection import CONNECTION_ERRORS, forget_connections
from workflow_state.store.ending import end_execution, mark_end
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.position import note_sign_of_life
from workflow_state.store.results import iterate_results, read_results

logger = logging.getLogger(__name__)

# A state below this is never too large for a Redis that works, nor for a worker to have it as a whole.
_SMALL_BYTES = 512 * 2**10
# An action that never ran has about as many in the state.
_ACTION_BYTES = 200
_MOST_REFUSALS = 3
_PAUSE_S = 1.0


def _compose(store: ExecutionStore, record: Record, progress: Mapping[str, Progress]) -> tuple[ExecutionState, Summary]:
    """Return the final state, and what is to be stored of it."""
    names = [action.id for action in record.actions]
    if record.stopped_by:
        # Elements of lists that have not been joined.
        names += [name for name in progress if name.endswith("]")]
    size_bytes = record.state_bytes + _ACTION_BYTES * len(names)
    is_small = size_bytes < _SMALL_BYTES
    results: dict[str, dict[str, Any]] = {}
    marks: dict[str, Mapping[str, str]] = {}
    parts, changes = HeavyParts(), 0
    for name, data in iterate_results(store, names, average_bytes=size_bytes / max(1, len(names))):
        if is_small:
            results[name] = data
        else:
            light = lighten(data, parts)
            results[name], marks[name], changes = light.data, light.marks, changes + light.element_changes
    if record.stopped_by:
        results = end_begun_steps(record, results, progress)
    completed_at = datetime.fromisoformat(str(record.completed_at))
    read = results if is_small else read_results(store, _read_by_outcome(record))
    state = final_state(record, results, progress, readable=with_stored_values(read), now=completed_at)
    state.version += changes
    if is_small:
        return state, Summary(state)
    whole = state.to_json_data()
    for name, own_marks in marks.items():
        # The states of elements are in those of their lists.
        if name in whole["actionStates"]:
            put_marks(whole["actionStates"][name], own_marks)
    return state, Summary({**whole, "actionStates": {}}, parts.write(whole))


def _read_by_outcome(record: Record) -> list[str]:
    """Return the actions that the validations of the plan's expected outcome read."""
    known = {action.id for action in record.actions}
    validations = (record.plan.get("expectedOutcome") or {}).get("validations") or []
    names = {reference.action_id for item in validations for reference in find_references(item["reference"])}
    return sorted(names & known)


def _finish(store: ExecutionStore) -> tuple[ExecutionState, Summary] | None:
    """Compose the final state, and note in the record how it ended; None where there is no record of it any more."""
    record, progress = mark_end(store)
    if record is None:
        logger.error("Execution %s has ended, but its record is gone", store.execution_id)
        return None
    state, summary = _compose(store, record, progress)
    end_execution(store, state.status, submitted_at=record.submitted_at)
    log = WorkflowLogger(execution_id=store.execution_id, plan_id=state.plan_id)
    counts = state.metrics.to_json_data()
    by_fallback = sum(action.completed_by_fallback for action in state.action_states.values())
    log.info("execution ended", status=state.status, **counts, by_fallback=by_fallback)
    log.metric("execution.duration_ms", counts.get("totalDuration", 0), status=state.status)
    return state, summary


def end(backend: Any, store: ExecutionStore) -> Summary | None:
    """End the execution; return its final state, None where there is no record of it any more.

    A large one is stored already. Otherwise Celery stores it.
    """
    finished = _finish(store)
    if finished is None:
        return None
    state, summary = finished
    if summary.text is None:
        return summary
    refusal = _find_refusal(backend, store, summary)
    if refusal is None:
        return summary
    logger.error("Redis refuses the final state of execution %s: %s", store.execution_id, refusal)
    for with_actions in (True, False):
        outlined = outline(state, refusal, with_actions=with_actions)
        end_execution(store, outlined.status, submitted_at=state.started_at.isoformat())
        summary = Summary(outlined)
        if _find_refusal(backend, store, summary) is None:
            break
    return summary


def end_bare(store: ExecutionStore, why: str) -> Summary | None:
    """End an execution without looking at its actions: composing its state has cost workers as well.

    Their results stay where they are. Returns None where there is no record of it any more.
    """
    record, _ = mark_end(store)
    if record is None:
        return None
    state = bare_state(record, why, now=datetime.fromisoformat(str(record.completed_at)))
    end_execution(store, state.status, submitted_at=record.submitted_at)
    logger.error("Execution %s ended without its actions: %s", store.execution_id, why)
    return Summary(state)


def _find_refusal(backend: Any, store: ExecutionStore, summary: Summary) -> str | None:
    """Store the final state. Return why Redis refuses it while it takes other writes; None where it is stored.

    While Redis is away, full or read-only, so that it takes nothing at all, the state is kept here, as an answer is.
    """
    refusals = 0
    while True:
        try:
            backend.store_once(store.execution_id, summary)
        except CONNECTION_ERRORS as error:
            # A value that is too large ends the connection while it is written: that looks like a Redis that is away.
            forget_connections(store.client)
            refusals = refusals + 1 if _takes_writes(store) else 0
            if refusals == _MOST_REFUSALS:
                return f"{type(error).__name__}: {error}"
            time.sleep(_PAUSE_S)
        else:
            summary.is_stored = True
            return None


def _takes_writes(store: ExecutionStore) -> bool:
    try:
        seconds, _ = store.client.time()
        note_sign_of_life(store, seconds)
    except CONNECTION_ERRORS as error:
        logger.warning("The final state of execution %s is kept until Redis takes it: %s", store.execution_id, error)
        return False
    return True
