"""What a plan is submitted with, for editors and type checkers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from workflow_state.schema import ExecutionPlan

PlanLike = ExecutionPlan | Mapping[str, Any] | str | bytes


class SubmitOptions(TypedDict, total=False):
    """The options of Celery's `apply_async`, all of which a plan may be submitted with."""

    countdown: float
    eta: datetime | str
    expires: float | datetime | str
    priority: int
    queue: str
    exchange: str
    exchange_type: str
    routing_key: str
    headers: Mapping[str, Any]
    link: Any
    link_error: Any
    soft_time_limit: float
    time_limit: float
    retry: bool
    retry_policy: Mapping[str, Any]
    connection: Any
    producer: Any
    publisher: Any
    add_to_parent: bool
    chain: Any
    chord: Any
    group_id: str
    group_index: int
    parent_id: str
    root_id: str
    reply_to: str
    shadow: str
    replaced_task_nesting: int
    ignore_result: bool
    result_cls: Any
    serializer: str
    compression: str
    router: Any
    argsrepr: str
    kwargsrepr: str
    stamped_headers: Sequence[str]
