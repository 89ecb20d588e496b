"""Validating plans against the action definitions that this process knows: what users of the package call.

`plans.validation` has the same functions with the definitions as an argument, and knows no catalog.
"""

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
    """Return a plan as a model, or raise PlanValidationError with every problem that it has.

    >>> validate_execution_plan('{"name": "Hello", "actions": [{"id": "greet", "actionDefinitionId": "echo"}]}').name
    'Hello'

    Call it before a plan is stored or shown, or to let a language model repair the plan that it wrote: `.errors` of the
    exception says of each problem what is wrong, where, and what to do. `execute_plan` validates by itself.

    `plan` is a model, JSON data, or JSON text (UTF-8) of at most 4 MiB. It is not changed; a plan without an id gets
    one in the model. `definitions` maps ids to the action definitions that the plan may name. By default these are all
    that this process knows. Where it knows none, as in an API that only submits plans, what the actions name and their
    inputs are not checked here: the workers do that.

    Raises PlanValidationError, and ActionDefinitionError where a file with definitions is wrong. At most 1,000
    problems are listed. The time that it takes is linear in the size of the plan.
    """
    return validate_plan_with(_or_known(definitions), plan)


def validate_plan_logic(
    plan: ExecutionPlan | Mapping[str, Any] | str | bytes,
    *,
    definitions: Mapping[str, ActionDefinition] | None = None,
) -> None:
    """Check what refers to what in a plan: dependencies, references, conditions, alternatives and definitions.

    Call it for a plan that is still being written, whose other fields may be missing or wrong. It takes what
    `validate_execution_plan` takes, and raises PlanValidationError with the same problems, without those of the fields.
    """
    validate_logic_with(_or_known(definitions), plan)


def json_schema_of_plans(*, strict: bool = False) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a plan; where this process knows definitions, a plan may name only those.

    Give it to an editor or to a form. With `strict` it is a schema that language models can be held to, by the
    structured outputs of OpenAI and Anthropic. `read_strict_plan` turns their answer into a plan.

    Raises ActionDefinitionError where a file with definitions is wrong.
    """
    return make_plan_json_schema(load_catalog(), strict=strict)


def _or_known(definitions: Mapping[str, ActionDefinition] | None) -> Mapping[str, ActionDefinition] | None:
    return definitions if definitions is not None else load_catalog() or None
