"""The bounds of what a plan multiplies, and the one error for all of them. Pure.

The numbers are settings. Whoever would go beyond one of them ends with the code `limit_exceeded`, before anything is
sent.
"""

from workflow_state.schema import LIMIT_EXCEEDED, ErrorCategory, ErrorDetail
from workflow_state.settings import PREFIX


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
