"""The names that others see: every Redis key, and every name and id of a task."""

from workflow_state.schema import ExecutionStatus

QUEUE = "workflow_state"
"""The queue of all our tasks; its exchange has the same name."""

KEY_PREFIX = "workflow_state:"

_deployment_prefix = ""

TASK_PREFIX = "workflow_state."
ACTION_TASK = f"{TASK_PREFIX}execute_action"
LEVEL_TASK = f"{TASK_PREFIX}execute_level"

TASK_ID_SEPARATOR = "~"
"""Between an execution's id and a step, in the id of the step's task: no execution's id has it."""

LEVEL_CLAIM = ":level"
"""The claim of an execution's level task, beside those of its steps: no step's name has a colon."""

LEVEL_INFIX = ".level-"
"""Between an execution's id and a level's number, in the id of the level's group."""


def use_key_prefix(prefix: str) -> None:
    """Put this before every key of ours: Celery's `global_keyprefix`, by which deployments on one Redis keep apart."""
    global _deployment_prefix  # noqa: PLW0603 - a process belongs to one deployment, by its configuration
    _deployment_prefix = prefix


def key_of(rest: str) -> str:
    """Return the key of ours that ends like this, with whatever this deployment puts before its keys."""
    return f"{_deployment_prefix}{KEY_PREFIX}{rest}"


def record_key(execution_id: str) -> str:
    """Hash: the execution's record (records.py)."""
    return key_of(f"execution:{execution_id}")


def progress_key(execution_id: str) -> str:
    """Hash: step → claim (flat JSON), `<step>:trace` → the trace of the attempts so far (JSON)."""
    return key_of(f"progress:{execution_id}")


def worker_key(name: str) -> str:
    """Return the key of a process's lease: `{at: Redis' time in s, holders: those that it had then}`."""
    return key_of(f"worker:{name}")


STATUSES_WITH_INDEX = (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)
"""Of those that ended like this there are few among many, so that an index of their own finds them."""


def index_key(status: ExecutionStatus | None = None) -> str:
    """Return the sorted set in which executions of that status are found: id → time of submission in ms."""
    return key_of(f"executions:{status}" if status in STATUSES_WITH_INDEX else "executions")


def action_task_id(execution_id: str, step: str) -> str:
    """Return the Celery task id of a step, an action or one element of its list: the same each time it is published."""
    return f"{execution_id}{TASK_ID_SEPARATOR}{step}"


def execution_of_task(task_id: str) -> str:
    """Return the id of the execution that a task belongs to: the execution's own task, or one of its steps'."""
    return task_id.partition(TASK_ID_SEPARATOR)[0]


def step_of_task(task_id: str) -> str:
    """Return the step that a task is about, an action or one element of its list; '' for the execution's own task."""
    return task_id.partition(TASK_ID_SEPARATOR)[2]


def level_group_id(execution_id: str, number: int) -> str:
    """Return the id of a level's group: the same for each time that it is published."""
    return f"{execution_id}{LEVEL_INFIX}{number}"


def alarms_key() -> str:
    """Return the sorted set of what to look at, and when (alarms.py)."""
    return key_of("alarms")


def expiry_key() -> str:
    """Return the key that says that a worker has published the expiry of stored outputs in the last hour."""
    return key_of("expiry")


def encryption_key() -> str:
    """Return the key that names the key of WORKFLOW_STATE_KEYS which new executions are encrypted by (sealing.py)."""
    return key_of("encryption")


def durability_key() -> str:
    """Return the key of the primary's time as primary in which it was last seen with a replica (durability.py)."""
    return key_of("durability")


def durability_probe_key() -> str:
    """Return the key that a process writes to find out how long it takes until a write is safe."""
    return key_of("durability:probe")


EXPIRE_TASK = f"{TASK_PREFIX}expire_outputs"
