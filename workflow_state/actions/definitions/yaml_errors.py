"""What is wrong with a text that is no YAML: the parser's words, and what to do about the slips that are common."""

import re
from typing import Final

import yaml

from workflow_state.wording import shown

# `token: ${env.NAME}` between braces, where the brace of the reference begins a mapping of its own.
_UNQUOTED_REFERENCE: Final = re.compile(r"(?<![\"'$\w])\$\{[^}\s]*\}")
# `url: {base}/users`.
_UNQUOTED_BRACE: Final = re.compile(r":[ ]+(\{[^}\"']*\}[^\s,}]+)")
_TWO_COLONS: Final = re.compile(r"^[^\"'#]*:\s[^\"'#]*:(\s|$)")


def explain_yaml_error(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """Return the line, from 1, and what is wrong there: the parser's words with the column, and what to do.

    The line is 0 where the parser does not know it.
    """
    mark = error.problem_mark or error.context_mark
    problem = str(error.problem or error.context)
    if mark is None:
        return 0, problem
    advice = _advise(problem, mark, text.splitlines() or [""], error.context_mark)
    return mark.line + 1, f"{problem} at column {mark.column + 1}{advice and f'; {advice}'}"


def _advise(problem: str, mark: yaml.Mark, lines: list[str], context: yaml.Mark | None) -> str:
    # What is not closed is noticed at its end, which may be lines below.
    first = context.line if context else mark.line
    around = lines[first : mark.line + 1][:100]
    line = lines[mark.line] if mark.line < len(lines) else ""
    reference = next((found[0] for text in around if (found := _UNQUOTED_REFERENCE.search(text))), None)
    if "expected ',' or" in problem and reference:
        return f"quote the reference: '{shown(reference)}'"
    brace = next((found[1] for text in around if (found := _UNQUOTED_BRACE.search(text))), None)
    if brace:
        return f"quote the value: '{shown(brace)}'"
    if "cannot start any token" in problem:
        character = line[mark.column : mark.column + 1]
        return (
            "indent with spaces, not with tabs"
            if character == "\t"
            else f"quote the value that begins with {character}"
        )
    if "mapping values are not allowed" in problem:
        return (
            "quote the value that has ': ' in it" if _TWO_COLONS.match(line) else "indent fields of one mapping alike"
        )
    if "expected ',' or" in problem:
        return "add the missing comma, or the bracket at the end"
    return "add the missing quote" if "quoted scalar" in f"{problem} {mark}" else ""
