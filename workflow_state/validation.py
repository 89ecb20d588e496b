"""Plans and the action definitions that this process knows: what the package's users call."""

from collections.abc import Mapping
from typing import Any

from workflow_state.actions.definitions.catalog import load_catalog
from workflow_state.plans.json_schema import make_plan_json_schema
from workflow_state.plans.validation.validator import validate_logic_with, validate_plan_with
from workflow_state.schema import ActionDefinition, ExecutionPlan


def validate_execution_plan(
    plan: ExecutionPlan | Mapping[str, Any] | str | bytes,
    *,
    definitions: Mapping[str, ActionDefinition] | None = None,
) -> ExecutionPlan:
    """Return the plan (a model, JSON data or JSON text) as a model; PlanValidationError with all problems otherwise.

    `definitions` are those of this process unless others are given. Where it knows none (an API that only submits),
    it is left to the workers to know them.
    """
    return validate_plan_with(_or_known(definitions), plan)


def validate_plan_logic(
    plan: ExecutionPlan | Mapping[str, Any] | str | bytes,
    *,
    definitions: Mapping[str, ActionDefinition] | None = None,
) -> None:
    """Check what refers to what in a plan, as validate_execution_plan does, but not the form of its fields."""
    validate_logic_with(_or_known(definitions), plan)


def json_schema_of_plans(*, strict: bool = False) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a plan that names only definitions of this process, where it knows any.

    With `strict`, one that models can be held to (OpenAI's and Anthropic's structured outputs): their answer is made a
    plan by `read_strict_plan`.
    """
    return make_plan_json_schema(load_catalog(), strict=strict)


def _or_known(definitions: Mapping[str, ActionDefinition] | None) -> Mapping[str, ActionDefinition] | None:
    return definitions if definitions is not None else load_catalog() or None
