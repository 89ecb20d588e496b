"""Checking the types in a plan: inputs by their inputSchema, and references by the outputSchema of what they read.

Only what is certainly wrong is reported. The values of references are not known yet. So of an object with references in
it two things are checked: its literal parts, and what does not depend on the references, such as the names of
properties and the number of entries.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from workflow_state.errors import ActionDefinitionError, ReferenceParseError, ReferenceResolutionError
from workflow_state.json_schema.compiled import CompiledSchema, Mismatch, compile_schema, name_types
from workflow_state.json_schema.inputs import (
    InputPath,
    NamedInputs,
    find_input_mismatches,
    is_open,
    name_inputs,
    name_place,
    travels_as_text,
    widen_types,
)
from workflow_state.json_schema.paths import (
    ANY_TYPE,
    NoSuchKey,
    SchemaView,
    declared_names,
    types_of,
    view_schema,
    walk_schema,
)
from workflow_state.plans.references import ParsedReference, escape_pointer, parse_reference
from workflow_state.plans.resolving import resolve_reference
from workflow_state.plans.validation.outline import ActionOutline, PlanOutline
from workflow_state.schema import ActionDefinition
from workflow_state.wording import shown, write_path

# These can be checked for an object or a list although not all of its contents are known.
_SURE_KEYWORDS: Final = frozenset(
    {
        "type",
        "required",
        "additionalProperties",
        "minProperties",
        "maxProperties",
        "minItems",
        "maxItems",
        "falseSchema",
    }
)
# Whether these apply depends on values that may not be known.
_DEPENDENT: Final = frozenset({"then", "else", "unevaluatedProperties", "unevaluatedItems"})
_MAX_SUBSTITUTED_CHARACTERS: Final = 1_000
_MAX_NAMES_LISTED: Final = 10
_STATUS_TYPES: Final = frozenset({"string"})


def check_input_types(plan: PlanOutline, action: ActionOutline, definition: ActionDefinition) -> None:
    """Report inputs that are missing, inputs that do not fit the inputSchema, and references of a wrong type."""
    for name in definition.endpoint.placeholders:
        if action.inputs.get(name) is None:
            _report_missing(plan, action, definition, name, "in its URL")
    if definition.input_schema is None or not (schema := _compiled(plan, definition)):
        return
    named = name_inputs(definition, with_plan_inputs(plan, action.inputs))
    for name in named.missing:
        if name not in definition.endpoint.placeholders:
            _report_missing(plan, action, definition, name, "as its inputSchema says")
    for path, mismatch in find_input_mismatches(named, schema):
        if _is_sure(named, mismatch, as_text=travels_as_text(definition, str(path[0]) if path else "body")):
            message = f"{name_place(path)} {mismatch.message} (inputSchema of '{shown(definition.id)}')"
            suggestion = mismatch.suggestion or _suggest_name(plan, named, mismatch)
            plan.report("bad_input", f"{action.path}/inputs{_point(path)}", message, suggestion)
    _check_reference_types(plan, action, definition, named)


def check_output_path(plan: PlanOutline, path: str, reference: ParsedReference) -> None:
    """Report a reference that reads what the outputSchema of the other action has no place for."""
    output = _find_output(plan, reference)
    if output is None or isinstance(output.found, SchemaView):
        return
    depth, known = output.depth, output.found.known
    step = reference.path[depth]
    place = shown(f"{reference.action_id}.output{write_path(reference.path[:depth])}")
    by = f"by the outputSchema of '{shown(output.definition_id)}'"
    if known is None:
        what = "no keys" if isinstance(step, str) else "no entries"
        plan.report("bad_reference", path, f"{shown(reference.text)}: {place} has {what} {by}")
        return
    message = f"{shown(reference.text)}: {place} has no key '{shown(str(step))}' {by}"
    near = plan.suggest(str(step), known)
    plan.report("bad_reference", path, message, near or _list_names("its keys are", known))


def _list_names(words: str, names: Sequence[str]) -> str:
    listed = ", ".join(map(shown, names[:_MAX_NAMES_LISTED]))
    return f"{words} {listed}" if names else ""


@dataclass(frozen=True, slots=True)
class _Output:
    """What an outputSchema says of the place that a reference reads.

    `first` is the step that goes into the output of one request, `depth` how many steps could be made.
    """

    found: SchemaView | NoSuchKey
    definition_id: str
    first: int
    depth: int


def _find_output(plan: PlanOutline, reference: ParsedReference) -> _Output | None:
    """Return what is known of the place that is read.

    None where nothing is known: another output may stand in for the action's own.
    """
    producer = plan.by_id.get(reference.action_id)
    if producer is None or reference.field != "output" or plan.definitions is None:
        return None
    definition = plan.definitions.get(str(producer.find("actionDefinitionId")[1]))
    _, handling = producer.find("errorHandling")
    if definition is None or definition.output_schema is None or _has_substitute(handling):
        return None
    # The output of an action with forEach is the list of its requests' outputs.
    first = 0 if producer.find("forEach")[1] is None else 1
    if first and not (reference.path and isinstance(reference.path[0], int)):
        return None
    found, depth = walk_schema(view_schema(definition.output_schema), reference.path[first:])
    return _Output(found, definition.id, first, first + depth)


def _has_substitute(handling: Any) -> bool:
    names = ("fallbackValue", "fallback_value", "alternativeActionId", "alternative_action_id")
    return isinstance(handling, Mapping) and any(name in handling for name in names)


# --- Inputs ----------------------------------------------------------------------------------------------------


def _report_missing(
    plan: PlanOutline, action: ActionOutline, definition: ActionDefinition, name: str, why: str
) -> None:
    path = f"{action.path}/inputs/{escape_pointer(name)}"
    message = f"'{shown(definition.id)}' needs the input '{shown(name)}' {why}"
    plan.report("missing_input", path, message, f"add '{shown(name)}' to the inputs")


def _compiled(plan: PlanOutline, definition: ActionDefinition) -> CompiledSchema | None:
    # A wrong definition is reported where it is loaded; here it just can't be used.
    if definition.id not in plan.input_schemas:
        try:
            schema = compile_schema(definition.input_schema or {})
        except ActionDefinitionError:
            schema = None
        plan.input_schemas[definition.id] = schema
    return plan.input_schemas[definition.id]


def with_plan_inputs(plan: PlanOutline, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with references to short plan inputs replaced by their values."""
    given = plan.raw.get("inputs", {})
    return {key: _plan_input(value, given) if is_open(value) else value for key, value in inputs.items()}


