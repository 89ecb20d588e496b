"""Reading the options `--assume-done` and `--send-again`: decisions about requests whose outcome is unknown."""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workflow_state.errors import ExecutionConflictError, OutcomeUnknownError
from workflow_state.views.text import plain

# An action's id, or one element of its list.
_REQUEST = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}(\[[0-9]+\])?")


def json_or_text(text: str) -> Any:
    """Return what a value on a command line stands for: JSON where it is JSON, the text otherwise."""
    try:
        value = json.loads(text)
        # Python reads NaN, Infinity and 1e999, none of which is JSON.
        json.dumps(value, allow_nan=False)
    except ValueError:
        return text
    return value


def split_assumed(texts: Sequence[str]) -> tuple[dict[str, Any], list[Any]]:
    """Return the outputs of `ACTION=VALUE`, and those of a VALUE alone; a text with a `=` of its own is quoted as JSON.

    Raises ExecutionConflictError for an action that is named twice.
    """
    named: dict[str, Any] = {}
    unnamed: list[Any] = []
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not _REQUEST.fullmatch(name):
            unnamed.append(json_or_text(text))
        elif name in named:
            raise ExecutionConflictError(f"--assume-done names {name} twice")
        else:
            named[name] = json_or_text(value)
    return named, unnamed


def name_assumed(
    execution_id: str,
    assumed: tuple[Mapping[str, Any], Sequence[Any]],
    again: Sequence[str],
    read_undecided: Callable[[], Mapping[str, str]],
) -> dict[str, Any]:
    """Return the assumed outputs by request: one without a name is that of the only request left to decide about.

    `read_undecided` is asked only where a name lacks. Raises OutcomeUnknownError where several requests are left, and
    ExecutionConflictError where there are fewer than outputs.
    """
    named, unnamed = assumed
    if not unnamed:
        return dict(named)
    left = {name: why for name, why in read_undecided().items() if name not in named and name not in again}
    if len(left) > 1:
        raise OutcomeUnknownError(execution_id, left)
    if len(unnamed) > len(left):
        there = f"only {', '.join(left)} needs one" if left else "none needs one"
        raise ExecutionConflictError(f"there are more outputs to assume than requests of unknown outcome: {there}")
    return {**named, next(iter(left)): unnamed[0]}


def ask_for_decisions(error: OutcomeUnknownError, command: Sequence[str]) -> str:
    """Return which requests need a decision, and the command lines that say one: `command` with the options added."""
    options = [
        [f"--assume-done={name}=OUTPUT" for name in error.undecided],
        [f"--send-again={name}" for name in error.undecided],
    ]
    assume_done, send_again = (shlex.join([*command, *added]) for added in options)
    return "\n".join(
        [
            "nobody knows whether these requests were done:",
            *(f"  {plain(f'{name}: {why}')}" for name, why in error.undecided.items()),
            "find out at the server, and decide on each; what was done is completed with the output that you give:",
            f"  {plain(assume_done)}",
            "what was not done is sent again:",
            f"  {plain(send_again)}",
        ]
    )
