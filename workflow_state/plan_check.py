"""Validation of a plan against the action definitions that this process knows."""

from typing import Any

from workflow_state.actions.catalog import load_catalog
from workflow_state.schema import ExecutionPlan
from workflow_state.validation import validate_execution_plan


def check_plan(plan: Any) -> ExecutionPlan:
    """Return the valid plan; PlanValidationError with all its problems otherwise.

    A process without any action definitions (an API that only submits) leaves it to the workers to know them.
    """
    return validate_execution_plan(plan, definitions=load_catalog() or None)