def _plan_input(text: str, given: Any) -> Any:
    try:
        reference = parse_reference(text)
        if reference is None or reference.action_id != "inputs":
            return text
        value = resolve_reference(reference, {"inputs": given})
    except (ReferenceParseError, ReferenceResolutionError):
        return text
    # A value that looks like a reference is taken for one below, and nothing is reported.
    if isinstance(value, (list, dict)) or (isinstance(value, str) and len(value) > _MAX_SUBSTITUTED_CHARACTERS):
        return text
    return value


def _is_sure(named: NamedInputs, mismatch: Mismatch, *, as_text: bool) -> bool:
    """Return whether the value is wrong whatever its references stand for."""
    if not _DEPENDENT.isdisjoint(mismatch.rule):
        return False
    value: Any = named.values
    for step in mismatch.path:
        value = value[step]
    if not mismatch.path:
        return mismatch.keyword == "additionalProperties"
    if is_open(value):
        # With text around it a reference becomes text. As a parameter, that text may still be a number.
        return mismatch.keyword == "type" and not as_text and _is_interpolated(value)
    return mismatch.keyword in _SURE_KEYWORDS or _is_literal(value)


def _is_interpolated(text: str) -> bool:
    try:
        return parse_reference(text) is None
    except ReferenceParseError:
        return False


