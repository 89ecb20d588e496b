"""Run a plan of HTTP actions in the background on Celery and Redis."""

import sys

from workflow_state.actions.definitions.catalog import load_action_definition, register_action_definition
from workflow_state.actions.execute import execute_http_action
from workflow_state.client.executions import cancel_execution, confirm_action, get_execution_state, list_executions
from workflow_state.client.outputs import read_output
from workflow_state.client.resume import resume_execution
from workflow_state.errors import (
    ActionDefinitionError,
    ConfirmationError,
    ExecutionConflictError,
    ExecutionNotFoundError,
    HttpActionError,
    OutcomeUnknownError,
    PlanValidationError,
    ReferenceParseError,
    ReferenceResolutionError,
    SettingsError,
    StorageError,
    WorkflowStateError,
)
from workflow_state.executor import execute_plan
from workflow_state.logger import WorkflowLogger
from workflow_state.patterns import (
    are_dependencies_satisfied,
    create_batch_processing,
    create_conditional_branch,
    create_fan_out_fan_in_pattern,
    create_retry_with_fallback,
    create_sequential_pipeline,
    extract_successful_results,
    find_circular_dependencies,
    group_actions_by_dependency_level,
)
from workflow_state.plans.json_schema import read_strict_plan
from workflow_state.plans.references import ParsedReference, parse_reference
from workflow_state.plans.resolving import resolve_reference
from workflow_state.rules.metrics import calculate_execution_metrics
from workflow_state.schema import (
    ActionDefinition,
    ActionExecutionState,
    ErrorDetail,
    ExecutionPlan,
    ExecutionState,
    PlannedAction,
    StorageLocation,
)
from workflow_state.validation import json_schema_of_plans, validate_execution_plan, validate_plan_logic

__all__ = [
    "ActionDefinition",
    "ActionDefinitionError",
    "ActionExecutionState",
    "ConfirmationError",
    "ErrorDetail",
    "ExecutionConflictError",
    "ExecutionNotFoundError",
    "ExecutionPlan",
    "ExecutionState",
    "HttpActionError",
    "OutcomeUnknownError",
    "ParsedReference",
    "PlanValidationError",
    "PlannedAction",
    "ReferenceParseError",
    "ReferenceResolutionError",
    "SettingsError",
    "StorageError",
    "StorageLocation",
    "WorkflowLogger",
    "WorkflowStateError",
    "are_dependencies_satisfied",
    "calculate_execution_metrics",
    "cancel_execution",
    "confirm_action",
    "create_batch_processing",
    "create_conditional_branch",
    "create_fan_out_fan_in_pattern",
    "create_retry_with_fallback",
    "create_sequential_pipeline",
    "execute_http_action",
    "execute_plan",
    "extract_successful_results",
    "find_circular_dependencies",
    "get_execution_state",
    "group_actions_by_dependency_level",
    "json_schema_of_plans",
    "list_executions",
    "load_action_definition",
    "parse_reference",
    "read_output",
    "read_strict_plan",
    "register_action_definition",
    "resolve_reference",
    "resume_execution",
    "validate_execution_plan",
    "validate_plan_logic",
]

# Where `opentelemetry-instrument` has been here before us; otherwise it costs nothing.
if "opentelemetry.instrumentation.celery" in sys.modules:
    from workflow_state.engine.telemetry import instrument

    instrument()
