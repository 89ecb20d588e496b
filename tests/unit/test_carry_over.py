"""Which outputs a resumed execution keeps."""

import pytest

from workflow_state.carry_over import Earlier, decide_carry_over
from workflow_state.schema import ActionExecutionState, ExecutionPlan, PlannedAction


def action(action_id, dependencies=(), definition="d", **fields):
    return {"id": action_id, "actionDefinitionId": definition, "dependencies": list(dependencies), **fields}


def state(action_id, status, output=None):
    result = {"status": "success", "output": output} if status == "completed" else None
    return ActionExecutionState.model_validate({"actionId": action_id, "status": status, "result": result})


def decide(before, after, states, inputs=None, new_inputs=None):
    earlier = Earlier(
        actions={item["id"]: PlannedAction.model_validate(item) for item in before},
        inputs=inputs or {},
        states={item.action_id: item for item in states},
    )
    plan = ExecutionPlan.model_validate({"name": "x", "inputs": new_inputs or inputs or {}, "actions": after})
    return {name: (item.kept, item.reason) for name, item in decide_carry_over(earlier, plan).items()}


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
    assert (same["a"][0], other["a"]) == (True, (False, "its inputs are different"))
