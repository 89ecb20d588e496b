"""Where an execution stands, in a line."""

import pytest

from workflow_state.rules.standing import describe_standing
from workflow_state.schema import ExecutionState


def state(status, confirmations=(), **statuses):
    """Return the state of an execution whose actions have these statuses; `retrying` is one that runs."""
    actions = {
        name: {"actionId": name, "status": "running", "nextAttemptAt": "2026-01-01T00:00:00Z"}
        if each == "retrying"
        else {"actionId": name, "status": each}
        for name, each in statuses.items()
    }
    asks = [{"actionId": name, "requestedAt": "2026-01-01T00:00:00Z"} for name in confirmations]
    metrics = {"totalActions": len(actions), "completedActions": 0, "failedActions": 0, "skippedActions": 0}
    return ExecutionState.model_validate(
        {
            "id": "e",
            "planId": "p",
            "status": status,
            "startedAt": "2026-01-01T00:00:00Z",
            "actionStates": actions,
            "confirmations": asks,
            "metrics": metrics,
            "version": 1,
        }
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (state("initializing", a="pending"), "is initializing: no worker has begun it"),
        (
            state("running", a="completed", b="running", c="pending"),
            "is running: 1 of 3 actions have ended, 'b' runs",
        ),
        (
            state("running", a="retrying", b="failed", c="skipped"),
            "is running: 2 of 3 actions have ended, 'a' waits for its next attempt",
        ),
        (
            state("paused_for_confirmation", ["pay[3]"], pay="running", x="running"),
            "is paused_for_confirmation: 0 of 2 actions have ended, 'x' runs, 'pay[3]' waits for an answer",
        ),
        (
            state("running", a="running", b="running", c="running", d="running", e="running"),
            "is running: 0 of 5 actions have ended, 'a', 'b', 'c' and 2 more run",
        ),
    ],
    ids=["initializing", "running", "retrying", "asking", "many"],
)
def test_it_says_what_the_execution_does_now(given, text):
    assert describe_standing(given) == text
