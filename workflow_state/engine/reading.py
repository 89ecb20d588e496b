"""Reading the state of an execution, running or ended."""

from typing import Any

from celery import Celery, states

from workflow_state.errors import ExecutionNotFoundError
from workflow_state.rules.confirmations import tell_each
from workflow_state.rules.states import running_state
from workflow_state.schema import ExecutionState
from workflow_state.store.connection import redis_client
from workflow_state.store.execution import open_store
from workflow_state.store.names import progress_key, record_key
from workflow_state.store.records import parse_record, read_progress
from workflow_state.store.results import decode_result, read_results


def read_execution_state(app: Celery, execution_id: str) -> ExecutionState:
    """Return the state as it is now, in one or two Redis round trips.

    Raises ExecutionNotFoundError, and MissingKeyError where this process does not have the key that it is encrypted by.
    """
    backend: Any = app.backend
    client = redis_client(backend)
    if not may_be_an_id(execution_id):
        raise ExecutionNotFoundError(f"{execution_id!r} is not the id of an execution")
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(record_key(execution_id))
        pipe.hgetall(progress_key(execution_id))
        pipe.get(backend.get_key_for_task(execution_id))
        fields, progress, raw_meta = pipe.execute()
    if raw_meta is not None and (meta := decode_result(backend, execution_id, raw_meta))["status"] == states.SUCCESS:
        ended = ExecutionState.model_validate(meta["result"])
        tell_each(ended.confirmations)
        return ended
    if not fields:
        raise ExecutionNotFoundError(
            f"there is no execution {execution_id!r}: the id is wrong, or it ended longer ago than states are kept"
        )
    record = parse_record(execution_id, fields)
    under_way = read_progress(execution_id, progress)
    names = [action.id for action in record.actions] + [name for name in under_way if name.endswith("]")]
    return running_state(record, read_results(open_store(backend, execution_id), names), under_way)


def may_be_an_id(text: str) -> bool:
    """Return whether a key can be made of it: not of nothing, nor of bytes that a shell handed on and are no UTF-8."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False
