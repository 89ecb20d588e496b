"""Conditions and expected outcomes: `${check.output.type} == 'premium'`, or one reference alone. Pure.

An expression is CEL. Its references are bound as variables and never pasted as text, so what a server answered can't
become part of an expression. A string literal with references in it is bound as a whole, because language models write
`'${a.output.kind}' == 'x'`. `===` and `!==` are read as `==` and `!=`. A reference is resolved when the evaluation gets
to it. What stands behind `false &&` or `true ||`, or in the other branch of `?:`, may point at nothing.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from pydantic import JsonValue

from workflow_state.errors import ConditionError, MissingKeyError, WorkflowStateError
from workflow_state.plans.condition_advice import check_calls, check_fields, explain_evaluation, explain_syntax
from workflow_state.plans.condition_limits import TOKEN, Macros, check_cost, check_length, check_match, find_macros
from workflow_state.plans.expressions import CALCULATE, COMPARE, INDEX, SIZE, TRUTH, rewrite
from workflow_state.plans.operators import calculate, compare, is_equal, size, to_index
from workflow_state.plans.references import ParsedReference, find_references, parse_reference
from workflow_state.plans.resolving import make_resolver, resolve_reference, resolve_value
from workflow_state.schema import OutcomeValidation, ValidationResult

# `type(x) == string` is CEL; these are its names for types.
_TYPE_NAMES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_VARIABLE: Final = re.compile(r"\breference_\d+\b")
_INT64: Final = 2**63
_UINT64: Final = 2**64
# What other languages call the size of a value.
_COUNTS: Final = frozenset({"length", "size", "count"})
_SHOWN: Final = 200
_VALUES_SHOWN: Final = 5
MAX_ACTUAL_BYTES: Final = 1_024
_READ_BEFORE: Final = 256
_OURS: Final[Mapping[str, Callable[..., Any]]] = {
    CALCULATE: calculate,
    COMPARE: compare,
    SIZE: size,
    INDEX: to_index,
    TRUTH: bool,
}


@dataclass(frozen=True, slots=True)
class _Expression:
    """A condition as CEL; `bound` has the text with references that each of its variables stands for."""

    cel: str
    bound: Mapping[str, str]
    macros: Macros
    program: Any
    """What CEL's library has made of it, with our operators."""


def check_condition(text: str) -> list[ParsedReference]:
    """Return the references in a condition; those of a text that occurs twice are given once.

    Raises ConditionError where it is too long, too deeply nested or no CEL expression, ReferenceParseError where a
    reference in it is malformed.
    """
    check_length(text)
    if _is_one_reference(text):
        return find_references(text)
    return [reference for value in _read(text).bound.values() for reference in find_references(value)]


def evaluate_condition(text: str, results: Mapping[str, Any]) -> bool:
    """Return whether the condition holds for these results (as `resolve_reference` takes them).

    A condition that is one reference holds unless its value is null, false, 0, "", [] or {}; so does a reference that
    stands by itself beside `&&`, `||`, `!` or before a `?`. Raises ConditionError
    where it can't be evaluated or is not true or false, ReferenceResolutionError where a reference points at nothing
    or all values together are too large.
    """
    check_length(text)
    if _is_one_reference(text):
        return bool(resolve_value(text.strip(), results))
    outcome = _evaluate(_read(text), results, text)
    if not isinstance(outcome, bool):
        raise ConditionError(f"the condition is neither true nor false, but {_shown(outcome)}: {text}")
    return outcome


def evaluate_validation(validation: OutcomeValidation, results: Mapping[str, Any]) -> ValidationResult:
    """Return whether an expected outcome came true, and what was found. Raises nothing: an error is a result too."""
    try:
        # This refuses a text without a reference, which resolve_value would take for a value that exists.
        resolve_reference(validation.reference, results)
        actual = resolve_value(validation.reference, results)
    except MissingKeyError:
        # Another process can read it.
        raise
    except WorkflowStateError as error:
        # A storage that is away is one of them.
        return ValidationResult(name=validation.name, passed=False, message=str(error))
    try:
        passed = _compare(validation.operator, actual, validation.value)
        wanted = "" if validation.operator == "exists" else f" {_shown(validation.value)}"
        message = f"expected {validation.reference} {validation.operator}{wanted}; found {_shown(actual)}"
    except ConditionError as error:
        passed, message = False, str(error)
    found = {"actual": actual} if _is_short(actual) else {}
    return ValidationResult(name=validation.name, passed=passed, message=message, **found)


