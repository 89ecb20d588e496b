"""Conditions and expected outcomes: one reference, or a CEL expression over references.

References are bound as variables, never pasted as text, so what a server answered can't become part of an expression.
A string literal that holds references is bound as a whole: `'${a.output.kind}' == 'x'` is what language models write.
`===` and `!==` are read as `==` and `!=`. CEL's regular expressions take linear time.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import cel
from pydantic import JsonValue

from workflow_state.errors import ConditionError, ReferenceParseError, ReferenceResolutionError
from workflow_state.reference_parser import ParsedReference, find_references, parse_reference, resolve_value
from workflow_state.schema import OutcomeValidation, ValidationResult

MAX_CHARACTERS: Final = 1_000
MAX_NESTING: Final = 24

_MACROS: Final = ("all", "exists", "exists_one", "existsOne", "map", "filter")
# In this order: a string literal (quotes and references in it are its own), a reference, an operator of JavaScript's.
_TOKEN: Final = re.compile(
    r"""(?P<literal>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
    r"""|(?P<reference>\$\{(?:[^}"]|"(?:[^"\\]|\\.)*")*\}?)"""
    r"""|(?P<operator>===|!==)"""
)
_MACRO_CALL: Final = re.compile(rf"\.\s*(?:{'|'.join(_MACROS)})(?P<bracket>\s*\()(?:\s*(?P<variable>\w+)\s*,)?")
_SYNTAX_ERROR: Final = re.compile(r"<input>:\d+:\d+: Syntax error: (.*?)(?: expecting|\n|$)")
_INT64: Final = 2**63
_SHOWN: Final = 200


