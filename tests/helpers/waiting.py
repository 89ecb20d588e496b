"""The only waiting that tests do, and how they judge that something came in time."""

import time
from collections.abc import Callable
from typing import Any

from workflow_state import confirm_action, get_execution_state
from workflow_state.schema import ConfirmationState

# The pauses between two looks.
_SHORTEST_S = 0.02
_LONGEST_S = 0.1


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
    """Return the condition's first true value; fail with `what` did not happen after the timeout.

    A look is followed by a pause as long as it took: one that asks another process leaves time to what it waits for.
    """
    deadline_s = time.monotonic() + timeout_s
    looked_s = time.monotonic()
    while not (value := condition()):
        now_s = time.monotonic()
        if now_s > deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(min(max(_SHORTEST_S, now_s - looked_s), _LONGEST_S))
        looked_s = time.monotonic()
    return value


def wait_for_question(execution_id: str, action_id: str = "ask") -> ConfirmationState:
    """Return the question once it is asked, and everything else of its level is done."""

    def asked() -> list[ConfirmationState]:
        state = get_execution_state(execution_id)
        return [item for item in state.confirmations if item.action_id == action_id and item.confirmed is None]

    question: ConfirmationState = wait_until(asked, f"{action_id} asks")[0]
    return question


def answer_question(
    execution_id: str,
    action_id: str = "ask",
    confirmed: bool = True,  # noqa: FBT001, FBT002 - as confirm_action has it
    user_id: str | None = None,
) -> ConfirmationState:
    """Answer the question that is asked, once it is, as somebody who has seen it; return it with the answer."""
    digest = wait_for_question(execution_id, action_id).digest
    return confirm_action(execution_id, action_id, confirmed, user_id, digest=digest)


def in_time(at_most_s: float, call: Callable[[], Any]) -> Any:
    """Return what the call returns; fail where it takes longer, three times.

    What is late by itself is late each time. What was late because something else ran on the machine is not.
    """
    took_s = []
    for _ in range(3):
        started_s = time.monotonic()
        value = call()
        took_s.append(time.monotonic() - started_s)
        if took_s[-1] < at_most_s:
            return value
    raise AssertionError(f"it took {[round(each_s, 2) for each_s in took_s]} s, and not at most {at_most_s}")
