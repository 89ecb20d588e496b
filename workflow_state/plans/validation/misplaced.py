"""Expressions in inputs, where they would be sent as text: `"${list.output}.size()"` is no number. Pure.

Ordinary text stays text: "Dear ${a.output.name}. Your…", `${x}.json`, `${host}/path?page=2`, `${a}-${b}`. What is told
starts with a reference (or with a function of one) and can be nothing else than an expression.
"""

import re
from dataclasses import dataclass
from typing import Final

from workflow_state.errors import ReferenceParseError, WorkflowStateError
from workflow_state.plans.conditions import check_condition
from workflow_state.plans.references import ParsedReference, split_text
from workflow_state.wording import shown

_MAX_CHARACTERS: Final = 1_000
# What comes after a dot in the names of files and hosts.
_ENDING: Final = re.compile(
    r"ai|app|avi|aspx|bak|bin|bmp|bz2|cfg|com|conf|css|csv|dat|de|dev|docx?|edu|eml|eps|example|eu|fr|gif|gov|gz|html?|"
    r"ico|ics|ini|internal|invalid|io|jpe?g|js|jsonl?|jsp|local|localhost|log|md|mov|mp3|mp4|ndjson|net|nl|nz|odt|org|"
    r"parquet|pdf|php|png|pptx?|ps|py|rtf|sh|sql|svg|tar|test|tgz|tiff?|toml|tsv|ttf|txt|uk|us|wav|webm|webp|wsdl|"
    r"xhtml|xlsx?|xml|xsd|ya?ml|zip",
    re.IGNORECASE,
)
# What is called of a value in one language or another.
_CALLABLE: Final = re.compile(
    r"size|length|len|count|contains|includes|indexOf|startsWith|startswith|endsWith|endswith|matches|match|"
    r"toLowerCase|toUpperCase|lower|upper|trim|strip|split|join|replace|substring|substr|slice|map|filter|all|exists|"
    r"some|every|find|get|keys|values|items|toString|toFixed|first|last|reduce|sort|reverse|at|concat|push|isEmpty|"
    r"round|floor"
)
_FUNCTION: Final = re.compile(
    r"(?:size|len|int|double|string|str|float|parseInt|parseFloat|Number|String|has|timestamp|duration)\(.*\)",
    re.DOTALL,
)
_METHOD: Final = re.compile(r"(?:\.\w+|\[[^\[\]]*\])*\.(?P<name>[A-Za-z_]\w*)\((?P<rest>.?)", re.DOTALL)
_PROPERTIES: Final = re.compile(r"(?:\.[A-Za-z_]\w*|\[[0-9]+\])+")
_COMPARISON: Final = re.compile(r"\s*(?:===|!==|==|!=|\?\?)\s*\S")
# These stand in prose and in shells too, so what stands around them must be an expression.
_LOGIC: Final = re.compile(r"\s*(?:>=|<=|&&|\|\|)\s*\S.*", re.DOTALL)
_CHOICE: Final = re.compile(r"\s+\?\s+.+\s:\s.+", re.DOTALL)
_CONSTANT: Final = r"(?:-?[0-9]+(?:\.[0-9]+)?|'[^']*'|\"[^\"]*\")"
_OPERATION: Final = re.compile(rf"\s*[<>]\s*{_CONSTANT}\s*|\s+[+*%]\s+{_CONSTANT}.*", re.DOTALL)
_ARITHMETIC: Final = re.compile(r"\s*[-+*/%]\s*(?:[0-9]+(?:\.[0-9]+)?\s*)?")


@dataclass(frozen=True, slots=True)
class Misplaced:
    """An expression that stands in an input; `instead` is the one reference that was probably meant, or ""."""

    problem: str
    suggestion: str = ""
    instead: str = ""


def find_misplaced(text: str, *, holds_parts: bool = False, is_number: bool = False) -> Misplaced | None:
    """Return what is wrong where the text of an input is plainly meant as an expression, and None for ordinary text.

    `holds_parts` says that its first reference stands for an object or a list, `is_number` that it stands for a number,
    as far as that is known.
    """
    parts = _split(text.strip())
    if len(parts) < 2:  # noqa: PLR2004 - a reference alone, or a text alone
        return None
    first = parts[0]
    if isinstance(first, str):
        is_call = _FUNCTION.fullmatch(text.strip()) and _is_one_call(text.strip())
        return _in_condition(text) if is_call else _find_method(text, parts)
    after = text.strip()[len(first.text) :]
    if len(parts) == 2 and (found := _find_property(first, after, holds_parts=holds_parts)):  # noqa: PLR2004
        return found
    is_operation = any(pattern.fullmatch(after) for pattern in (_LOGIC, _CHOICE, _OPERATION)) and _reads(text)
    if is_operation or _COMPARISON.match(after) or (is_number and all(_is_arithmetic(part) for part in parts[1:])):
        return _in_condition(text)
    return _find_method(text, parts)


def _split(text: str) -> list[str | ParsedReference]:
    """Return the parts of a text; none where it is too long to be meant as an expression, or wrongly written."""
    try:
        return split_text(text) if len(text) <= _MAX_CHARACTERS else []
    except ReferenceParseError:
        return []


def _find_method(text: str, parts: list[str | ParsedReference]) -> Misplaced | None:
    """Find `${a.output}.size()`, also with text around it: no prose has a dot before a bracket."""
    for index, part in enumerate(parts[1:], start=1):
        before = parts[index - 1]
        if not isinstance(part, str) or isinstance(before, str) or not (call := _METHOD.match(part)):
            continue
        is_whole = len(parts) == 2 and part.endswith(")")  # noqa: PLR2004 - the reference and its call
        if _CALLABLE.fullmatch(call["name"]) or (is_whole and call["rest"] in {")", "'", '"'}):
            return _in_condition(text)
    return None


def _find_property(reference: ParsedReference, after: str, *, holds_parts: bool) -> Misplaced | None:
    """Find `${a.output}.name`: the path goes on inside of the braces."""
    if not _PROPERTIES.fullmatch(after):
        return None
    names = re.findall(r"[A-Za-z_]\w*", after)
    if names[-1:] == ["length"]:
        return _in_condition(reference.text + after)
    is_whole = reference.field == "output" and not reference.path
    if not holds_parts and not (is_whole and names and not _ENDING.fullmatch(names[-1])):
        return None
    instead = f"{reference.text[:-1]}{after}}}"
    return Misplaced(
        f"'{shown(reference.text + after)}' is the whole of {shown(reference.text)} as text, and then "
        f"'{shown(after)}': the path of a reference goes on inside of its braces",
        instead=instead,
    )


def _in_condition(text: str) -> Misplaced:
    problem = (
        f"'{shown(text)}' would be sent as text: an input has values and references, expressions stand in conditions"
    )
    stripped = text.strip()
    expression = re.sub(r"\.length\b(?:\(\))?$", ".size()", stripped)
    where = f"; condition.if could have {shown(expression)}" if _reads(expression) and len(expression) <= 80 else ""  # noqa: PLR2004
    return Misplaced(problem, f"refer to a field that has the value, or let an action compute it{where}")


def _reads(text: str) -> bool:
    try:
        check_condition(text)
    except WorkflowStateError:
        return False
    return True


def _is_one_call(text: str) -> bool:
    depth = 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and character == ")":
            return position == len(text) - 1
    return False


def _is_arithmetic(part: str | ParsedReference) -> bool:
    return isinstance(part, str) and _ARITHMETIC.fullmatch(part) is not None and any(map(str.isdigit, part))
