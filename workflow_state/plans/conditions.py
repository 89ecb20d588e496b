"""Conditions and expected outcomes: `${check.output.type} == 'premium'`, or one reference alone. Pure.

An expression is CEL. Its references are bound as variables and never pasted as text, so what a server answered can't
become part of an expression. A string literal with references in it is bound as a whole, because language models write
`'${a.output.kind}' == 'x'`. `===` and `!==` are read as `==` and `!=`. All references are resolved before the
expression is evaluated, also those that it would not have needed.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from workflow_state.errors import ConditionError, WorkflowStateError
from workflow_state.plans.condition_limits import TOKEN, Macros, check_cost, check_length, check_match, find_macros
from workflow_state.plans.references import ParsedReference, find_references, parse_reference
from workflow_state.plans.resolving import resolve_reference, resolve_value
from workflow_state.schema import OutcomeValidation, ValidationResult

# `type(x) == string` is CEL; these are its names for types.
_TYPE_NAMES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
# In the library's message, lines that quote the expression start with a bar.
_SYNTAX_ERROR: Final = re.compile(
    r"^(?:Failed to parse expression '': )?ERROR: <input>:\d+:\d+: (?:Syntax error: )?(.*?)(?: expecting.*)?$",
    re.MULTILINE,
)
_SYNTAX_ADVICE: Final = (
    ("invalid int literal", "a number is beyond 64 bits; write it with a decimal point"),
    ("invalid double literal", "a number is too large"),
    ("invalid string literal", "a string has an escape that stands for no character"),
    ("invalid argument to has", "has() takes a field, such as has(${action.output}.field)"),
    ("OtherError(ParseError", "it is nested too deeply"),
    ("argument must be a simple name", "all, exists, map and filter take a plain name first, such as all(x, x > 0)"),
    ("Incomplete `ExprContext`", "it is incomplete; 'a ? b : c' needs all three parts"),
    ("unsupported ident kind", "a name in it can't be written so"),
)
# The parser's words for a piece that can't stand where it does, and that piece.
_MISPLACED: Final = re.compile(
    r"(?:mismatched input|extraneous input|no viable alternative at input|token recognition error at:|"
    r"unsupported syntax) '(?P<piece>.*)'",
    re.DOTALL,
)
_MISSING: Final = re.compile(r"missing (?P<what>\S+) at '(?P<piece>.*)'", re.DOTALL)
# What other languages write, and CEL does not.
_OPERATORS_INSTEAD: Final = {"and": "&&", "or": "||", "&": "&&", "|": "||", "=": "=="}
# What the library says, and what to say instead. Its own words are about its insides.
_EVALUATION_ADVICE: Final = (
    (re.compile(r"not a valid regex"), "the pattern of matches() is no regular expression (RE2 syntax)"),
    (re.compile(r"Undefined variable or function: '(.*?)'"), "there is no function or variable '{}' here"),
    (re.compile(r"index out of bounds: (-?\d+)"), "there is no index {}"),
    (re.compile(r"(?:division|modulo) by zero"), "it divides by zero"),
    (re.compile(r"overflow"), "a number is beyond 64 bits"),
    (re.compile(r"Function '(\w+)' error"), "{}() can't take the value that it gets"),
)
_VARIABLE: Final = re.compile(r"\breference_\d+\b")
_INT64: Final = 2**63
_SHOWN: Final = 200
_MAX_ACTUAL_CHARACTERS: Final = 65_536
_VALUES_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class _Expression:
    """A condition as CEL; `bound` has the text with references that each of its variables stands for."""

    cel: str
    bound: Mapping[str, str]
    macros: Macros


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

    A condition that is one reference holds unless its value is null, false, 0, "", [] or {}. Raises ConditionError
    where it can't be evaluated or is not true or false, ReferenceResolutionError where a reference points at nothing
    or all values together are too large.
    """
    check_length(text)
    if _is_one_reference(text):
        return bool(resolve_value(text.strip(), results))
    expression = _read(text)
    # All at once, so that the bound on the size counts for all of them together.
    resolved: Any = resolve_value(dict(expression.bound), results)
    values: dict[str, Any] = {name: fit_integers(value) for name, value in resolved.items()}
    check_cost(expression.cel, expression.macros, values)
    shown = [f"{expression.bound[name]} is {_shown(value)}" for name, value in resolved.items()]
    outcome = _evaluate(expression.cel, values, shown, text)
    if not isinstance(outcome, bool):
        raise ConditionError(f"the condition is neither true nor false, but {_shown(outcome)}: {text}")
    return outcome


def evaluate_validation(validation: OutcomeValidation, results: Mapping[str, Any]) -> ValidationResult:
    """Return whether an expected outcome came true, and what was found. Raises nothing: an error is a result too."""
    try:
        # This refuses a text without a reference, which resolve_value would take for a value that exists.
        resolve_reference(validation.reference, results)
        actual = resolve_value(validation.reference, results)
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
    """Return whether the state has room for what was found; what was stored because it is large stays there."""
    try:
        return len(json.dumps(value)) <= _MAX_ACTUAL_CHARACTERS
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return True


