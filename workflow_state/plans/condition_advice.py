"""What to tell the author of a condition that can't be read or evaluated, without naming a library's insides.

Often a language model reads it and repairs its plan: a message ends with what to write. What is written out of the
author's own condition is tried before it is told.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from workflow_state.errors import ConditionError
from workflow_state.plans.expressions import Call, Field
from workflow_state.wording import find_near_miss, shown

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
# What the library and our operators say, and what to say instead.
_EVALUATION_ADVICE: Final = (
    (re.compile(r"not a valid regex"), "the pattern of matches() is no regular expression (RE2 syntax)"),
    (
        re.compile(r"Undefined variable or function: 'contains'"),
        "contains() can't take the value that it gets; it looks in a text, for a list write VALUE in LIST",
    ),
    (re.compile(r"Undefined variable or function: '(.*?)'"), "{}() can't take the value that it gets"),
    (re.compile(r"index out of bounds: (-?\d+)"), "there is no index {}"),
    (re.compile(r"(?:division|modulo) by zero"), "it divides by zero"),
    (re.compile(r"too long"), "a text or list that it adds up is too long"),
    (re.compile(r"overflow"), "a number is beyond 64 bits"),
    (re.compile(r"Function '(\w+)' error"), "{}() can't take the value that it gets"),
)

_NO_VALUE: Final = range(1)
_ONE_VALUE: Final = range(1, 2)
_FUNCTIONS: Final[Mapping[str, range]] = dict.fromkeys(
    ("size", "int", "uint", "double", "string", "bytes", "type", "timestamp", "duration", "dyn", "has"), _ONE_VALUE
)
"""The functions of a condition, and how many values they take."""
_METHODS: Final[Mapping[str, range]] = {
    **dict.fromkeys(("contains", "startsWith", "endsWith", "matches"), _ONE_VALUE),
    **dict.fromkeys(("size", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek"), _NO_VALUE),
    **dict.fromkeys(("getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"), _NO_VALUE),
    **dict.fromkeys(("all", "exists", "exists_one", "existsOne", "filter"), range(2, 3)),
    "map": range(2, 4),
}
"""What can be called of a value, and how many values it takes in its brackets."""

_SIZE: Final = ("size({0})",)
_CONTAINS: Final = ("{0}.contains({1}) for a text", "{1} in {0} for a list")
_ANY_CASE: Final = ("{0}.matches('(?i)^the text$') to compare in any case",)
# {0} is the value, {1} what is in the brackets.
_INSTEAD: Final[Mapping[str, Sequence[str]]] = {
    **dict.fromkeys(("len", "length", "count", "strlen", "getLength", "size"), _SIZE),
    **dict.fromkeys(("includes", "contains", "indexOf", "find", "search", "index"), _CONTAINS),
    **dict.fromkeys(("toLowerCase", "toUpperCase", "lower", "upper", "lowerAscii", "upperAscii"), _ANY_CASE),
    **dict.fromkeys(("toLower", "toUpper", "casefold", "equalsIgnoreCase"), _ANY_CASE),
    **dict.fromkeys(("has", "hasKey", "has_key", "hasOwnProperty", "containsKey"), ("{1} in {0}",)),
    **dict.fromkeys(("startswith", "starts_with", "startsWith", "hasPrefix"), ("{0}.startsWith({1})",)),
    **dict.fromkeys(("endswith", "ends_with", "endsWith", "hasSuffix"), ("{0}.endsWith({1})",)),
    **dict.fromkeys(("match", "matches", "test", "regex", "fullmatch"), ("{0}.matches({1})",)),
    **dict.fromkeys(("isEmpty", "empty", "is_empty"), ("size({0}) == 0",)),
    **dict.fromkeys(("isNull", "is_null", "isNone"), ("{0} == null",)),
    **dict.fromkeys(("defined", "isset", "hasattr"), ("{0} != null",)),
    **dict.fromkeys(("str", "String", "toString", "string", "text"), ("string({0})",)),
    **dict.fromkeys(("float", "Number", "number", "parseFloat", "double"), ("double({0})",)),
    **dict.fromkeys(("parseInt", "integer", "Integer", "int"), ("int({0})",)),
    **dict.fromkeys(("bool", "Boolean", "boolean"), ("{0} == true",)),
    **dict.fromkeys(("typeof", "type"), ("type({0})",)),
    **dict.fromkeys(("equals", "eq", "isEqual"), ("{0} == {1}",)),
    **dict.fromkeys(("get", "at", "item"), ("{0}[{1}]",)),
    **dict.fromkeys(("some", "any"), ("{0}.exists(x, x == 1)",)),
    "every": ("{0}.all(x, x == 1)",),
    "not": ("!({0})",),
}
_LENGTHS: Final = frozenset({"length"})


def explain_syntax(error: Exception, expression: str) -> str:
    """Return why the library can't read an expression, in words for its author."""
    # The message quotes the expression, whose own text must not be taken for the library's words.
    complaints = _SYNTAX_ERROR.findall(str(error).replace(expression, "", 1))
    advice = (text for said in complaints for words, text in _SYNTAX_ADVICE if said.startswith(words))
    return next(advice, None) or _syntax_advice(complaints, expression)


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


