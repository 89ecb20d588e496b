"""The bounds of what a plan multiplies, and the one error for all of them. Pure.

The numbers are settings. Whoever would go beyond one of them ends with the code `limit_exceeded`, before anything is
sent.
"""

from workflow_state.schema import LIMIT_EXCEEDED, ErrorCategory, ErrorDetail
from workflow_state.settings import PREFIX, Settings


class LimitExceededError(Exception):
    """An execution would go beyond a bound. `.detail` is what its state says of it."""

    def __init__(self, detail: ErrorDetail) -> None:
        super().__init__(detail.message)
        self.detail = detail


def limit_exceeded(setting: str, most: int, what: str, instead: str) -> ErrorDetail:
    """Return the error for a bound, by the name of its setting, such as `max_elements`.

    `what` says what there is too much of, and `instead` what the author of the plan can do.
    """
    variable = f"{PREFIX}{setting.upper()}"
    return ErrorDetail(
        category=ErrorCategory.VALIDATION_FAILED,
        code=LIMIT_EXCEEDED,
        message=f"{what}; at most {most} are allowed ({variable})",
        context={"limit": variable, "most": str(most)},
        suggestion=f"{instead}, or set {variable} higher for the workers",
    )


def find_full(settings: Settings, state_bytes: int, stored_bytes: int) -> ErrorDetail | None:
    """Return why a step may not be sent any more: its result would have no room. None where it has.

    `state_bytes` and `stored_bytes` are what the execution has so far. What is under way at the moment may go a little
    beyond.
    """
    if state_bytes >= settings.max_state_bytes:
        what = f"nothing was sent: the state of this execution has {state_bytes} bytes"
        return limit_exceeded("max_state_bytes", settings.max_state_bytes, what, "split the plan")
    if stored_bytes >= settings.max_stored_bytes:
        what = f"nothing was sent: this execution has stored {stored_bytes} bytes of outputs"
        return limit_exceeded("max_stored_bytes", settings.max_stored_bytes, what, "split the plan")
    return None


def is_half_full(settings: Settings, state_bytes: int) -> bool:
    """Return whether a step has to leave room for others: its output is stored, and its requests are not traced."""
    return state_bytes >= settings.max_state_bytes / 2


def require_few_requests(settings: Settings, count: int) -> None:
    """Raise LimitExceededError where an execution would have begun more steps than it may send requests."""
    if count > settings.max_requests:
        what = f"this execution would send {count} requests"
        raise LimitExceededError(limit_exceeded("max_requests", settings.max_requests, what, "split the plan"))