def _is_short(value: JsonValue) -> bool:
    """Return whether the state has room for what was found; of what is larger the message has the beginning."""
    try:
        return len(json.dumps(value)) <= MAX_ACTUAL_BYTES
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return False


def _compare(operator: str, actual: JsonValue, value: JsonValue) -> bool:
    if operator == "exists":
        return actual is not None
    if operator == "equals":
        return is_equal(actual, value)
    if operator == "contains" and isinstance(actual, list):
        return any(is_equal(item, value) for item in actual)
    if operator == "contains":
        return isinstance(actual, (str, dict)) and isinstance(value, str) and value in actual
    if not isinstance(value, str):
        raise ConditionError(f"matches takes a pattern, which is a text, not {_shown(value)}")
    return isinstance(actual, str) and _is_match(actual, value)


def _is_match(text: str, pattern: str) -> bool:
    check_match(text, pattern)
    try:
        return bool(_cel().evaluate("text.matches(pattern)", {"text": text, "pattern": pattern}))
    except Exception as error:
        raise ConditionError(f"the pattern {_shown(pattern)} is no regular expression (RE2 syntax)") from error


def _is_one_reference(text: str) -> bool:
    return parse_reference(text.strip()) is not None


@lru_cache(maxsize=_READ_BEFORE)
def _read(text: str) -> _Expression:
    expression, bound = _translate(text)
    macros = find_macros(expression)
    variables = _compile(expression, bound).variables()
    rewritten = rewrite(expression)
    try:
        check_calls(rewritten.calls, partial(_can_be_read, bound))
        check_fields(rewritten.fields, macros.variables)
    except ConditionError as error:
        raise ConditionError(_with_references(str(error), bound)) from None
    if unknown := sorted(set(variables) - bound.keys() - macros.variables - _TYPE_NAMES):
        name = unknown[0]
        advice = f"write ${{action.output.field}}, or '{name}' for a text"
        raise ConditionError(f"the condition names '{name}', which is nothing: {advice}")
    return _Expression(expression, bound, macros, _compile(rewritten.cel, bound))


def _can_be_read(bound: Mapping[str, str], expression: str) -> bool:
    """Return whether a condition may have this part, once the author writes references for the variables."""
    try:
        _read(_with_references(expression, bound))
    except WorkflowStateError:
        return False
    return True


def _with_references(text: str, bound: Mapping[str, str]) -> str:
    # The author knows the reference, not the variable that stands for it.
    return _VARIABLE.sub(lambda variable: _as_written(bound.get(variable[0], variable[0])), text)


def _as_written(content: str) -> str:
    return content if _is_one_reference(content) or _VARIABLE.fullmatch(content) else f"'{content}'"


def _translate(text: str) -> tuple[str, dict[str, str]]:
    """Return the CEL expression, and the text with references that each of its variables stands for."""
    names: dict[str, str] = {}

    def replace(token: re.Match[str]) -> str:
        if token["quote"]:
            raise ConditionError(f"the condition has a {token['quote']} without its pair: {text}")
        if token["operator"]:
            return token["operator"][:2]
        if token["comment"]:
            return " "
        if token["name"]:
            return token["name"]
        content = token["reference"]
        if token["literal"]:
            if "${" not in token["literal"]:
                return token["literal"]
            content = _content_of(token)
        if not find_references(content):
            return token[0].replace("$${", "${")
        return names.setdefault(content, f"reference_{len(names)}")

    expression = TOKEN.sub(replace, text)
    return expression, {name: content for content, name in names.items()}


def _content_of(token: re.Match[str]) -> str:
    r"""Return what a string literal stands for: in `"${a.output[\"key\"]}"` the escapes are the literal's."""
    if token["bytes"]:
        raise ConditionError(f"the condition has a reference in bytes, {token[0]}; write it in a string")
    return str(_compile(token["literal"], {}).execute({}))


