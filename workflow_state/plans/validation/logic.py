"""Checking what refers to what in a plan: its graph, references, conditions, alternatives and definitions.

The raw JSON data is read, as far as it has the right form, so that a wrong field hides nothing about the rest of the
plan. Everything is linear in the actions and dependencies, and nothing is recursive. Two searches could take longer,
for near misses and for fixes that make no cycle; they have a budget.
"""

from collections.abc import Mapping
from typing import Any, Final

from workflow_state.errors import ConditionError, PlanProblem, ReferenceParseError, ReferenceResolutionError
from workflow_state.plans.conditions import check_condition
from workflow_state.plans.references import ParsedReference, iterate_references, parse_reference
from workflow_state.plans.resolving import resolve_reference
from workflow_state.plans.validation.graph import (
    check_alternatives,
    check_cycles,
    check_dependencies,
    offer_dependency_fixes,
)
from workflow_state.plans.validation.outline import ActionOutline, PlanOutline, read_outline
from workflow_state.plans.validation.types import check_headers, check_input_types, check_output_path
from workflow_state.schema import ActionDefinition
from workflow_state.wording import shown

_OPERATORS_WITH_VALUE: Final = frozenset({"equals", "contains", "matches"})


def find_logic_problems(data: Any, definitions: Mapping[str, ActionDefinition] | None) -> list[PlanProblem]:
    """Return the problems of a plan that `read_document` has read. With None as `definitions` they are not checked."""
    plan = read_outline(data, definitions)
    for action in plan.actions:
        check_dependencies(plan, action)
        _check_inputs(plan, action)
        _check_for_each(plan, action)
        _check_condition(plan, action)
        _, definition_id = action.find("actionDefinitionId")
        check_headers(plan, action, (definitions or {}).get(str(definition_id)))
        if definitions is not None:
            _check_definition(plan, action, definitions)
    check_cycles(plan)
    check_alternatives(plan)
    offer_dependency_fixes(plan)
    _check_expected_outcome(plan)
    return plan.problems


# --- References ------------------------------------------------------------------------------------------------


def _check_inputs(plan: PlanOutline, action: ActionOutline) -> None:
    _, for_each = action.find("forEach")
    for pointer, found in iterate_references(action.inputs):
        if plan.has_too_many_problems:
            return
        path = f"{action.path}/inputs{pointer}"
        if isinstance(found, ReferenceParseError):
            plan.report("bad_reference", path, str(found))
        elif not (found.is_for_each_name and for_each is not None):
            _check_reference(plan, action, path, found)


def _check_for_each(plan: PlanOutline, action: ActionOutline) -> None:
    key, text = action.find("forEach")
    path = f"{action.path}/{key}"
    if (reference := _check_single_reference(plan, path, text)) is None:
        return
    if reference.field == "status":
        plan.report("bad_reference", path, f"forEach needs a list, and {shown(reference.text)} is text")
    _check_reference(plan, action, path, reference)


def _check_single_reference(plan: PlanOutline, path: str, text: Any) -> ParsedReference | None:
    """Return the reference that the text is, or report that it is something else."""
    # An empty text is reported with the fields.
    if not isinstance(text, str) or not text:
        return None
    try:
        reference = parse_reference(text)
    except ReferenceParseError as error:
        plan.report("bad_reference", path, str(error))
        return None
    if reference is None:
        message = f"'{shown(text)}' is not exactly one reference"
        plan.report("bad_reference", path, message, "write ${actionId.output.path} alone, without text around it")
    return reference


def _check_condition(plan: PlanOutline, action: ActionOutline) -> None:
    _, condition = action.find("condition")
    if not isinstance(condition, Mapping):
        return
    key = "if" if "if" in condition else "if_"
    text = condition.get(key)
    if not isinstance(text, str) or not text:
        return
    path = f"{action.path}/condition/{key}"
    try:
        references = check_condition(text)
    except ReferenceParseError as error:
        plan.report("bad_reference", path, str(error))
    except ConditionError as error:
        plan.report("bad_condition", path, str(error))
    else:
        for reference in references:
            _check_reference(plan, action, path, reference)


