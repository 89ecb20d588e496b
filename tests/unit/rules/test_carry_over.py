"""Which outputs a resumed execution keeps."""

import pytest

from workflow_state.errors import ExecutionConflictError
from workflow_state.rules.carry_over import Earlier, decide_carry_over
from workflow_state.rules.decisions import Decisions
from workflow_state.rules.for_each import joined_state, split_state
from workflow_state.schema import ActionExecutionState, ExecutionPlan, PlannedAction


def action(action_id, dependencies=(), definition="d", **fields):
    return {"id": action_id, "actionDefinitionId": definition, "dependencies": list(dependencies), **fields}


def state(action_id, status, output=None):
    result = {"status": "success", "output": output} if status == "completed" else None
    return ActionExecutionState.model_validate({"actionId": action_id, "status": status, "result": result})


def carry_over(before, after, states, inputs=None, new_inputs=None, **decisions):
    """Return what is carried over; the elements' states are taken from the joined ones."""
    earlier = Earlier(
        actions={item["id"]: PlannedAction.model_validate(item) for item in before},
        inputs=inputs or {},
        states={item.action_id: item for item in states},
        elements={item.action_id: split_state(item) for item in states if item.elements},
    )
    plan = ExecutionPlan.model_validate({"name": "x", "inputs": new_inputs or inputs or {}, "actions": after})
    return decide_carry_over(earlier, plan, Decisions(**decisions))


def decide(*arguments, **decisions):
    """Return what is said of each action."""
    report = carry_over(*arguments, **decisions).report
    return {name: (item.kept, item.reason) for name, item in report.items()}


READS_A = {"inputs": {"x": "${a.output.n}"}}


def test_what_completed_with_the_same_inputs_is_kept():
    """Also where the plan's text is another, but says the same."""
    before = [action("a"), action("b", ["a"], **READS_A)]
    after = [action("a"), action("b", ["a"], inputs={"x": 1})]
    states = [state("a", "completed", {"n": 1}), state("b", "completed", 2)]
    for plan in (before, after):
        assert all(kept for kept, _ in decide(before, plan, states).values())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (action("a", inputs={"x": 2}), "its inputs are different"),
        (action("a", definition="e", inputs={"x": 1}), "it calls e, not d"),
        (action("new"), "it is new"),
    ],
)
def test_what_was_changed_runs_again(changed, reason):
    """And says why."""
    before = [action("a", inputs={"x": 1})]
    assert decide(before, [changed], [state("a", "completed", 1)])[changed["id"]] == (False, reason)


def test_what_reads_it_runs_again_but_not_what_only_comes_after():
    """A dependency without a reference is an order, no input."""
    before = [action("a"), action("reads", ["a"], **READS_A), action("after", ["a"])]
    states = [state("a", "failed"), state("reads", "completed", 1), state("after", "completed", 1)]
    assert decide(before, before, states) == {
        "a": (False, "it was failed"),
        "reads": (False, "it reads a, which runs again"),
        "after": (True, "it completed, with the same inputs"),
    }


def test_changed_plan_inputs_count_where_they_are_read():
    """Another customer is another request."""
    before = [action("a", inputs={"x": "${inputs.n}"}), action("b", inputs={"x": "${inputs.m}"})]
    states = [state("a", "completed", 1), state("b", "completed", 1)]
    decided = decide(before, before, states, {"n": 1, "m": 1}, {"n": 2, "m": 1})
    assert [kept for kept, _ in decided.values()] == [False, True]


def test_a_list_is_kept_where_it_and_what_is_done_with_it_are_the_same():
    """The elements' own references are compared as they are written."""
    before = [action("a", forEach="${inputs.l}", inputs={"x": "${item.n} of ${itemIndex}"})]
    states = [state("a", "completed", [1])]
    same = decide(before, before, states, {"l": [{"n": 1}]})
    other = decide(before, before, states, {"l": [{"n": 1}]}, {"l": [{"n": 2}]})
    assert (same["a"][0], other["a"]) == (True, (False, "its list is different"))


# --- Decisions -------------------------------------------------------------------------------------------------


def failed(action_id, code=None, **fields):
    error = {"category": "state_inconsistent", "message": "m"} | ({"code": code} if code else {})
    return ActionExecutionState.model_validate(
        {"actionId": action_id, "status": "failed", "result": {"status": "failure", "error": error}, **fields}
    )


def unknown(action_id):
    times = {"startedAt": "2026-01-01T00:00:00Z", "completedAt": "2026-01-01T00:01:00Z", "duration": 60_000}
    return failed(action_id, "outcome_unknown", attempts=2, **times)


def test_an_assumed_action_is_completed_whatever_its_inputs():
    """With the attempts and the start of the request that was sent; how long that took is not known."""
    carried = carry_over([action("a")], [action("a", inputs={"x": 2})], [unknown("a")], assumed={"a": {"n": 1}})
    state = carried.states["a"].to_json_data()
    assert carried.report["a"].reason == "assumed done, by decision"
    assert state.pop("completedAt") > "2026-01-01T00:01:00Z"
    assert state == {
        "actionId": "a",
        "status": "completed",
        "startedAt": "2026-01-01T00:00:00Z",
        "attempts": 2,
        "httpTrace": [],
        "result": {"status": "success", "output": {"n": 1}, "assumed": True},
    }


def test_what_reads_an_assumed_output_reads_what_was_decided():
    """It runs, and what is sent again keeps nothing."""
    before = [action("a"), action("b", ["a"], **READS_A)]
    states = [unknown("a"), state("b", "skipped")]
    assert decide(before, before, states, assumed={"a": {"n": 1}})["a"] == (True, "assumed done, by decision")
    assert decide(before, before, states, sent_again=["a"]) == {
        "a": (False, "sent again, by decision"),
        "b": (False, "it was skipped"),
    }