def _is_literal(root: Any) -> bool:
    pending = [root]
    while pending:
        value = pending.pop()
        if is_open(value):
            return False
        if isinstance(value, (Mapping, list)):
            pending += value.values() if isinstance(value, Mapping) else value
    return True


def _suggest_name(plan: PlanOutline, named: NamedInputs, mismatch: Mismatch) -> str:
    """Return `did you mean …?` for a property that the schema does not have."""
    if mismatch.keyword != "additionalProperties":
        return ""
    found, _ = walk_schema(named.view, mismatch.path)
    if isinstance(found, NoSuchKey):
        return ""
    known = [*declared_names(found)]
    value: Any = named.values
    for step in mismatch.path:
        value = value[step]
    # What is there already was not meant; it would be given twice.
    missing = [name for name in known if not (isinstance(value, Mapping) and name in value)]
    return plan.suggest(mismatch.unexpected[0], missing) or _list_names("the names here are", known)


# --- References ------------------------------------------------------------------------------------------------


def _check_reference_types(
    plan: PlanOutline, action: ActionOutline, definition: ActionDefinition, named: NamedInputs
) -> None:
    """Report references to outputs of a type that does not fit where the reference stands."""
    places = {origin: name for name, origin in named.origins.items()}
    for key, value in action.inputs.items():
        for steps, reference in _iterate_whole_references(value):
            if (given := find_types(plan, reference)) is None:
                continue
            path = (key, *steps)
            place = next(((*places[path[:size]], *path[size:]) for size in (2, 1) if path[:size] in places), None)
            if place is None:
                continue
            wanted, _ = walk_schema(named.view, place)
            if isinstance(wanted, NoSuchKey):
                continue
            types = types_of(wanted)
            if types and given.isdisjoint(widen_types(types, definition, key)):
                message = (
                    f"{shown(reference.text)} is {_name_types(given)} by its outputSchema, and "
                    f"{name_place(path)} must be {_name_types(types)} (inputSchema of '{shown(definition.id)}')"
                )
                plan.report("bad_reference", f"{action.path}/inputs{_point(path)}", message)


def _name_types(types: frozenset[str]) -> str:
    # Every integer is a number: naming both would say the same twice.
    return name_types(sorted(types - {"integer"} if "number" in types else types))


def _point(path: InputPath) -> str:
    return "".join(f"/{escape_pointer(step)}" for step in path)


def _iterate_whole_references(root: Any) -> Iterator[tuple[InputPath, ParsedReference]]:
    """Yield the references that are a whole string, with their places. Other references become text."""
    pending: list[tuple[InputPath, Any]] = [((), root)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, Mapping):
            pending += [((*path, key), child) for key, child in reversed([*value.items()])]
        elif isinstance(value, list):
            pending += [((*path, index), child) for index, child in reversed([*enumerate(value)])]
        elif is_open(value):
            try:
                reference = parse_reference(value)
            except ReferenceParseError:
                continue
            if reference is not None:
                yield path, reference


def find_types(plan: PlanOutline, reference: ParsedReference) -> frozenset[str] | None:
    """Return the types that the reference can stand for, or None where nothing is known."""
    if reference.field == "status" and reference.action_id in plan.by_id:
        return _STATUS_TYPES
    output = _find_output(plan, reference)
    if output is None or isinstance(output.found, NoSuchKey):
        return None
    types = types_of(output.found)
    if not types or types == ANY_TYPE:
        return None
    producer = plan.by_id[reference.action_id]
    # An action that its condition skips gives null.
    return types | {"null"} if producer.find("condition")[1] is not None else types


def find_lists(plan: PlanOutline, reference: ParsedReference) -> list[str]:
    """Return references to those fields of what is read that are lists by the outputSchema."""
    output = _find_output(plan, reference)
    if output is None or isinstance(output.found, NoSuchKey):
        return []
    found = []
    for name in declared_names(output.found):
        below, _ = walk_schema(output.found, (name,))
        if isinstance(below, SchemaView) and types_of(below) == {"array"}:
            found.append(f"{reference.text[:-1]}{write_path([name])}}}")
    return found
