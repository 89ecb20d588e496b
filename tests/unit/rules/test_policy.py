"""What a failure means, and when an action is tried again."""

import pytest

from workflow_state.rules.policy import (
    Blocked,
    find_block,
    level_priority,
    reads_plan_inputs,
    retry_delay_ms,
    stopping_failure,
)
from workflow_state.schema import ErrorDetail, PlannedAction, RetryPolicy

COMPLETED = {"status": "completed", "result": {"status": "success", "output": 1}}
FAILED = {"status": "failed", "result": {"status": "failure"}}
SKIPPED_BY_CONDITION = {"status": "skipped", "result": {"status": "skipped", "reason": "no"}}
BLOCKED = {"status": "skipped", "result": {"status": "skipped", "reason": "no", "blockedBy": "root"}}


def act(action_id="b", dependencies=("a",), **fields):
    return PlannedAction.model_validate(
        {"id": action_id, "actionDefinitionId": "d", "dependencies": list(dependencies), **fields}
    )


@pytest.mark.parametrize(
    ("state", "block"),
    [
        (COMPLETED, None),
        (SKIPPED_BY_CONDITION, None),
        (FAILED, Blocked(by="a", root="a")),
        (BLOCKED, Blocked(by="a", root="root")),
    ],
)
def test_a_failure_blocks_what_depends_on_it(state, block):
    """A skip by an own condition is no failure; a failure blocks through any number of steps."""
    assert find_block(act(), {"a": state}) == block


def test_who_tolerates_a_failure_is_not_blocked():
    """By `continueOnFailure`, or by a condition that reads the status."""
    assert find_block(act(errorHandling={"continueOnFailure": True}), {"a": FAILED}) is None
    assert find_block(act(condition={"if": "${a.status} == 'failed'"}), {"a": FAILED}) is None
    assert find_block(act(condition={"if": "${a.output.ok}"}), {"a": FAILED}) is not None


def test_reading_one_status_tolerates_that_one_only():
    """The other dependency's failure still blocks."""
    action = act(dependencies=["a", "c"], condition={"if": "${a.status} == 'failed'"})
    assert find_block(action, {"a": FAILED, "c": FAILED}) == Blocked(by="c", root="c")


def test_a_failure_stops_the_plan_unless_it_may_go_on():
    """`continueOnFailure` is the failed action's own."""
    strict, lenient = act("a", ()), act("b", (), errorHandling={"continueOnFailure": True})
    assert stopping_failure([strict, lenient], {"a": COMPLETED, "b": FAILED}) is None
    assert stopping_failure([strict, lenient], {"a": FAILED, "b": FAILED}) is strict


def detail(*, retryable=True, retry_after=None):
    return ErrorDetail.model_validate(
        {"category": "network_timeout", "message": "m", "retryable": retryable, "retryAfter": retry_after}
    )


def test_delays_are_jittered_below_a_growing_ceiling():
    """Uniform between zero and the ceiling, which stops at the cap."""
    policy = RetryPolicy(max_attempts=5, initial_delay_ms=100, max_delay_ms=250, backoff_multiplier=2)
    for attempt, ceiling_ms in ((1, 100), (2, 200), (3, 250), (4, 250)):
        delays = [retry_delay_ms(policy, attempt, detail()) for _ in range(300)]
        assert 0 <= min(delays) < 0.2 * ceiling_ms
        assert 0.8 * ceiling_ms < max(delays) <= ceiling_ms


def test_the_last_attempt_and_a_final_error_are_not_retried():
    """`maxAttempts` counts the first try."""
    policy = RetryPolicy(max_attempts=2)
    assert retry_delay_ms(policy, 1, detail(retryable=False)) is None
    assert retry_delay_ms(policy, 1, detail()) is not None
    assert retry_delay_ms(policy, 2, detail()) is None


def test_retry_after_is_obeyed():
    """Never sooner than the server asked."""
    policy = RetryPolicy(initial_delay_ms=0)
    assert retry_delay_ms(policy, 1, detail(retry_after=2_500)) == 2_500
    assert retry_delay_ms(policy, 1, detail(retry_after=300_000)) == 300_000


def test_the_largest_policy_stays_finite():
    """Twenty attempts with a multiplier of a hundred are no overflow."""
    policy = RetryPolicy(max_attempts=20, initial_delay_ms=30_000, max_delay_ms=1_000, backoff_multiplier=100)
    assert retry_delay_ms(policy, 19, detail()) <= 1_000


@pytest.mark.parametrize(
    ("fields", "reads"),
    [
        ({"inputs": {"a": ["x ${inputs.y}"]}}, True),
        ({"condition": {"if": "${inputs.y}"}}, True),
        ({"inputs": {"a": "${a.output}"}}, False),
    ],
)
def test_plan_inputs_are_read_only_where_they_are_referenced(fields, reads):
    """It saves most actions a read."""
    assert reads_plan_inputs(act(**fields)) is reads


@pytest.mark.parametrize(
    ("messages", "priority"),
    [(0, 0), (1, 0), (100, 0), (101, 3), (500, 3), (501, 6), (2_500, 6), (2_501, 9), (10_000, 9)],
)
def test_what_comes_in_small_numbers_goes_first(messages, priority):
    """0 is first on Redis; kombu has a list for each of these four."""
    assert level_priority(messages) == priority
