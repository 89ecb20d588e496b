"""Run a plan of HTTP actions in the background on Celery and Redis.

Each name is loaded when it is first used: `from workflow_state import read_strict_plan` loads no Celery.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workflow_state.actions.definitions.catalog import load_action_definition, register_action_definition
    from workflow_state.actions.execute import execute_http_action
    from workflow_state.client.executions import cancel_execution, confirm_action, get_execution_state, list_executions
    from workflow_state.client.outputs import read_output
    from workflow_state.client.questions import read_request_body
    from workflow_state.client.resume import resume_execution
    from workflow_state.errors import (
        ActionDefinitionError,
        BrokerUnavailableError,
        ConfirmationError,
        DecryptionError,
        ExecutionConflictError,
        ExecutionNotFoundError,
        HttpActionError,
        MissingKeyError,
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
    "BrokerUnavailableError",
    "ConfirmationError",
    "DecryptionError",
    "ErrorDetail",
    "ExecutionConflictError",
    "ExecutionNotFoundError",
    "ExecutionPlan",
    "ExecutionState",
    "HttpActionError",
    "MissingKeyError",
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
    "read_request_body",
    "read_strict_plan",
    "register_action_definition",
    "resolve_reference",
    "resume_execution",
    "validate_execution_plan",
    "validate_plan_logic",
]

_NAMES_IN = {
    "workflow_state.actions.definitions.catalog": ("load_action_definition", "register_action_definition"),
    "workflow_state.actions.execute": ("execute_http_action",),
    "workflow_state.client.executions": (
        "cancel_execution",
        "confirm_action",
        "get_execution_state",
        "list_executions",
    ),
    "workflow_state.client.outputs": ("read_output",),
    "workflow_state.client.questions": ("read_request_body",),
    "workflow_state.client.resume": ("resume_execution",),
    "workflow_state.errors": (
        "ActionDefinitionError",
        "BrokerUnavailableError",
        "ConfirmationError",
        "DecryptionError",
        "ExecutionConflictError",
        "ExecutionNotFoundError",
        "HttpActionError",
        "MissingKeyError",
        "OutcomeUnknownError",
        "PlanValidationError",
        "ReferenceParseError",
        "ReferenceResolutionError",
        "SettingsError",
        "StorageError",
        "WorkflowStateError",
    ),
    "workflow_state.executor": ("execute_plan",),
    "workflow_state.logger": ("WorkflowLogger",),
    "workflow_state.patterns": (
        "are_dependencies_satisfied",
        "create_batch_processing",
        "create_conditional_branch",
        "create_fan_out_fan_in_pattern",
        "create_retry_with_fallback",
        "create_sequential_pipeline",
        "extract_successful_results",
        "find_circular_dependencies",
        "group_actions_by_dependency_level",
    ),
    "workflow_state.plans.json_schema": ("read_strict_plan",),
    "workflow_state.plans.references": ("ParsedReference", "parse_reference"),
    "workflow_state.plans.resolving": ("resolve_reference",),
    "workflow_state.rules.metrics": ("calculate_execution_metrics",),
    "workflow_state.schema": (
        "ActionDefinition",
        "ActionExecutionState",
        "ErrorDetail",
        "ExecutionPlan",
        "ExecutionState",
        "PlannedAction",
        "StorageLocation",
    ),
    "workflow_state.validation": ("json_schema_of_plans", "validate_execution_plan", "validate_plan_logic"),
}
_MODULE_OF = {name: module for module, names in _NAMES_IN.items() for name in names}
# `import workflow_state` is enough for `workflow_state.errors.StorageError`.
_SUBMODULES = frozenset(
    {"celery", "errors", "executor", "logger", "patterns", "reference_parser", "schema", "settings", "validation"}
)

if not TYPE_CHECKING:  # a type checker that saw this would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Load what is asked for the first time (PEP 562)."""
        if name in _SUBMODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_SUBMODULES})


# Where `opentelemetry-instrument` has been here before us; otherwise it costs nothing.
if "opentelemetry.instrumentation.celery" in sys.modules:
    from workflow_state.engine.telemetry import instrument

    instrument()
