"""The names that others see: every Redis key, and every name and id of a task."""

from workflow_state.schema import ExecutionStatus

KEY_PREFIX = "workflow_state:"
TASK_PREFIX = "workflow_state."
ACTION_TASK = f"{TASK_PREFIX}execute_action"
LEVEL_TASK = f"{TASK_PREFIX}execute_level"

LEVEL_INFIX = ".level-"
"""Between an execution's id and a level's number, in the id of the level's group."""


def record_key(execution_id: str) -> str:
    """Hash: the execution's record (records.py)."""
    return f"{KEY_PREFIX}execution:{execution_id}"


def progress_key(execution_id: str) -> str:
    """Hash: step → claim (flat JSON), `<step>:trace` → the trace of the attempts so far (JSON)."""
    return f"{KEY_PREFIX}progress:{execution_id}"


def worker_key(name: str) -> str:
    """Return the key of a process's lease: `{at: Redis' time in s, holders: those that it had then}`."""
    return f"{KEY_PREFIX}worker:{name}"


INDEX_KEY = f"{KEY_PREFIX}executions"

STATUSES_WITH_INDEX = (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)
"""Of those that ended like this there are few among many, so that an index of their own finds them."""


def index_key(status: ExecutionStatus | None) -> str:
    """Return the sorted set in which executions of that status are found: id → time of submission in ms."""
    return f"{INDEX_KEY}:{status}" if status in STATUSES_WITH_INDEX else INDEX_KEY


def action_task_id(execution_id: str, step: str) -> str:
    """Return the Celery task id of a step, an action or one element of its list: the same each time it is published."""
    return f"{execution_id}.{step}"


def level_group_id(execution_id: str, number: int) -> str:
    """Return the id of a level's group: the same for each time that it is published."""
    return f"{execution_id}{LEVEL_INFIX}{number}"


ALARMS_KEY = f"{KEY_PREFIX}alarms"

EXPIRE_TASK = f"{TASK_PREFIX}expire_outputs"
