"""What is wrong with the fields of a definition, in plain words: pydantic finds it, and this module says it.

    endpoint.timeout must be a whole number of milliseconds, not '30s'; write 30000

Values are shown only where no secret can be: someone may have put one into the wrong field.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from workflow_state.actions.definitions.rules import DefinitionProblem, Path
from workflow_state.schema import (
    ActionDefinition,
    ApiKeyAuthentication,
    BasicAuthentication,
    BearerAuthentication,
    Endpoint,
    OAuth2ClientCredentials,
    RateLimit,
    ResponseRules,
    RetryPolicy,
)
from workflow_state.wording import describe, did_you_mean, find_near_miss, shown

_DOCUMENTS: Final[tuple[type[BaseModel], ...]] = (
    ActionDefinition,
    Endpoint,
    BearerAuthentication,
    ApiKeyAuthentication,
    BasicAuthentication,
    OAuth2ClientCredentials,
    RetryPolicy,
    RateLimit,
    ResponseRules,
)
# What pydantic calls what it expected, up to the first underscore.
_KINDS: Final = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a mapping of fields",
    "string": "text",
}
# Only these have a value that may be shown. None of them has a secret in it, whatever a person puts there.
_SHOWN_KINDS: Final = frozenset({"bool", "float", "int"})
_DURATION: Final = re.compile(
    r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(ms|s|sec|secs|seconds?|m|min|minutes?|h|hours?)", re.ASCII
)
_MS_OF_UNIT: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def describe_validation_error(error: ValidationError) -> list[DefinitionProblem]:
    """Return what pydantic found, in words for someone who writes a definition.

    A field that is missing because it is misspelt is told once, where it stands.
    """
    found = error.errors(include_url=False)
    misspelt = {
        (*problem["loc"][:-1], find_near_miss(str(problem["loc"][-1]), _fields()))
        for problem in found
        if problem["type"] == "extra_forbidden"
    }
    return [_explain(problem) for problem in found if problem["type"] != "missing" or problem["loc"] not in misspelt]


def _explain(problem: ErrorDetails) -> DefinitionProblem:
    kind, path, value = problem["type"], _without_union_tag(problem["loc"]), problem["input"]
    context: Mapping[str, Any] = problem.get("ctx", {})
    match kind:
        case "union_tag_invalid" | "union_tag_not_found":
            path, message = (*path, "type"), _explain_type(context.get("tag"))
        case "missing":
            message = "is missing"
        case "extra_forbidden":
            message = _explain_unknown_field(str(path[-1]))
        case "literal_error" | "enum":
            message = _explain_choice(str(context["expected"]), value)
        case "greater_than_equal" | "less_than_equal" | "greater_than" | "less_than":
            message = _explain_bound(path, context, value)
        case "string_too_short" | "too_short":
            message = "must not be empty"
        case _ if (expected := kind.partition("_")[0]) in _KINDS:
            message = _explain_kind(path, expected, value)
        case _:
            message = problem["msg"].removeprefix("Value error, ")
    return DefinitionProblem(path, message)


def _without_union_tag(path: Path) -> Path:
    # pydantic puts the type of authentication that it tried into the path: authentication.bearer.token.
    return (path[0], *path[2:]) if path[:1] == ("authentication",) else path


@cache
def _fields() -> list[str]:
    """Return the names of all fields that a definition and its parts have."""
    return sorted({field.alias or name for document in _DOCUMENTS for name, field in document.model_fields.items()})


def _explain_unknown_field(name: str) -> str:
    guess = did_you_mean(name, _fields())
    return "is not a field of a definition" + (f"; {guess}" if guess else "")


def _explain_type(tag: Any) -> str:
    """Explain an `authentication.type` that is wrong, or missing where the tag is None."""
    documents = (document for document in _DOCUMENTS if "type" in document.model_fields)
    types = [str(get_args(document.model_fields["type"].annotation)[0]) for document in documents]
    return f"is missing; it is {_list(types)}" if tag is None else _must_be(types, str(tag))


def _explain_choice(expected: str, value: Any) -> str:
    # pydantic writes "'GET', 'POST' or 'PUT'".
    known = re.findall(r"'([^']*)'", expected)
    if not isinstance(value, str):
        return f"must be {_list(known)}, not {describe(value)}"
    return _must_be(known, value)


def _must_be(known: Sequence[str], value: str) -> str:
    plain = value.strip().casefold()
    near = next((name for name in known if name.casefold() == plain), None) or find_near_miss(plain, known)
    # A value that is like none of these may be anything, a secret among them.
    return f"must be {_list(known)}" + (f", not '{shown(value)}'; did you mean '{near}'?" if near else "")


def _explain_bound(path: Path, context: Mapping[str, Any], value: Any) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    name = next(name for name in words if name in context)
    unit = _unit(path)
    return f"must be {words[name]} {context[name]:,}{unit and f' {unit}'}, not {_show(value)}"


def _explain_kind(path: Path, kind: str, value: Any) -> str:
    unit = _unit(path) if kind in ("int", "float") else ""
    wanted = _KINDS[kind] + (f" of {unit}" if unit else "")
    if kind == "string":
        advice = "; write it in quotes" if isinstance(value, (bool, int, float)) else ""
        return f"must be text, not {describe(value)}{advice}"
    is_shown = kind in _SHOWN_KINDS and not isinstance(value, (dict, list))
    return f"must be {wanted}, not {_show(value) if is_shown else describe(value)}{_convert(unit, value)}"


def _convert(unit: str, value: Any) -> str:
    """Return `; write 30000` for a duration such as 30s."""
    found = _DURATION.fullmatch(value.strip()) if unit == "milliseconds" and isinstance(value, str) else None
    if found is None:
        return ""
    factor = _MS_OF_UNIT["ms" if found[2] == "ms" else found[2][0]]
    return f"; write {round(float(found[1]) * factor)}"


def _unit(path: Path) -> str:
    name = re.sub("_([a-z])", lambda found: found[1].upper(), str(path[-1]))
    if name == "timeout" or name.endswith("Ms"):
        return "milliseconds"
    return "bytes" if name.endswith("Bytes") else ""


def _show(value: Any) -> str:
    return f"'{shown(value)}'" if isinstance(value, str) else str(value).lower()


def _list(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
