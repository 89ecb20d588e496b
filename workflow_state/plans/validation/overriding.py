"""Checking that each input has a place in its request, and changes nothing that only the definition decides."""

import unicodedata
from collections.abc import Mapping

from workflow_state.json_schema.inputs import is_open
from workflow_state.overrides import Override, find_header_override, find_path_problem, find_query_override
from workflow_state.placement import find_placement_problem
from workflow_state.plans.references import escape_pointer
from workflow_state.plans.validation.outline import ActionOutline, PlanOutline
from workflow_state.plans.validation.types import with_plan_inputs
from workflow_state.schema import ActionDefinition
from workflow_state.wording import shown


def check_overrides(plan: PlanOutline, action: ActionOutline, definition: ActionDefinition | None) -> None:
    """Report inputs that would change what the definition decides; with None, those that no definition allows."""
    if not isinstance(action.inputs, Mapping):
        return
    definition_id = definition.id if definition else ""
    for key, value in action.inputs.items():
        if value is None:
            continue
        # A plan of thousands of actions has few definitions, and each of their inputs again and again.
        known = (definition_id, key)
        if known not in plan.overrides:
            plan.overrides[known] = _find_override(str(key), definition)
        if override := plan.overrides[known]:
            # The value is not shown: it may be a token.
            path = f"{action.path}/inputs/{escape_pointer(str(key))}"
            plan.report("bad_input", path, override.problem, override.suggestion)
    if definition:
        _check_path(plan, action, definition)


def check_places(plan: PlanOutline, action: ActionOutline, definition: ActionDefinition, *, since: int) -> None:
    """Report inputs that have no place in the request, where none of the problems from `since` on is about them."""
    told = {problem["path"] for problem in plan.problems[since:]}
    for key in action.inputs:
        path = f"{action.path}/inputs/{escape_pointer(str(key))}"
        if path not in told and (found := find_placement_problem(str(key), definition)):
            plan.report("bad_input", path, found.problem, found.suggestion)


def _find_override(key: str, definition: ActionDefinition | None) -> Override | None:
    # However it is written: a name that only looks like another one is refused by the worker, and its value stored.
    prefix, _, name = unicodedata.normalize("NFKC", key).strip().partition(".")
    name = shown(name.strip())
    if name and prefix == "header":
        return find_header_override(name, definition)
    if name and prefix == "query" and definition:
        return find_query_override(name, definition)
    return None


def _check_path(plan: PlanOutline, action: ActionOutline, definition: ActionDefinition) -> None:
    """Report values that would lead out of their segment of the path, where they are known."""
    template = definition.endpoint.url.partition("?")[0]
    for name in definition.endpoint.placeholders:
        value = action.inputs.get(name)
        if is_open(value):
            value = with_plan_inputs(plan, {name: value})[name]
        if not isinstance(value, str) or is_open(value):
            continue
        if (problem := find_path_problem(name, value)) and f"{{{name}}}" in template:
            plan.report("bad_input", f"{action.path}/inputs/{escape_pointer(name)}", problem, "use another value")
