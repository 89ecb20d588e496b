"""Checking what refers to what in a plan: its graph, references, conditions, alternatives and definitions.

The raw JSON data is read, as far as it has the right form, so that a wrong field hides nothing about the rest of the
plan. Everything is linear in the actions and dependencies, and nothing is recursive. Two searches could take longer,
for near misses and for fixes that make no cycle; they have a budget.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from workflow_state.errors import ConditionError, PlanProblem, ReferenceParseError, ReferenceResolutionError
from workflow_state.json_schema.compiled import name_types
from workflow_state.json_schema.paths import type_of
from workflow_state.plans.conditions import check_condition
from workflow_state.plans.references import (
    ParsedReference,
    find_references,
    iterate_references,
    iterate_texts,
    parse_reference,
)
from workflow_state.plans.resolving import resolve_reference
from workflow_state.plans.validation.document import make_problem
from workflow_state.plans.validation.graph import (
    check_alternatives,
    check_cycles,
    check_dependencies,
    offer_dependency_fixes,
    waits_for,
)
from workflow_state.plans.validation.misplaced import find_misplaced
from workflow_state.plans.validation.outline import ActionOutline, PlanOutline, read_outline
from workflow_state.plans.validation.overriding import check_overrides, check_places
from workflow_state.plans.validation.sent_text import check_charset
from workflow_state.plans.validation.types import check_input_types, check_output_path, find_lists, find_types
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
        _check_confirmation(plan, action)
        _, definition_id = action.find("actionDefinitionId")
        check_overrides(plan, action, (definitions or {}).get(str(definition_id)))
        check_charset(plan, action)
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
    for pointer, text in iterate_texts(action.inputs):
        if not plan.has_too_many_problems:
            _check_misplaced(plan, action, f"{action.path}/inputs{pointer}", text)
    for pointer, found in iterate_references(action.inputs):
        if plan.has_too_many_problems:
            return
        path = f"{action.path}/inputs{pointer}"
        if isinstance(found, ReferenceParseError):
            _report_malformed(plan, action, path, found)
        elif not (found.is_for_each_name and for_each is not None):
            _check_reference(plan, action, path, found)


def _check_for_each(plan: PlanOutline, action: ActionOutline) -> None:
    key, text = action.find("forEach")
    path = f"{action.path}/{key}"
    if (reference := _check_single_reference(plan, action, path, text)) is None:
        return
    types = find_types(plan, reference) or _types_of_plan_input(plan, reference)
    if types and "array" not in types:
        what = f"{shown(reference.text)} is {name_types(sorted(types))}"
        plan.report("bad_reference", path, f"forEach needs a list, and {what}", _advise_for_each(plan, reference))
    _check_reference(plan, action, path, reference)


def _advise_for_each(plan: PlanOutline, reference: ParsedReference) -> str:
    """Return which fields of the output are lists, where its outputSchema says so."""
    if reference.field != "output":
        return "refer to a list"
    lists = find_lists(plan, reference)
    if len(lists) == 1:
        return f"did you mean {shown(lists[0])}?"
    return f"refer to a list, such as {' or '.join(map(shown, lists[:3]))}" if lists else "refer to a list"


def _check_single_reference(
    plan: PlanOutline, action: ActionOutline | None, path: str, text: Any
) -> ParsedReference | None:
    """Return the reference that the text is, or report that it is something else."""
    # An empty text is reported with the fields.
    if not isinstance(text, str) or not text:
        return None
    try:
        reference = parse_reference(text)
    except ReferenceParseError as error:
        _report_malformed(plan, action, path, error)
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
        _report_malformed(plan, action, path, error)
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
        plan.report("unknown_reference", path, message, _suggest_root(plan, action, reference))
    elif action and action.dependencies is not None and name not in action.dependency_names:
        _report_missing_dependency(plan, action, path, reference)
    elif action:
        check_output_path(plan, path, reference)


def _report_malformed(plan: PlanOutline, action: ActionOutline | None, path: str, error: ReferenceParseError) -> None:
    """Report a reference that is wrongly written; what to write instead is tried before it is told."""
    if not error.instead:
        plan.report("bad_reference", path, str(error))
        return
    found = _try_reference(plan, action, error.instead)
    if not found:
        plan.report("bad_reference", path, f"{error.problem}; write {shown(error.instead)}")
        return
    # With what the outputSchema has there, where that is known.
    plan.report("bad_reference", path, error.problem, found[0].get("suggestion", ""))


def _try_reference(plan: PlanOutline, action: ActionOutline | None, text: str) -> list[PlanProblem]:
    """Return what would be wrong with a reference in this place, but for a dependency, which can be added."""
    try:
        reference = parse_reference(text)
    except ReferenceParseError as error:
        return [make_problem("bad_reference", "", str(error))]
    trial = replace(plan, problems=[])
    own = replace(action, missing={}) if action else None
    if reference is None or (action and reference.action_id == action.id):
        return [make_problem("bad_reference", "", "")]
    if not (reference.is_for_each_name and own and own.find("forEach")[1] is not None):
        _check_reference(trial, own, "", reference)
        plan.searches_left = trial.searches_left
    if reference.action_id in plan.by_id and not trial.problems:
        check_output_path(trial, "", reference)
    return [problem for problem in trial.problems if problem["code"] != "reference_not_a_dependency"]


def _suggest_root(plan: PlanOutline, action: ActionOutline | None, reference: ParsedReference) -> str:
    """Return the action or `inputs` that was probably meant, unless it can't be read there."""
    name = reference.action_id
    others = (known for known in plan.by_id if action is None or known != action.id)
    near = plan.find_near(name, chain(("inputs",), others))
    if near is None or (action and near != "inputs" and waits_for(plan, near, action.id)):
        return ""
    found = _try_reference(plan, action, f"${{{near}{reference.text[2 + len(name) :]}")
    is_wrong_too = any(problem["code"] == "unknown_reference" for problem in found)
    return "" if is_wrong_too else f"did you mean '{shown(near)}'?"


