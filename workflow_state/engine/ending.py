"""The end of an execution: its final state is composed of what is stored, and noted in the record."""

import logging
from datetime import datetime

from workflow_state.engine.contents import with_stored_values
from workflow_state.logger import WorkflowLogger
from workflow_state.rules.states import final_state
from workflow_state.rules.stopping import end_begun_steps
from workflow_state.schema import ExecutionState
from workflow_state.store.ending import end_execution, mark_end
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.results import read_results

logger = logging.getLogger(__name__)


def finish(store: ExecutionStore) -> ExecutionState | None:
    """Compose the final state, and note in the record how it ended; None where there is no record of it any more."""
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
    return state
