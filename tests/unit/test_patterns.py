"""Graph functions, and helpers that build plans."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_state.conditions import evaluate_condition
from workflow_state.errors import PlanValidationError
from workflow_state.patterns import (
    are_dependencies_satisfied,
    calculate_execution_metrics,
    create_batch_processing,
    create_conditional_branch,
    create_fan_out_fan_in_pattern,
    create_retry_with_fallback,
    create_sequential_pipeline,
    extract_successful_results,
    find_circular_dependencies,
    group_actions_by_dependency_level,
    schedule_levels,
)
from workflow_state.schema import PlannedAction
from workflow_state.validation import validate_execution_plan


def act(action_id, dependencies=(), **fields):
    return {"id": action_id, "actionDefinitionId": "d", "dependencies": list(dependencies), **fields}


def ids(levels):
    return [[action.id for action in level] for level in levels]


def test_levels_follow_the_deepest_dependency():
    """In the order of the plan within each level."""
    actions = [act("d", ["c", "a"]), act("b", ["a"]), act("a"), act("c", ["b"]), act("e")]
    assert ids(group_actions_by_dependency_level(actions)) == [["a", "e"], ["b"], ["c"], ["d"]]


@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=12))
@settings(max_examples=60)
def test_levels_are_one_more_than_the_deepest_dependency(graph):
    """Compared with the definition, for any graph without cycles."""
    actions = [act(f"a{number}", [f"a{item}" for item in ahead if item < number]) for number, ahead in enumerate(graph)]
    depth: dict[str, int] = {}
    for item in actions:
        depth[item["id"]] = max((depth[name] + 1 for name in item["dependencies"]), default=0)
    levels = group_actions_by_dependency_level(actions)
    assert {action.id: number for number, level in enumerate(levels) for action in level} == depth


@pytest.mark.parametrize(
    ("actions", "code"),
    [([act("a", ["b"])], "unknown_dependency"), ([act("a", ["b"]), act("b", ["a"])], "circular_dependency")],
)
def test_what_has_no_levels_is_told(actions, code):
    """With the code of validation."""
    with pytest.raises(PlanValidationError) as caught:
        group_actions_by_dependency_level(actions)
    assert [error["code"] for error in caught.value.errors] == [code]


def test_cycles_are_written_along_the_dependencies():
    """One for each knot, closed by its first action."""
    actions = [act("a", ["b"]), act("b", ["c"]), act("c", ["a"]), act("d", ["d"]), act("e", ["a"])]
    cycles = find_circular_dependencies([PlannedAction.model_validate(item) for item in actions])
    assert cycles == [["a", "b", "c", "a"], ["d", "d"]]


@pytest.mark.parametrize("is_closed", [True, False])
def test_ten_thousand_in_a_row_are_no_recursion(is_closed):
    """Closed to a cycle, or a plain chain."""
    first = ["a9999"] if is_closed else []
    actions = [act(f"a{number}", [f"a{number - 1}"] if number else first) for number in range(10_000)]
    assert len(find_circular_dependencies(actions)) == is_closed
    if not is_closed:
        assert len(group_actions_by_dependency_level(actions)) == 10_000


def test_alternatives_are_on_standby():
    """In no level; the primary comes after what the alternative needs, the dependents after the primary."""
    actions = [
        act("primary", errorHandling={"alternativeActionId": "spare"}),
        act("spare", ["needed", "primary"]),
        act("needed"),
        act("after_spare", ["spare"]),
    ]
    assert ids(schedule_levels(actions)) == [["needed"], ["primary"], ["after_spare"]]


def test_a_chain_of_alternatives_counts_for_its_first():
    """What the last one needs comes before the primary."""
    actions = [
        act("primary", errorHandling={"alternativeActionId": "second"}),
        act("second", errorHandling={"alternativeActionId": "third"}),
        act("third", ["needed"]),
        act("needed"),
    ]
    assert ids(schedule_levels(actions)) == [["needed"], ["primary"]]


SUCCESS = {"actionId": "a", "status": "completed", "result": {"status": "success", "output": 7}}
SKIPPED = {"actionId": "b", "status": "skipped", "result": {"status": "skipped", "reason": "no"}}
BLOCKED = {"actionId": "c", "status": "skipped", "result": {"status": "skipped", "reason": "no", "blockedBy": "x"}}
FAILED = {"actionId": "d", "status": "failed", "result": {"status": "failure"}}


@pytest.mark.parametrize(
    ("state", "is_satisfied"), [(SUCCESS, True), (SKIPPED, True), (BLOCKED, False), (FAILED, False), (None, False)]
)
def test_dependencies_are_satisfied_by_completion_or_an_own_skip(state, is_satisfied):
    """Not by a failure, or a skip because of one."""
    states = {"a": state} if state else {}
    assert are_dependencies_satisfied(act("z", ["a"]), states) is is_satisfied


def test_results_and_metrics_count_the_states():
    """Outputs of what completed; how many ended how."""
    states = {"a": SUCCESS, "b": SKIPPED, "c": BLOCKED, "d": FAILED}
    assert extract_successful_results(states) == {"a": 7}
    metrics = calculate_execution_metrics(states, total_duration=5)
    assert metrics.to_json_data() == {
        "totalActions": 4,
        "completedActions": 1,
        "failedActions": 1,
        "skippedActions": 2,
        "totalDuration": 5,
    }


def built():
    """Return what each builder makes, by its name, with the arguments that it was given."""
    actions = [act("a"), act("b", condition={"if": "${inputs.x}"}), act("c")]
    branches = [{"value": 'it\'s "${x}" \\', "action_ids": ["b"]}, {"value": None, "action_ids": ["c"]}]
    return {
        "pipeline": (create_sequential_pipeline, [actions]),
        "fan": (create_fan_out_fan_in_pattern, [actions[:2], actions[2], act("s")]),
        "branch": (create_conditional_branch, [act("check"), "${check.output.kind}", branches, actions[1:]]),
        "fallback": (create_retry_with_fallback, actions[:2]),
        "batch": (create_batch_processing, [[{"n": number} for number in range(5)], act("t", inputs={"k": 1}), 2]),
    }


@pytest.mark.parametrize("name", built())
def test_builders_make_valid_plans_and_leave_their_arguments_alone(name):
    """Whatever they are given is as it was."""
    build, arguments = built()[name]
    before = copy.deepcopy(arguments)
    actions = build(*arguments)
    assert arguments == before
    document = {"name": "x", "inputs": {"x": True}, "actions": [action.to_json_data() for action in actions]}
    validate_execution_plan(document)


def test_each_branch_compares_with_its_own_value():
    """A condition that was there must hold as well."""
    build, arguments = built()["branch"]
    conditions = {action.id: action.condition.if_ for action in build(*arguments) if action.condition}
    assert conditions["c"] == "${check.output.kind} == null"
    results = {"inputs": {"x": True}, "check": {"status": "completed", "output": {"kind": 'it\'s "${x}" \\'}}}
    assert evaluate_condition(conditions["b"], results) is True
    assert evaluate_condition(conditions["b"], {**results, "inputs": {"x": 0}}) is False
    assert evaluate_condition(conditions["c"], results) is False


def test_a_batch_depends_on_the_batch_before():
    """And takes its inputs from the item, over the template's."""
    build, arguments = built()["batch"]
    actions = build(*arguments)
    assert [action.id for action in actions] == ["t_0", "t_1", "t_2", "t_3", "t_4"]
    assert [action.dependencies for action in actions][2:] == [["t_0", "t_1"], ["t_0", "t_1"], ["t_2", "t_3"]]
    assert actions[3].inputs == {"k": 1, "n": 3}