def _compare(operator: str, actual: JsonValue, value: JsonValue) -> bool:
    if operator == "exists":
        return actual is not None
    if operator == "equals":
        return _is_equal(actual, value)
    if operator == "contains" and isinstance(actual, list):
        return any(_is_equal(item, value) for item in actual)
    if operator == "contains":
        return isinstance(actual, (str, dict)) and isinstance(value, str) and value in actual
    if not isinstance(value, str):
        raise ConditionError(f"matches takes a pattern, which is a text, not {_shown(value)}")
    return isinstance(actual, str) and _is_match(actual, value)


def _is_equal(actual: Any, value: Any) -> bool:
    """Compare as JSON does: to Python true equals 1, at any depth."""
    pending = [(actual, value)]
    while pending:
        one, other = pending.pop()
        if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
            pending.extend((item, other[key]) for key, item in one.items())
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pending.extend(zip(one, other, strict=True))
        elif isinstance(one, (dict, list)) or one != other or isinstance(one, bool) != isinstance(other, bool):
            return False
    return True


def _is_match(text: str, pattern: str) -> bool:
    check_match(text, pattern)
    try:
        return bool(_cel().evaluate("text.matches(pattern)", {"text": text, "pattern": pattern}))
    except Exception as error:
        raise ConditionError(f"the pattern {_shown(pattern)} is no regular expression (RE2 syntax)") from error


def _is_one_reference(text: str) -> bool:
    return parse_reference(text.strip()) is not None


def _read(text: str) -> _Expression:
    expression, bound = _translate(text)
    macros = find_macros(expression)
    variables = _compile(expression, bound).variables()
    if unknown := sorted(set(variables) - bound.keys() - macros.variables - _TYPE_NAMES):
        name = unknown[0]
        advice = f"write ${{action.output.field}}, or '{name}' for a text"
        raise ConditionError(f"the condition names '{name}', which is nothing: {advice}")
    return _Expression(expression, bound, macros)


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
        # The message quotes the expression, whose own text must not be taken for the library's words.
        complaints = _SYNTAX_ERROR.findall(str(error).replace(expression, "", 1))
        advice = (text for said in complaints for words, text in _SYNTAX_ADVICE if said.startswith(words))
        detail = next(advice, None) or _syntax_advice(complaints, expression)
        # The author knows the reference, not the variable that stands for it.
        detail = _VARIABLE.sub(lambda variable: bound.get(variable[0], variable[0]), detail)
        raise ConditionError(f"the condition is no CEL expression: {detail}") from error


def _syntax_advice(complaints: Sequence[str], expression: str) -> str:
    """Return the parser's first complaint in words for the author of a condition."""
    if not expression.strip():
        return "it is empty"
    said = complaints[0].replace("<EOF>", "the end") if complaints else ""
    if missing := _MISSING.search(said):
        where = "the end" if missing["piece"] == "the end" else f"'{missing['piece']}'"
        return f"missing {missing['what']} before {where}"
    if misplaced := _MISPLACED.search(said):
        piece = misplaced["piece"].strip()
        if piece == "the end":
            return "something is missing at the end"
        instead = _operator_instead(piece, expression)
        return f"'{piece}' can't stand where it does" + (f"; {instead}" if instead else "")
    return "it can't be read"


def _operator_instead(piece: str, expression: str) -> str:
    # The parser takes `not` for a name and `<` for an operator, and complains about what follows them.
    words = re.compile(r"\b(?:not|NOT)\s+" + re.escape(piece))
    if words.search(expression):
        return "write ! instead of not"
    if piece.startswith("=~"):
        return "write .matches('pattern')"
    if piece == ">" and re.search(r"<\s*>", expression):
        return "write != instead of <>"
    # A lone = comes with the character after it.
    operator = _OPERATORS_INSTEAD.get(piece.lower()) or _OPERATORS_INSTEAD.get(piece[:1])
    if operator and piece.startswith(operator):
        return ""
    return f"write {operator} instead" if operator else ""


def _evaluate(expression: str, values: Mapping[str, Any], shown: Iterable[str], text: str) -> Any:
    try:
        return _cel().evaluate(expression, dict(values))
    except TypeError as error:
        where = "; ".join([*shown][:_VALUES_SHOWN])
        raise ConditionError(
            f"the condition does not fit the types of its values: {text}" + (f" ({where})" if where else "")
        ) from error
    except KeyError as error:
        raise ConditionError(f"the condition reads {error}, which is not there: {text}") from error
    except Exception as error:
        raise ConditionError(f"the condition can't be evaluated: {_advice_on(error)}: {text}") from error


def _advice_on(error: Exception) -> str:
    for words, advice in _EVALUATION_ADVICE:
        if found := words.search(str(error)):
            return advice.format(*found.groups())
    return "an operation in it does not fit its values"


def fit_integers(value: Any) -> Any:
    """Return a JSON value with floats in place of the integers that CEL has no room for, those beyond 64 bits.

    Raises ConditionError for an integer that is too large for a float as well.
    """
    if isinstance(value, int) and not isinstance(value, bool) and not -_INT64 <= value < _INT64:
        try:
            return float(value)
        except OverflowError as error:
            raise ConditionError("the condition reads a number that is too large to compare") from error
    if isinstance(value, list):
        return [fit_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: fit_integers(item) for key, item in value.items()}
    return value


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a value with a number too long to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