def _check_reference(plan: PlanOutline, action: ActionOutline | None, path: str, reference: ParsedReference) -> None:
    """Report a reference that can't be resolved; `action` is the action in which it stands, where there is one."""
    name = reference.action_id
    if name == "inputs":
        _check_plan_input(plan, path, reference)
    elif reference.is_for_each_name and reference.field is None:
        message = f"{shown(reference.text)}: '{name}' is known only in the inputs of an action with forEach"
        plan.report("unknown_reference", path, message)
    elif name not in plan.by_id and not (action and name == action.id):
        message = f"{shown(reference.text)}: the plan has no action '{shown(name)}'"
        plan.report("unknown_reference", path, message, plan.suggest(name, plan.known_names))
    elif action and action.dependencies is not None and name not in action.dependency_names:
        _report_missing_dependency(plan, action, path, reference)
    elif action:
        check_output_path(plan, path, reference)


def _report_missing_dependency(plan: PlanOutline, action: ActionOutline, path: str, reference: ParsedReference) -> None:
    name = reference.action_id
    if name == action.id:
        message = f"{shown(reference.text)}: an action can't read itself, it has no output before it has run"
        plan.report("reference_not_a_dependency", path, message)
    elif name not in action.missing:
        # One problem for each missing dependency, however often it is read: one repair is enough.
        message = f"{shown(reference.text)}: '{name}' is not among the dependencies, so it may not have run by then"
        suggestion = f"add '{name}' to the dependencies of '{shown(action.id)}'"
        action.missing[name] = plan.report("reference_not_a_dependency", path, message, suggestion)


def _check_plan_input(plan: PlanOutline, path: str, reference: ParsedReference) -> None:
    inputs = plan.raw.get("inputs", {})
    if not isinstance(inputs, dict):
        return
    try:
        resolve_reference(reference, {"inputs": inputs})
    except ReferenceResolutionError as error:
        plan.report("unknown_reference", path, str(error))


def _check_expected_outcome(plan: PlanOutline) -> None:
    key, outcome = plan.find("expectedOutcome")
    validations = outcome.get("validations") if isinstance(outcome, Mapping) else None
    for index, validation in enumerate(validations if isinstance(validations, list) else ()):
        if not isinstance(validation, Mapping):
            continue
        path = f"/{key}/validations/{index}"
        text = validation.get("reference")
        if text == "":
            plan.report("bad_reference", f"{path}/reference", "the reference is empty; write ${actionId.output.path}")
        if reference := _check_single_reference(plan, f"{path}/reference", text):
            _check_reference(plan, None, f"{path}/reference", reference)
        operator = validation.get("operator")
        if not isinstance(operator, str) or operator not in _OPERATORS_WITH_VALUE:
            continue
        if "value" not in validation:
            plan.report("schema", f"{path}/value", f"the operator '{operator}' needs a value to compare with")
        elif operator == "matches" and not isinstance(validation["value"], str):
            plan.report("schema", f"{path}/value", "the operator 'matches' needs a regular expression as text")


# --- Definitions -----------------------------------------------------------------------------------------------


def _check_definition(plan: PlanOutline, action: ActionOutline, definitions: Mapping[str, ActionDefinition]) -> None:
    key, definition_id = action.find("actionDefinitionId")
    if not isinstance(definition_id, str) or not definition_id:
        return
    definition = definitions.get(definition_id)
    if definition is None:
        message = f"there is no action definition '{shown(definition_id)}'"
        suggestion = plan.suggest(definition_id, definitions)
        plan.report("unknown_action_definition", f"{action.path}/{key}", message, suggestion)
        return
    if not isinstance(action.inputs, Mapping):
        return
    check_input_types(plan, action, definition)