def explain_evaluation(error: Exception) -> str:
    """Return why an expression could not be evaluated, in words for its author."""
    for words, advice in _EVALUATION_ADVICE:
        if found := words.search(str(error)):
            return advice.format(*found.groups())
    return "an operation in it does not fit its values"


def check_calls(calls: Iterable[Call], is_valid: Callable[[str], bool]) -> None:
    """Raise ConditionError for the first call of what a condition does not have; `is_valid` tries what to write."""
    for call in calls:
        takes = (_FUNCTIONS if call.receiver is None else _METHODS).get(call.name)
        if takes is None:
            raise ConditionError(_refusal(call, is_valid))
        if len(call.arguments) not in takes:
            values = "nothing" if takes == _NO_VALUE else "1 value" if takes == _ONE_VALUE else f"{takes[0]} values"
            raise ConditionError(f"{call.name}() takes {values}, not {len(call.arguments)}")


def check_fields(fields: Iterable[Field], variables: frozenset[str]) -> None:
    """Raise ConditionError for a `.length`; `variables` are those of macros, whose elements may have such a field."""
    for field in fields:
        root = re.match(r"\w+", field.receiver)
        if field.name in _LENGTHS and not (root and root[0] in variables):
            value = shown(field.receiver)
            raise ConditionError(
                f"a condition has no .{field.name}; write size({value}), or {value}['{field.name}'] for a field of "
                "this name"
            )


def _refusal(call: Call, is_valid: Callable[[str], bool]) -> str:
    there = f"there is no function or variable '{shown(call.name)}' here"
    own = [call.receiver] if call.receiver is not None else []
    values = [*own, *call.arguments]
    if advice := _INSTEAD.get(call.name):
        if call.receiver is None and call.name not in _METHODS and len(advice) == 1 and "{1}" not in advice[0]:
            values = values[:1]
        return f"{there}; write {' or '.join(_filled(text, values, is_valid) for text in advice)}"
    known = _FUNCTIONS if call.receiver is None else _METHODS
    if near := find_near_miss(call.name, known):
        written = f"{near}({', '.join(call.arguments)})"
        written = written if call.receiver is None else f"{call.receiver}.{written}"
        if is_valid(written):
            return f"{there}; did you mean '{shown(written)}'?"
    return f"{there}; let an action prepare such a value. What there is: {', '.join(dict.fromkeys(known))}"


def _filled(template: str, values: Sequence[str], is_valid: Callable[[str], bool]) -> str:
    """Return what to write, in the author's own words where these can be read so."""
    written, space, remark = template.partition(" for ") if " for " in template else template.partition(" to ")
    if "{1}" not in written or len(values) > 1:
        own = written.format(*values, *["VALUE", "TEXT"][len(values) :])
        if values and is_valid(own):
            return f"{shown(own)}{space}{remark}"
    return f"{written.format('VALUE', 'TEXT')}{space}{remark}"