def _check_misplaced(plan: PlanOutline, action: ActionOutline, path: str, text: str) -> None:
    """Report an expression in an input, which would be sent as text."""
    if "}" not in text or (text.endswith("}") and text.startswith("${") and text.count("${") == 1):
        return
    types = _known_types(plan, text)
    found = find_misplaced(
        text,
        holds_parts=bool(types) and types <= {"object", "array", "null"},
        is_number=bool(types) and types <= {"number", "integer", "null"},
    )
    if found is None:
        return
    suggestion = found.suggestion
    if found.instead and not _try_reference(plan, action, found.instead):
        suggestion = f"write {shown(found.instead)}"
    plan.report("bad_reference", path, found.problem, suggestion)


def _known_types(plan: PlanOutline, text: str) -> frozenset[str]:
    """Return the JSON types that the reference at the start of a text may have; empty where nothing is known."""
    try:
        reference = next(iter(find_references(text.strip())), None)
    except ReferenceParseError:
        return frozenset()
    if reference is None or not text.strip().startswith(reference.text):
        return frozenset()
    return find_types(plan, reference) or _types_of_plan_input(plan, reference)


def _types_of_plan_input(plan: PlanOutline, reference: ParsedReference) -> frozenset[str]:
    """Return the type of the plan input that is read, as far as it is known; empty where it is none."""
    if reference.action_id != "inputs":
        return frozenset()
    try:
        value = resolve_reference(reference, {"inputs": plan.raw.get("inputs", {})})
    except ReferenceResolutionError:
        return frozenset()
    return frozenset({type_of(value)})


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
        message, name = str(error), str(next(iter(reference.path), ""))
        is_missing = name and name not in inputs and "did you mean" not in message
        advice = f"add '{shown(name)}' to the plan's inputs; on the command line: --input {shown(name)}=VALUE"
        plan.report("unknown_reference", path, message, advice if is_missing else "")


def _check_confirmation(plan: PlanOutline, action: ActionOutline) -> None:
    """Report references in what a person is asked: they would be shown as they are written, without their values."""
    key, confirmation = action.find("userConfirmation")
    for name in ("title", "message") if isinstance(confirmation, Mapping) else ():
        text = confirmation.get(name)
        if not isinstance(text, str):
            continue
        found = next((found for _, found in iterate_references(text)), None)
        if found is not None:
            what = shown(found.text) if isinstance(found, ParsedReference) else "a ${…}"
            plan.report(
                "bad_reference",
                f"{action.path}/{key}/{name}",
                f"{what} would be shown as it is written: the {name} of a confirmation is plain text",
                "leave it out: whoever is asked sees the whole request, with its values",
            )


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
        if reference := _check_single_reference(plan, None, f"{path}/reference", text):
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
    already_found = len(plan.problems)
    check_input_types(plan, action, definition)
    check_places(plan, action, definition, since=already_found)