@pytest.mark.parametrize(
    ("inputs", "kept"),
    [({"x": "${a.output.n}"}, True), ({"x": "${a.output.other}"}, False), ({"x": 1}, False)],
)
def test_what_was_assumed_before_stays_so_until_the_plan_asks_for_something_else(inputs, kept):
    """Also where what it reads runs again: the decision was not made from that."""
    before = [action("a"), action("b", ["a"], **READS_A)]
    assumed = carry_over(before, before, [failed("a"), unknown("b")], assumed={"b": 5}).states["b"]
    after = [action("a"), action("b", ["a"], inputs=inputs)]
    assert decide(before, after, [failed("a"), assumed])["b"][0] is kept


def test_an_assumed_alternative_completes_its_primaries():
    """Along the chain of alternatives, also behind a fallback value; not one that never ran, or is itself undecided."""
    chain = [
        action("a", errorHandling={"alternativeActionId": "b"}),
        action("b", errorHandling={"alternativeActionId": "c"}),
        action("c"),
        action("skipped", errorHandling={"alternativeActionId": "c"}),
        action("undecided", errorHandling={"alternativeActionId": "c"}),
    ]
    fallback = state("a", "completed", "instead")
    fallback.result.used_fallback = True
    states = [fallback, failed("b"), unknown("c"), state("skipped", "skipped"), unknown("undecided")]
    carried = carry_over(chain, chain, states, assumed={"c": 1}, sent_again=["undecided"])
    assert {name: item.kept for name, item in carried.report.items()} == {
        "a": True,
        "b": True,
        "c": True,
        "skipped": False,
        "undecided": False,
    }
    for name, alternative in (("a", "b"), ("b", "c")):
        assert carried.states[name].to_json_data()["result"] == {
            "status": "success",
            "output": 1,
            "alternativeActionId": alternative,
            "assumed": True,
        }


# --- Lists -----------------------------------------------------------------------------------------------------

EACH = action("each", forEach="${inputs.l}", inputs={"x": "${item}", "y": "${inputs.y}"})
LIST = {"l": ["p", "q", "r"], "y": 1}


def joined(*parts):
    return joined_state(PlannedAction.model_validate(EACH), [part.to_json_data() for part in parts])


def half_done(middle=None):
    return joined(state("each[0]", "completed", 0), middle or unknown("each[1]"), state("each[2]", "completed", None))


def elements(carried, action_id="each"):
    return [(item.kept, item.reason) for item in carried.report[action_id].elements]


UNCHANGED = (True, "it completed, with the same inputs")


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        (failed("each[1]"), "it was failed"),
        (
            ActionExecutionState.model_validate(
                {"actionId": "each[1]", "status": "skipped", "result": {"status": "skipped", "reason": "cancelled"}}
            ),
            "it was skipped",
        ),
    ],
)
def test_of_a_list_the_elements_that_completed_are_kept(middle, reason):
    """One that was skipped, because the execution was cancelled, is to run: an output of null is none."""
    carried = carry_over([EACH], [EACH], [half_done(middle)], LIST)
    assert elements(carried) == [UNCHANGED, (False, reason), UNCHANGED]
    assert (carried.report["each"].kept, carried.report["each"].reason) == (False, "2 of 3 elements are kept")
    assert {name: item.result.output for name, item in carried.states.items()} == {"each[0]": 0, "each[2]": None}


def test_elements_are_decided_about_one_by_one():
    """Where nothing is left to send, the list is complete; its state shows which output was assumed."""
    again = carry_over([EACH], [EACH], [half_done()], LIST, sent_again=["each[1]"])
    assert elements(again)[1] == (False, "sent again, by decision")
    assumed = carry_over([EACH], [EACH], [half_done()], LIST, assumed={"each[1]": 1})
    assert elements(assumed)[1] == (True, "assumed done, by decision")
    whole = assumed.states["each"]
    assert (assumed.report["each"].kept, whole.result.output) == (True, [0, 1, None])
    assert [element.assumed for element in whole.elements] == [None, True, None]

    later = carry_over([EACH], [EACH], [whole], LIST)
    assert elements(later) == [UNCHANGED, (True, "assumed done, by an earlier decision"), UNCHANGED]
    assert later.states["each"] == whole


def test_an_element_whose_inputs_changed_runs_again():
    """What is written otherwise, but says the same, is kept."""
    after = {**EACH, "inputs": {"x": "${inputs.l[2]}", "y": 1}}
    assert elements(carry_over([EACH], [after], [half_done(failed("each[1]"))], LIST)) == [
        (False, "its inputs are different"),
        (False, "it was failed"),
        UNCHANGED,
    ]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ({**EACH, "forEach": "${inputs.other}"}, "its list is different"),
        ({**EACH, "forEach": "${inputs.none}"}, "its list can't be compared"),
        ({**EACH, "actionDefinitionId": "e"}, "it calls e, not d"),
        (action("each"), "it was failed"),
    ],
)
def test_of_another_list_nothing_is_kept_and_nothing_assumed(after, reason):
    """An index stands for something else there."""
    inputs = {**LIST, "other": ["q"]}
    report = carry_over([EACH], [after], [half_done()], inputs, sent_again=["each[1]"]).report["each"]
    assert (report.kept, report.reason.startswith(reason)) == (False, True)
    with pytest.raises(ExecutionConflictError, match=r"each\[1\] can't be assumed done in this plan"):
        carry_over([EACH], [after], [half_done()], inputs, assumed={"each[1]": 1})
