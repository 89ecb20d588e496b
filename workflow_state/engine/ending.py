"""The end of an execution: its final state is composed of what is stored, and noted in the record.

Celery stores what a task returns. It would try for ever to store what Redis refuses for good: a value larger than it
takes, or than there is memory for. So a state that is not small is stored here, before the task returns it. Where Redis
refuses it and takes other writes, an outline of the state takes its place, which says so.
"""

import logging
import time
from datetime import datetime
from typing import Any

from workflow_state.engine.contents import with_stored_values
from workflow_state.engine.messages import Summary
from workflow_state.logger import WorkflowLogger
from workflow_state.rules.outline import outline
from workflow_state.rules.states import final_state
from workflow_state.rules.stopping import end_begun_steps
from workflow_state.schema import ExecutionState
from workflow_state.store.connection import CONNECTION_ERRORS, forget_connections
from workflow_state.store.ending import end_execution, mark_end
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.position import note_sign_of_life
from workflow_state.store.results import read_results

logger = logging.getLogger(__name__)

# A state below this is never too large for a Redis that works.
_SMALL_BYTES = 512 * 2**10
# An action that never ran has about as many in the state.
_ACTION_BYTES = 200
_MOST_REFUSALS = 3
_PAUSE_S = 1.0


def _finish(store: ExecutionStore) -> tuple[ExecutionState, int] | None:
    """Compose the final state, and note in the record how it ended; None where there is no record of it any more.

    Beside it comes about how many bytes it has.
    """
    record, progress = mark_end(store)
    if record is None:
        logger.error("Execution %s has ended, but its record is gone", store.execution_id)
        return None
    names = [action.id for action in record.actions]
    if record.stopped_by:
        elements = [name for name in progress if name.endswith("]")]
        results = end_begun_steps(record, read_results(store, [*names, *elements]), progress)
    else:
        results = read_results(store, names)
    completed_at = datetime.fromisoformat(str(record.completed_at))
    state = final_state(record, results, progress, readable=with_stored_values(results), now=completed_at)
    end_execution(store, state.status, submitted_at=record.submitted_at)
    log = WorkflowLogger(execution_id=store.execution_id, plan_id=state.plan_id)
    counts = state.metrics.to_json_data()
    log.info("execution ended", status=state.status, **counts)
    log.metric("execution.duration_ms", counts.get("totalDuration", 0), status=state.status)
    return state, record.state_bytes + _ACTION_BYTES * len(names)


def end(backend: Any, store: ExecutionStore) -> Summary | None:
    """End the execution; return its final state, None where there is no record of it any more.

    A large one is stored already. Otherwise Celery stores it.
    """
    finished = _finish(store)
    if finished is None:
        return None
    state, size_bytes = finished
    summary = Summary(state)
    if size_bytes < _SMALL_BYTES:
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
