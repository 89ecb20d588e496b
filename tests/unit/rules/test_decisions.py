"""What is to be decided before an execution is resumed, and which decisions are taken."""

import pickle

import pytest

from workflow_state.errors import ExecutionConflictError, OutcomeUnknownError
from workflow_state.rules.decisions import decide, find_undecided
from workflow_state.schema import ActionExecutionState, ExecutionPlan

WHY = "the outcome is unknown"
UNDECIDED = {"pay": WHY, "each[1]": WHY, "each[4]": WHY}


def failed(action_id, code):
    error = {"category": "state_inconsistent", "message": WHY, "code": code}
    return ActionExecutionState.model_validate(
        {"actionId": action_id, "status": "failed", "result": {"status": "failure", "error": error}}
    )


def taken(undecided=None, assume_done=None, send_again=()):
    """Return the outputs that are assumed, and what is sent again."""
    decisions = decide(
        "x", UNDECIDED if undecided is None else undecided, assume_done=assume_done, send_again=send_again
    )
    return dict(decisions.assumed), set(decisions.sent_again)


def test_requests_of_unknown_outcome_are_to_be_decided_about():
    """Those of the plan's actions, by element in a list, where the list's own failure is no request."""
    plan = ExecutionPlan.model_validate(
        {"name": "x", "actions": [{"id": name, "actionDefinitionId": "d"} for name in ("pay", "known", "each")]}
    )
    states = {name: failed(name, "outcome_unknown") for name in ("pay", "each", "not_in_the_plan")}
    elements = {"each": {0: failed("each[0]", "other"), 1: failed("each[1]", "outcome_unknown"), 2: None}}
    assert find_undecided(plan, {**states, "known": failed("known", "other")}, elements) == {
        "pay": WHY,
        "each[1]": WHY,
        "each[2]": "it is done, but its output is not stored any more",
    }


@pytest.mark.parametrize(
    ("assume_done", "send_again", "expected"),
    [
        ({"pay": None}, ["each"], ({"pay": None}, {"each[1]", "each[4]"})),
        ({"each[4]": [1]}, ["pay", "each"], ({"each[4]": [1]}, {"pay", "each[1]"})),
        ({"each[4]": 1}, True, ({"each[4]": 1}, {"pay", "each[1]"})),
        (None, ("pay", "each[1]", "each[4]"), ({}, set(UNDECIDED))),
    ],
)
def test_each_request_is_decided_about_once(assume_done, send_again, expected):
    """A list's name, and True, stand for what is not assumed done."""
    assert taken(UNDECIDED, assume_done, send_again) == expected


def test_a_single_name_and_no_decision_at_all():
    """A text is one name, not its letters."""
    assert taken({"pay": WHY}, send_again="pay") == ({}, {"pay"})
    assert taken({}) == taken({}, send_again=True) == taken({}, send_again=False) == ({}, set())


def test_a_decision_that_lacks_is_told_with_both_options():
    """For each request that is still open; the error passes through pickle."""
    with pytest.raises(OutcomeUnknownError) as raised:
        taken(UNDECIDED, {"each[1]": 1})
    error = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own
    assert error.undecided == {"pay": WHY, "each[4]": WHY}
    assert isinstance(error, ExecutionConflictError)
    for part in (f"pay: {WHY}", f"each[4]: {WHY}", "assume_done={'pay': OUTPUT}", "send_again=['pay']"):
        assert part in str(error)


@pytest.mark.parametrize(
    ("undecided", "assume_done", "send_again", "message"),
    [
        (UNDECIDED, {"other": 1}, True, "only pay, each\\[1\\], each\\[4\\] needs a decision"),
        (UNDECIDED, {}, ["other"], "nothing to decide about 'other'"),
        ({}, {}, ["pay"], "nothing else either"),
        (UNDECIDED, {"each": [1]}, True, "say which element is assumed done: each\\[1\\], each\\[4\\]"),
        (UNDECIDED, {"pay": 1}, ["pay", "each"], "both"),
    ],
)
def test_a_decision_about_nothing_is_refused(undecided, assume_done, send_again, message):
    """It would not do what its author believes."""
    with pytest.raises(ExecutionConflictError, match=message):
        taken(undecided, assume_done, send_again)


@pytest.mark.parametrize("output", [{1, 2}, float("nan"), b"x"])
def test_an_output_is_json(output):
    """Anything else could not be stored."""
    with pytest.raises(ValueError, match="pay is assumed to have is no JSON"):
        taken({"pay": WHY}, {"pay": output})
