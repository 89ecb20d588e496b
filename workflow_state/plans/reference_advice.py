"""Errors about references that are not written correctly: what is wrong, and what to write instead.

Often a language model reads the message and repairs its plan, so each message ends with the text to write.
"""

import re
from collections.abc import Sequence
from typing import Final, NoReturn

from workflow_state.errors import ReferenceParseError
from workflow_state.wording import shown

_MAX_ADVICE: Final = 200
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
# What people and models write where `output` belongs.
_OUTPUT_MISNOMERS: Final = frozenset({"result", "results", "outputs", "response", "data", "body"})
# What belongs to an answer and is no part of its body, which the output is.
_NO_BODY: Final = frozenset(
    {"headers", "header", "cookies", "statusCode", "status_code", "httpStatus", "statusText", "error"}
)


def refuse(text: str, start: int, problem: str) -> NoReturn:
    """Raise ReferenceParseError for the reference whose `${` is at `start`."""
    close = text.find("}", start)
    whole = text[start : close + 1] if close >= 0 else text[start:]
    raise ReferenceParseError(f"{shown(whole)}: {problem}")


def refuse_root(text: str, start: int) -> NoReturn:
    """Raise the error for text that stands where an action id or `inputs` belongs."""
    after = text[start + 2 : start + 3]
    if not after:
        refuse_unclosed(text, start)
    if text.startswith("${", start + 2):
        refuse(text, start, "references can't be nested; write each one by itself, or $${ for a literal ${")
    if after == "}":
        refuse(text, start, "the reference is empty; write ${actionId.output.path}, or $${ for a literal ${")
    refuse(
        text,
        start,
        f"a reference starts with an action id or inputs, not with {after!r}; write ${{actionId.output.path}}, "
        "or $${ for a literal ${",
    )


def refuse_field(whole: str, name: str, tail: str, path: Sequence[str | int]) -> NoReturn:
    """Raise the error for text that stands where `.output` or `.status` belongs; `tail` is the text after the name."""
    problem = f"{shown(whole)}: after the action id '{shown(name)}' comes .output or .status"
    instead = ""
    if name == "input":
        instead = f"${{inputs{tail}}}"
        advice = f"{instead} for a plan input"
    elif name == "env":
        advice = "it in the action's definition: a plan can't read the environment"
    elif not path:
        advice = f"${{{name}.output}} or ${{{name}.status}}"
    elif path[0] in _OUTPUT_MISNOMERS and tail.startswith("."):
        instead = advice = f"${{{name}.output{tail[1 + len(str(path[0])) :]}}}"
    else:
        instead = advice = f"${{{name}.output{tail}}}"
    if len(advice) > _MAX_ADVICE:
        # Cut short it would be no reference any more.
        advice = ".output after the action id"
    if name not in ("input", "env") and _is_no_body(path):
        # It would be well written, the request would be sent, and what reads it would fail.
        instead = ""
        advice = f"${{{name}.output.field}} for a field of the answer's body, which is all that an output has"
    error = ReferenceParseError(f"{problem}; write {advice}")
    error.problem, error.instead = problem, instead
    raise error


def _is_no_body(path: Sequence[str | int]) -> bool:
    first, second = (*path, "", "")[:2]
    return first in _NO_BODY or (first == "response" and (second in _NO_BODY or second == "status"))


def refuse_key(text: str, start: int, position: int) -> NoReturn:
    """Raise the error for text at `position`, where a key belongs after a dot."""
    number = _NUMBER.match(text, position)
    if number is not None:
        refuse(text, start, f"an index is written in brackets; write [{int(number.group())}] for .{number.group()}")
    if position >= len(text):
        refuse_unclosed(text, start)
    refuse(
        text,
        start,
        f"a key after a dot starts with a letter or _, not with {text[position]!r}; "
        'write ["the key"] for a key with other characters',
    )


def refuse_step(text: str, start: int, position: int) -> NoReturn:
    """Raise the error for text at `position`, where `.key`, `[0]`, `["any key"]` or `}` belongs."""
    if position >= len(text):
        refuse_unclosed(text, start)
    found = text[position]
    if found == "[":
        problem = 'in brackets stands an index from 0 or a key in double quotes; write [0] or ["the key"]'
    elif text.startswith("${", position):
        problem = "references can't be nested; write each one by itself, or $${ for a literal ${"
    else:
        problem = (
            f'{found!r} can\'t stand in a reference, only .key, [0] and ["any key"] do; '
            "put anything else outside of ${…}, or quote the key"
        )
    refuse(text, start, problem)


def refuse_unclosed(text: str, start: int) -> NoReturn:
    """Raise the error for a reference that is not closed before the text ends."""
    raise ReferenceParseError(
        f"{shown(text[start:])}: the reference is not closed; add the missing }}, or write $${{ for a literal ${{"
    )
