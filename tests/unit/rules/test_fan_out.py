"""An action with forEach: its elements, and what they add up to."""

from datetime import UTC, datetime, timedelta

import pytest

from workflow_state.errors import ReferenceResolutionError
from workflow_state.rules.for_each import (
    count_elements,
    element_id,
    joined_state,
    list_elements,
    running_fan_out,
    split_state,
)
from workflow_state.rules.states import AttemptHistory, finished_state
from workflow_state.schema import ActionFailure, ActionSkip, ActionSuccess, ErrorDetail, PlannedAction, StorageLocation

START = datetime(2026, 1, 2, tzinfo=UTC)
FAILURE = ActionFailure(error=ErrorDetail(category="network_timeout", message="too slow"))


def each(**fields):
    return PlannedAction.model_validate(
        {"id": "each", "actionDefinitionId": "d", "dependencies": ["a"], "forEach": "${a.output}", **fields}
    )


def completed(output):
    return {"a": {"status": "completed", "result": {"status": "success", "output": output}}}


def element(index, result, *, begins_s=0, ends_s=1, attempts=1):
    history = AttemptHistory((START + timedelta(seconds=begins_s)).isoformat(), attempts, ())
    state = finished_state(f"each[{index}]", result, history, now=START + timedelta(seconds=ends_s))
    return state.to_json_data()


def test_an_element_has_a_name_of_its_own():
    """And the action as a whole has the action's."""
    assert element_id("each", 3) == "each[3]"
    assert element_id("each", None) == "each"


@pytest.mark.parametrize(("value", "said"), [("text", "a str"), (None, "null"), ({"a": 1}, "a dict")])
def test_what_is_no_list_is_told(value, said):
    """With what it is."""
    with pytest.raises(ReferenceResolutionError, match=f"needs a list.* is {said}"):
        list_elements(each(), completed(value))


def test_too_long_a_list_is_told():
    """With its length and the limit."""
    assert list_elements(each(forEachLimit=2), completed([1, 2])) == [1, 2]
    with pytest.raises(ReferenceResolutionError, match="3 elements; at most 2"):
        list_elements(each(forEachLimit=2), completed([1, 2, 3]))


def test_nothing_runs_for_an_action_that_will_not_run():
    """Blocked, not fulfilling its condition, or without a list."""
    failed = {"a": {"status": "failed", "result": {"status": "failure"}}}
    assert count_elements(each(), completed([1, 2])) == 2
    assert count_elements(each(), failed) == 0
    assert count_elements(each(condition={"if": "${a.status} == 'failed'"}), completed([1, 2])) == 0
    assert count_elements(each(), completed("text")) == 0


def test_outputs_are_joined_in_order():
    """The times span all elements, the attempts are the most that one needed."""
    states = [
        element(0, ActionSuccess(output="x"), begins_s=1, ends_s=5),
        element(1, ActionSuccess(output=None), begins_s=2, ends_s=3, attempts=3),
    ]
    joined = joined_state(each(), states)
    assert (joined.status, joined.result.output) == ("completed", ["x", None])
    assert (joined.started_at, joined.duration, joined.attempts) == (START + timedelta(seconds=1), 4_000, 3)


def test_a_list_that_was_cancelled_halfway_is_skipped():
    """And keeps what its elements had done by then."""
    states = [element(0, ActionSuccess(output="x")), element(1, ActionSkip(reason="cancelled"))]
    joined = joined_state(each(), states)
    assert (joined.status, joined.result.reason) == ("skipped", "cancelled")
    assert joined.result.partial_output == ["x", None]
    assert [item.reason for item in joined.elements] == [None, "cancelled"]


def test_an_element_that_may_have_been_done_is_what_its_list_tells_of():
    """Whichever element failed first."""
    unknown = ActionFailure(
        error=ErrorDetail(category="state_inconsistent", code="outcome_unknown", message="who knows")
    )
    joined = joined_state(each(), [element(0, FAILURE), element(1, unknown)])
    assert joined.result.error.code == "outcome_unknown"
    assert joined.result.error.message == "2 of 2 elements failed, one at index 1: who knows"


def test_one_failure_fails_the_whole():
    """It says which, and keeps the others' outputs."""
    joined = joined_state(each(), [element(0, ActionSuccess(output=1)), element(1, FAILURE)])
    assert joined.status == "failed"
    assert joined.result.partial_output == [1, None]
    assert joined.result.error.message == "1 of 2 elements failed, the first at index 1: too slow"
    assert joined.result.error.context == {"elementIndex": "1"}
    assert joined.elements[1].error.message == "too slow"
    assert FAILURE.error.message == "too slow"


@pytest.mark.parametrize("last", [FAILURE, ActionSkip(reason="no"), ActionSuccess(output=None)])
def test_what_was_joined_can_be_split_again(last):
    """Into the very states of the elements."""
    states = [element(0, ActionSuccess(output=[1], assumed=True), attempts=2), element(1, last)]
    split = split_state(joined_state(each(), states))
    assert [split[index].to_json_data() for index in range(2)] == states


def test_where_an_elements_output_is_stored_is_kept():
    """It is of the element alone: the list's output is not stored itself."""
    location = StorageLocation(provider="file", path="/o/e/a/1-x", size=1, checksum="x", content_type="image/png")
    states = [element(0, ActionSuccess(output={"stored": True}, output_location=location))]
    states.append(element(1, ActionSuccess(output=1)))
    whole = joined_state(each(), states)
    assert whole.result.output_location is None
    assert [item.output_location for item in whole.elements] == [location, None]
    assert [state.to_json_data() for state in split_state(whole).values()] == states


def test_an_output_that_a_fallback_stands_before_is_lost():
    """The fallback may be a list as well."""
    joined = joined_state(each(), [element(0, ActionSuccess(output=1)), element(1, FAILURE)])
    joined.result = ActionSuccess(output=["instead"], used_fallback=True)
    split = split_state(joined)
    assert (split[0], split[1].status) == (None, "failed")


def test_an_element_says_that_its_output_is_the_fallback_value():
    """Also after the list is split again, which resuming does."""
    states = [element(0, ActionSuccess(output=1)), element(1, ActionSuccess(output=0, used_fallback=True))]
    whole = joined_state(each(), states)
    assert [item.used_fallback for item in whole.elements] == [None, True]
    assert whole.completed_by_fallback
    assert [state.to_json_data() for state in split_state(whole).values()] == states


def test_a_running_list_shows_who_has_begun():
    """In the order of the list."""
    states = {
        index: finished_state(f"each[{index}]", FAILURE, AttemptHistory(START.isoformat(), 1, ()), now=START)
        for index in (4, 1)
    }
    running = running_fan_out("each", states)
    assert (running.status, [item.index for item in running.elements]) == ("running", [1, 4])