def _cel() -> Any:
    """Return the CEL library. It is imported when it is first needed, because importing it takes long."""
    from workflow_state.plans.cel_core import core  # noqa: PLC0415 - most plans have no condition that needs it

    return core


def _compile(expression: str, bound: Mapping[str, str]) -> Any:
    try:
        return _cel().compile(expression)
    except Exception as error:
        detail = _with_references(explain_syntax(error, expression), bound)
        raise ConditionError(f"the condition is no CEL expression: {detail}") from error


class _Reading:
    """The references of one evaluation: each is resolved when the evaluation gets to it, and once."""

    def __init__(self, expression: _Expression, results: Mapping[str, Any]) -> None:
        self._expression = expression
        self._resolve = make_resolver(results)
        self._fitted: dict[str, Any] = {}
        self.values: dict[str, JsonValue] = {}
        self.failure: Exception | None = None

    def find(self, name: str) -> Any:
        """Return the value of a variable, for CEL's library; None also where it failed, and `failure` says why."""
        if name not in self._expression.bound or self.failure:
            return None
        if name not in self._fitted:
            try:
                self.values[name] = self._resolve(self._expression.bound[name])
                self._fitted[name] = fit_integers(self.values[name], below=_UINT64)
                check_cost(self._expression.cel, self._expression.macros, self._fitted)
            except Exception as error:  # noqa: BLE001 - CEL's library would print it, and go on
                self.failure = error
                return None
        return self._fitted[name]

    def shown(self) -> str:
        """Return what the references that were read stand for, for a message."""
        told = [f"{self._expression.bound[name]} is {_shown(value)}" for name, value in self.values.items()]
        return f" ({'; '.join(told[:_VALUES_SHOWN])})" if told else ""


def _evaluate(expression: _Expression, results: Mapping[str, Any], text: str) -> Any:
    reading, failures = _Reading(expression, results), list[Exception]()
    check_cost(expression.cel, expression.macros, {})
    functions = {name: _guarded(function, failures) for name, function in _OURS.items()}
    # The library takes None for "not known"; what is null is found here then.
    context = _cel().Context(variables=dict.fromkeys(expression.bound), functions=functions)
    context.set_variable_resolver(reading.find)
    try:
        outcome = expression.program.execute(context)
    except Exception as error:
        if reading.failure:
            raise reading.failure from None
        raise _explain(failures[-1] if failures else error, reading, text) from error
    if reading.failure:
        # Also where `||` could do without: a misspelt field must not decide silently.
        raise reading.failure
    return outcome


def _guarded(function: Callable[..., Any], failures: list[Exception]) -> Callable[..., list[Any]]:
    """Return a function that returns its value in a list, which is empty where it failed: see `expressions`."""

    def call(*arguments: Any) -> list[Any]:
        try:
            return [function(*arguments)]
        except Exception as error:  # noqa: BLE001 - CEL's library would print it
            failures.append(error)
            return []

    return call


def _explain(error: Exception, reading: _Reading, text: str) -> ConditionError:
    if isinstance(error, TypeError):
        return ConditionError(f"the condition does not fit the types of its values: {text}{reading.shown()}")
    if isinstance(error, KeyError):
        hint = "; size(VALUE) is how many there are" if str(error).strip("'") in _COUNTS else ""
        return ConditionError(f"the condition reads {error}, which is not there{hint}: {text}")
    return ConditionError(f"the condition can't be evaluated: {explain_evaluation(error)}: {text}")


def fit_integers(value: Any, *, below: int = _INT64) -> Any:
    """Return a JSON value with floats in place of the integers that CEL has no room for, those beyond 64 bits.

    As a literal an integer is less than 2**63; as the value of a variable it may be larger, if `below` is 2**64. Raises
    ConditionError for an integer that is too large for a float as well.
    """
    if isinstance(value, int) and not isinstance(value, bool) and not -_INT64 <= value < below:
        try:
            return float(value)
        except OverflowError as error:
            raise ConditionError("the condition reads a number that is too large to compare") from error
    if isinstance(value, list):
        return [fit_integers(item, below=below) for item in value]
    if isinstance(value, dict):
        return {key: fit_integers(item, below=below) for key, item in value.items()}
    return value


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a value with a number too long to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