def check_condition(text: str) -> list[ParsedReference]:
    """Return the references in a condition.

    Raises ConditionError where it is too long, too deeply nested or no CEL expression, ReferenceParseError where a
    reference in it is malformed.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConditionError(f"the condition has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    if _is_one_reference(text):
        return find_references(text)
    expression, bound = _translate(text)
    _check_bounds(expression)
    program = _compile(expression)
    own_variables = {match["variable"] for match in _MACRO_CALL.finditer(expression)}
    if unknown := sorted(set(program.variables()) - bound.keys() - own_variables):
        raise ConditionError(f"the condition names {unknown[0]!r}, which is nothing: write ${{action.output.field}}")
    return [reference for value in bound.values() for reference in find_references(value)]


def evaluate_condition(text: str, results: Mapping[str, Any]) -> bool:
    """Return whether the condition holds for these results (as `resolve_reference` takes them).

    A condition that is one reference holds unless its value is null, false, 0, "", [] or {}. Raises ConditionError
    where it can't be evaluated or is not true or false, ReferenceResolutionError where a reference points at nothing.
    """
    check_condition(text)
    if _is_one_reference(text):
        return bool(resolve_value(text.strip(), results))
    expression, bound = _translate(text)
    values = {name: _for_cel(resolve_value(value, results)) for name, value in bound.items()}
    outcome = _evaluate(expression, values, text)
    if not isinstance(outcome, bool):
        raise ConditionError(f"the condition is neither true nor false, but {_shown(outcome)}: {text}")
    return outcome


def evaluate_validation(validation: OutcomeValidation, results: Mapping[str, Any]) -> ValidationResult:
    """Return whether an expected outcome came true, with what was found. Raises nothing: a problem is a result."""
    try:
        actual = resolve_value(validation.reference, results)
    except (ReferenceResolutionError, ReferenceParseError) as error:
        return ValidationResult(name=validation.name, passed=False, message=str(error))
    try:
        passed = _compare(validation.operator, actual, validation.value)
    except ConditionError as error:
        return ValidationResult(name=validation.name, passed=False, actual=actual, message=str(error))
    wanted = "" if validation.operator == "exists" else f" {_shown(validation.value)}"
    message = f"expected {validation.reference} {validation.operator}{wanted}; found {_shown(actual)}"
    return ValidationResult(name=validation.name, passed=passed, actual=actual, message=message)


def _compare(operator: str, actual: JsonValue, value: JsonValue) -> bool:
    if operator == "exists":
        return actual is not None
    if operator == "equals":
        return _is_equal(actual, value)
    if operator == "contains" and isinstance(actual, list):
        return any(_is_equal(item, value) for item in actual)
    if operator == "contains":
        return isinstance(actual, (str, dict)) and isinstance(value, str) and value in actual
    if not isinstance(actual, str) or not isinstance(value, str):
        return False
    return bool(_evaluate("text.matches(pattern)", {"text": actual, "pattern": value}, f"matches {value}"))


def _is_equal(actual: JsonValue, value: JsonValue) -> bool:
    # To Python true equals 1, in JSON they differ.
    return actual == value and isinstance(actual, bool) == isinstance(value, bool)


def _is_one_reference(text: str) -> bool:
    return parse_reference(text.strip()) is not None


def _translate(text: str) -> tuple[str, dict[str, str]]:
    """Return the CEL expression, and the text with references that each of its variables stands for."""
    bound: dict[str, str] = {}

    def replace(token: re.Match[str]) -> str:
        if token["operator"]:
            return token["operator"][:2]
        content = token["reference"] or token["literal"][1:-1]
        if token["literal"] and not find_references(content):
            return token["literal"].replace("$${", "${")
        if token["reference"]:
            find_references(content)
        name = f"reference_{len(bound)}"
        bound[name] = content
        return name

    return _TOKEN.sub(replace, text), bound


def _check_bounds(expression: str) -> None:
    """Refuse what could take the parser or the evaluation too long: deep nesting, and macros within macros."""
    bare = _TOKEN.sub(lambda token: " " * len(token[0]), expression)
    macro_starts = {match.end("bracket") - 1 for match in _MACRO_CALL.finditer(bare)}
    open_macros: list[bool] = []
    for position, character in enumerate(bare):
        if character in "([{":
            is_macro = position in macro_starts
            if is_macro and any(open_macros):
                raise ConditionError(f"the condition nests {', '.join(_MACROS[:3])}, map or filter; use one at a time")
            open_macros.append(is_macro)
            if len(open_macros) > MAX_NESTING:
                raise ConditionError(f"the condition has more than {MAX_NESTING} brackets within each other")
        elif character in ")]}" and open_macros:
            open_macros.pop()
    # A chain of signs nests as brackets do.
    if re.search(rf"(?:[!-]\s*){{{MAX_NESTING},}}", bare):
        raise ConditionError(f"the condition has more than {MAX_NESTING} signs before one value")


def _compile(expression: str) -> Any:
    try:
        return cel.compile(expression)
    except Exception as error:
        found = _SYNTAX_ERROR.search(str(error))
        detail = found[1].strip() if found else "it can't be read"
        raise ConditionError(f"the condition is no CEL expression: {detail.replace('<EOF>', 'the end')}") from error


def _evaluate(expression: str, values: Mapping[str, Any], text: str) -> Any:
    try:
        return cel.evaluate(expression, dict(values))
    except TypeError as error:
        kinds = ", ".join(f"{_shown(value)}" for value in values.values())
        raise ConditionError(f"the condition does not fit the types of its values ({kinds}): {text}") from error
    except KeyError as error:
        raise ConditionError(f"the condition reads {error}, which is not there: {text}") from error
    except Exception as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConditionError(f"the condition can't be evaluated: {first_line[:_SHOWN]} ({text})") from error


def _for_cel(value: Any) -> Any:
    """Return the value with integers that CEL has no room for as floats."""
    if isinstance(value, int) and not isinstance(value, bool) and not -_INT64 <= value < _INT64:
        return float(value)
    if isinstance(value, list):
        return [_for_cel(item) for item in value]
    if isinstance(value, dict):
        return {key: _for_cel(item) for key, item in value.items()}
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
