"""What is wrong with the fields of a plan, in plain words: pydantic finds it, and this module says it.

The words are for people and for language models that repair their plans. So they name fields as JSON has them, and say
nothing of pydantic.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from workflow_state.errors import PlanProblem
from workflow_state.plans.references import escape_pointer
from workflow_state.plans.validation.document import make_problem
from workflow_state.plans.validation.misspelt import find_meant_field
from workflow_state.schema import (
    Condition,
    ContractModel,
    ErrorHandling,
    ExecutionPlan,
    ExpectedOutcome,
    Intent,
    OutcomeValidation,
    PlanMetadata,
    PlannedAction,
    UserConfirmation,
)
from workflow_state.wording import describe, find_control_character, shown

# The model at each place of a plan; indexes of lists are left out.
_MODELS: Final[Mapping[tuple[str, ...], type[ContractModel]]] = {
    (): ExecutionPlan,
    ("intent",): Intent,
    ("metadata",): PlanMetadata,
    ("actions",): PlannedAction,
    ("actions", "condition"): Condition,
    ("actions", "errorHandling"): ErrorHandling,
    ("actions", "userConfirmation"): UserConfirmation,
    ("expectedOutcome",): ExpectedOutcome,
    ("expectedOutcome", "validations"): OutcomeValidation,
}
_JSON_FIELDS: Final = frozenset({"inputs", "fallbackValue", "fallback_value", "value"})
_SHORT_BITS: Final = 64
_MEANT: Final = re.compile(r"did you mean '(\w+)'\?")
_KINDS: Final = {
    "bool": "true or false",
    "datetime": "a time in ISO 8601 with its offset, as in 2026-01-31T12:00:00+00:00",
    "dict": "an object",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "an object",
    "string": "text",
    "timezone": "a time in ISO 8601 with its offset, as in 2026-01-31T12:00:00+00:00",
    "uuid": "a UUID, as in 123e4567-e89b-42d3-a456-426614174000",
}


def parse_plan(data: Any) -> tuple[ExecutionPlan | None, list[PlanProblem]]:
    """Return the plan, or None and a `schema` problem for every field that is wrong.

    What is inside a field that may be any JSON is left to `document`, which finds every value that JSON does not have.
    """
    try:
        plan = ExecutionPlan.model_validate(data)
        return plan, [*_check_titles(plan)]
    except ValidationError as error:
        details = error.errors(include_url=False)
    found = [(detail, _explain(detail, data)) for detail in details if not _is_no_json(detail)]
    # A field that is missing because it is misspelt is told once, where it stands.
    misspelt = {_name_meant(problem) for detail, problem in found if detail["type"] == "extra_forbidden"}
    return None, [
        problem for detail, problem in found if detail["type"] != "missing" or problem["path"] not in misspelt
    ]


def _name_meant(problem: PlanProblem) -> str:
    """Return the place where a misspelt field belongs, or an empty text where nobody knows."""
    meant = _MEANT.fullmatch(problem.get("suggestion", ""))
    return f"{problem['path'].rpartition('/')[0]}/{meant[1]}" if meant else ""


def _check_titles(plan: ExecutionPlan) -> Iterator[PlanProblem]:
    """Yield a problem for each title with a control character: it stands in one line, in terminals and in logs."""
    titles = [("/name", plan.name)]
    titles += [
        (f"/actions/{position}/userConfirmation/title", action.user_confirmation.title)
        for position, action in enumerate(plan.actions)
        if action.user_confirmation is not None
    ]
    for pointer, title in titles:
        if character := find_control_character(title):
            name = pointer.rpartition("/")[2]
            yield make_problem("schema", pointer, f"'{name}' contains the control character {character}")


def _is_no_json(detail: ErrorDetails) -> bool:
    return detail["type"] == "invalid_key" or not _JSON_FIELDS.isdisjoint(detail["loc"][:-1])


def _explain(detail: ErrorDetails, data: Any) -> PlanProblem:
    location = detail["loc"]
    pointer = "".join(f"/{escape_pointer(step)}" for step in location)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _explain_unknown_field(pointer, location, data)
    name = shown(str(location[-1])) if location else "the plan"
    if kind == "missing":
        return make_problem("schema", pointer, f"the field '{name}' is required")
    if explain := _EXPLANATIONS.get(kind):
        return make_problem("schema", pointer, explain(name, detail))
    expected = _KINDS.get(kind.partition("_")[0])
    if expected is None:
        return make_problem("schema", pointer, f"'{name}' is not valid: {detail['msg']}")
    what = f"'{name}'" if location else name
    # An entry of a list has no name of its own.
    what = f"entry {name} of '{shown(str(location[-2]))}'" if location and isinstance(location[-1], int) else what
    return make_problem("schema", pointer, f"{what} must be {expected}, not {_shown_value(detail['input'])}")


def _shown_value(value: Any) -> str:
    if isinstance(value, str):
        return f"the text '{shown(value)}'"
    # A longer integer would not help, and Python refuses to write one of thousands of digits.
    if isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= _SHORT_BITS):
        return str(value).lower()
    return describe(value)


def _explain_unknown_field(pointer: str, location: Sequence[int | str], data: Any) -> PlanProblem:
    name = str(location[-1])
    model = _MODELS.get(tuple(to_camel(step) for step in location[:-1] if isinstance(step, str)), ExecutionPlan)
    known = [field.alias or key for key, field in model.model_fields.items()]
    where = _find(data, location[:-1])
    message = f"there is no field '{shown(name)}' here"
    if name in model.model_fields and isinstance(where, dict):
        return make_problem(
            "schema",
            pointer,
            f"'{shown(name)}' and '{to_camel(name)}' are one field, which is given twice",
            suggestion=f"keep '{to_camel(name)}' only",
        )
    meant = find_meant_field(name, known)
    suggestion = f"did you mean '{meant}'?" if meant else f"the fields here are {', '.join(known)}"
    return make_problem("schema", pointer, message, suggestion=suggestion)


def _find(data: Any, location: Sequence[int | str]) -> Any:
    for step in location:
        data = data[step]
    return data


def _explain_choice(name: str, detail: ErrorDetails) -> str:
    return f"'{name}' must be {detail['ctx']['expected']}, not {_shown_value(detail['input'])}"


_EXPLANATIONS: Final[Mapping[str, Callable[[str, ErrorDetails], str]]] = {
    "greater_than_equal": lambda name, detail: f"'{name}' must be at least {detail['ctx']['ge']:g}",
    "less_than_equal": lambda name, detail: f"'{name}' must be at most {detail['ctx']['le']:g}",
    "literal_error": _explain_choice,
    "string_pattern_mismatch": lambda _, detail: (
        f"'{shown(detail['input'])}' is no action id: one starts with a letter or _, "
        "and has at most 128 letters, digits, _ and -"
    ),
    "string_too_long": lambda name, detail: (
        f"'{name}' has {len(detail['input']):,} characters; it may have {detail['ctx']['max_length']:,}"
    ),
    "string_too_short": lambda name, _: f"'{name}' must not be empty",
    "too_short": lambda name, _: f"'{name}' must not be empty",
    "too_long": lambda name, detail: (
        f"'{name}' has {detail['ctx']['actual_length']} entries; at most {detail['ctx']['max_length']} are allowed"
    ),
    "value_error": lambda _, detail: str(detail["ctx"]["error"]),
}
