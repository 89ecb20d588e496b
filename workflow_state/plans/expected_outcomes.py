"""Checking a plan's expected outcome: all of its validations together, in a bounded time of the processor."""

import time
from collections.abc import Mapping
from typing import Any, Final

from workflow_state.plans.conditions import evaluate_validation
from workflow_state.schema import ExpectedOutcome, ValidationResult

MAX_CPU_S: Final = 10.0
"""So long the validations of one outcome may compute. One by itself ends within a second or two."""


def evaluate_outcome(outcome: ExpectedOutcome, results: Mapping[str, Any]) -> list[ValidationResult]:
    """Return for each validation whether it came true, and what was found; raises nothing.

    `results` are as `resolve_reference` takes them. A validation whose turn comes after MAX_CPU_S of this thread's
    time does not pass, and says why: a hundred slow ones would hold a worker's thread for minutes.
    """
    started_s = time.thread_time()
    found: list[ValidationResult] = []
    for validation in outcome.validations:
        if time.thread_time() - started_s > MAX_CPU_S:
            message = f"not looked at: the validations before it took {MAX_CPU_S:g} s of the processor's time"
            found.append(ValidationResult(name=validation.name, passed=False, message=message))
        else:
            found.append(evaluate_validation(validation, results))
    return found
