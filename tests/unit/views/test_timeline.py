from datetime import timedelta

import pytest
from helpers.plans import action, plan
from helpers.states import NOW, at, execution, ran, request

from workflow_state.schema import ExecutionPlan, ResumeReport
from workflow_state.views.timeline import find_timeline


def timeline(document, now_ms=10_000, resumed=None, **states):
    state = execution("completed", **states)
    if resumed:
        state.resumed = ResumeReport.model_validate({"executionId": "before", "actions": resumed})
    return find_timeline(ExecutionPlan.model_validate(document), state, NOW + timedelta(milliseconds=now_ms))


def row(found, action_id):
    return next(row for level in found.levels for row in level if row.action_id == action_id)


def sections(found, action_id):
    return [(part.begin_ms, part.end_ms, part.is_answered) for part in row(found, action_id).sections]


def test_an_action_has_its_attempts_and_what_is_between_them():
    found = timeline(plan(a=[]), a=ran(100, 900, request(150, 50), request(500, 300)))
    assert (row(found, "a").begin_ms, row(found, "a").end_ms) == (100, 900)
    assert sections(found, "a") == [(150, 200, True), (500, 800, True)]


def test_a_request_without_an_answer_goes_on_until_the_next():
    found = timeline(plan(a=[]), a=ran(0, 900, request(100), request(400, 100)))
    assert sections(found, "a") == [(100, 400, False), (400, 500, True)]


def test_redirects_and_elements_at_the_same_time_are_one_section():
    elements = [
        {"index": index, "status": "completed", "startedAt": at(0), "completedAt": at(500), "httpTrace": [traced]}
        for index, traced in enumerate([request(100, 200), request(200, 200), request(450, 10)])
    ]
    found = timeline(plan(action("a", forEach="${inputs.x}")), a=ran(0, 500, elements=elements))
    assert sections(found, "a") == [(100, 400, True), (450, 460, True)]


def test_what_runs_goes_on_until_now_and_what_has_not_begun_has_no_bar():
    running = {"status": "running", "startedAt": at(200), "attempts": 1}
    found = timeline(plan(a=[], b=["a"]), now_ms=700, a=running, b={"status": "pending"})
    assert (row(found, "a").end_ms, row(found, "a").duration_ms) == (700, 500)
    assert row(found, "b").begin_ms is None
    assert (found.critical, found.end_ms) == (["a"], 700)


def test_a_list_whose_elements_have_ended_does_not_go_on_until_its_level_is_over():
    element = {"index": 0, "status": "completed", "startedAt": at(0), "completedAt": at(300)}
    listed = {"status": "running", "startedAt": at(0), "attempts": 1, "elements": [element]}
    running = {"status": "running", "startedAt": at(0), "attempts": 1}
    found = timeline(plan(action("a", forEach="${inputs.x}"), b=[]), now_ms=700, a=listed, b=running)
    assert (row(found, "a").end_ms, found.critical) == (300, ["b"])


def test_the_critical_path_goes_by_what_each_level_waited_for():
    """Level 2 waited for b, though c depends on a alone."""
    found = timeline(plan(a=[], b=[], c=["a"], d=["c"]), a=ran(0, 10), b=ran(0, 500), c=ran(510, 600), d=ran(610, 700))
    assert found.critical == ["b", "c", "d"]
    assert [row(found, name).is_critical for name in "abcd"] == [False, True, True, True]


@pytest.mark.parametrize("dependency", ["a", "b"])
def test_of_two_that_ended_at_once_the_dependency_counts(dependency):
    found = timeline(plan(a=[], b=[], c=[dependency]), a=ran(0, 500), b=ran(0, 500), c=ran(510, 600))
    assert found.critical == [dependency, "c"]


def test_an_alternative_is_on_the_path_of_the_action_that_it_stood_in_for():
    """And what it did is not in the other's row."""
    document = plan(action("a", errorHandling={"alternativeActionId": "b"}), b=[])
    found = timeline(
        document, a=ran(0, 900, request(10), result={"alternativeActionId": "b"}), b=ran(300, 890, request(310, 500))
    )
    assert found.critical == ["a", "b"]
    assert sections(found, "a") == [(10, 300, False)]


def test_what_was_kept_from_an_earlier_execution_has_no_bar_and_no_part_in_the_path():
    kept = {"kept": True, "reason": "unchanged"}
    found = timeline(plan(a=[], b=["a"]), resumed={"a": kept}, a=ran(-9_000, -8_000), b=ran(10, 50))
    assert row(found, "a").begin_ms is None
    assert row(found, "a").note == "kept from execution before"
    assert found.critical == ["b"]


def test_what_was_skipped_says_why():
    skipped = {"status": "skipped", "result": {"status": "skipped", "reason": "the plan stopped: a failed"}}
    found = timeline(plan(a=[], b=["a"]), a=ran(0, 100), b=skipped)
    assert row(found, "b").note == "the plan stopped: a failed"
    assert found.critical == ["a"]
