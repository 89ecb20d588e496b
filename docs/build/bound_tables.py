"""The bounds of what a plan, an answer and an execution may have, from the code that keeps them."""

from typing import Any

from writing import cell

from workflow_state.actions.http.redirects import MAX_REDIRECTS
from workflow_state.actions.http.trace import MAX_BODY_CHARACTERS
from workflow_state.engine.contents import MAX_READ_BYTES
from workflow_state.plans.condition_limits import MAX_CHARACTERS
from workflow_state.plans.conditions import MAX_ACTUAL_BYTES
from workflow_state.plans.expected_outcomes import MAX_CPU_S
from workflow_state.plans.resolving import MAX_RESOLVED_BYTES
from workflow_state.plans.validation.document import MAX_PLAN_BYTES, MAX_PLAN_DEPTH
from workflow_state.rules.policy import MAX_LOSSES
from workflow_state.schema import MAX_ACTIONS, MAX_VALIDATIONS, RetryPolicy, UserConfirmation
from workflow_state.settings import PREFIX, Settings
from workflow_state.store.claims import FREE_RETRIES

_REFUSED = "The plan is refused when it is validated."
_FAILS = "The action fails with `validation_failed`."
_ENDS = "The execution ends `failed` with `limit_exceeded`, before anything of that level is sent."
_NOT_SENT = "What is left fails with `limit_exceeded`, and is not sent."


def describe_bounds() -> str:
    """Return the table of all bounds, each with what happens beyond it."""
    rows = [
        ("bytes of a plan", _bytes(MAX_PLAN_BYTES), "", _REFUSED),
        ("levels of nesting in a plan", _count(MAX_PLAN_DEPTH), "", _REFUSED),
        ("actions of a plan", _count(MAX_ACTIONS), "", _REFUSED),
        ("characters of a question's title", _count(_longest("title")), "", _REFUSED),
        ("characters of a question's message", _count(_longest("message")), "", _REFUSED),
        ("characters of a condition", _count(MAX_CHARACTERS), "", _REFUSED),
        ("validations of an expected outcome", _count(MAX_VALIDATIONS), "", _REFUSED),
        ("their time of the processor, all together", f"{MAX_CPU_S:g} s", "", "The others do not pass."),
        (
            "bytes of what each of them found (`actual`)",
            _bytes(MAX_ACTUAL_BYTES),
            "",
            "It is left out; the message has its beginning.",
        ),
        ("bytes of an action's resolved inputs", _bytes(MAX_RESOLVED_BYTES), "", _FAILS),
        ("bytes of a stored output that a reference reads", _bytes(MAX_READ_BYTES), "", _FAILS),
        ("elements of one list", _count(MAX_ACTIONS), "`forEachLimit` of the action, 1,000 by default", _FAILS),
        _of_setting("elements of all lists of an execution", "max_elements", _count, _ENDS),
        _of_setting(
            "requests of an execution",
            "max_requests",
            _count,
            f"{_ENDS} Where only retries are too many, an action that fails is not tried again.",
        ),
        ("attempts of an action", _count(_most_attempts()), "`retryPolicy` of the definition", "It has failed."),
        (
            "retries of an execution",
            f"{FREE_RETRIES}, and 2 for each step",
            "",
            "An action that fails is not tried again.",
        ),
        ("redirects of a request", _count(MAX_REDIRECTS), "`followRedirects` of the definition", "The action fails."),
        _of_setting("bytes of an answer", "max_response_bytes", _bytes, "The action fails."),
        _of_setting("bytes of an output in the state", "inline_output_bytes", _bytes, "It is stored."),
        ("characters of a body in the trace", _count(MAX_BODY_CHARACTERS), "", "It is cut."),
        _of_setting(
            "bytes of an execution's state",
            "max_state_bytes",
            _bytes,
            f"From half of it on, outputs of more than 1 KiB are stored, and requests are not traced. {_NOT_SENT}",
        ),
        _of_setting("bytes that an execution stores", "max_stored_bytes", _bytes, _NOT_SENT),
        (
            "workers lost over one attempt, or over one level",
            _count(MAX_LOSSES),
            "",
            "The action fails, or the execution ends `failed`, with `workers_lost`.",
        ),
    ]
    lines = [f"| {' | '.join(cell(part) for part in row)} |" for row in rows]
    return "\n".join(["| what | at most | set by | beyond that |", "|---|---|---|---|", *lines]) + "\n"


def _of_setting(what: str, name: str, write: Any, beyond: str) -> tuple[str, str, str, str]:
    default = Settings.model_fields[name].get_default(call_default_factory=True)
    return what, write(default), f"`{PREFIX}{name.upper()}`", beyond


def _most_attempts() -> int:
    return next(bound.le for bound in RetryPolicy.model_fields["max_attempts"].metadata if hasattr(bound, "le"))


def _longest(field: str) -> int:
    return next(
        bound.max_length for bound in UserConfirmation.model_fields[field].metadata if hasattr(bound, "max_length")
    )


def _count(number: int) -> str:
    return f"{number:,}"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return f"{count:,} bytes"
