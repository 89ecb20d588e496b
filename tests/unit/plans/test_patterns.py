import time
from copy import deepcopy
from itertools import pairwise

import pytest
from helpers.plans import action
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.errors import ConditionError, PlanValidationError, ReferenceParseError
from workflow_state.patterns import (
    are_dependencies_satisfied,
    create_batch_processing,
    create_conditional_branch,
    create_fan_out_fan_in_pattern,
    create_retry_with_fallback,
    create_sequential_pipeline,
    extract_successful_results,
    find_circular_dependencies,
    group_actions_by_dependency_level,
)
from workflow_state.plans.conditions import evaluate_condition
from workflow_state.plans.graphs import find_cycles
from workflow_state.plans.levels import schedule_levels
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.rules.metrics import calculate_execution_metrics
from workflow_state.schema import ActionExecutionState, ExecutionState, PlannedAction

NAMES = "abcdef"


def ids(levels):
    return [[member.id for member in level] for level in levels]


def graph(**dependencies):
    return [action(name, ahead) for name, ahead in dependencies.items()]


def instead(name, alternative, ahead=()):
    return action(name, list(ahead), errorHandling={"alternativeActionId": alternative})


def state(name, ended, **result):
    return {"actionId": name, "status": ended, **({"result": result} if result else {})}


graphs = st.fixed_dictionaries({name: st.lists(st.sampled_from(NAMES), unique=True) for name in NAMES})
acyclic = st.fixed_dictionaries(
    {
        name: st.lists(st.sampled_from(NAMES[:index]), unique=True) if index else st.just([])
        for index, name in enumerate(NAMES)
    }
)


def reachable(edges, start):
    seen, pending = set(), [*edges[start]]
    while pending:
        if (name := pending.pop()) not in seen:
            seen.add(name)
            pending += edges[name]
    return seen


# --- Cycles ------------------------------------------------------------------------------------------------------


@given(graphs)
def test_each_knot_is_told_by_one_real_cycle(edges):
    """Each cycle follows the edges, and there is one for each set of nodes that reach each other."""
    reach = {name: reachable(edges, name) for name in NAMES}
    knots = {frozenset(other for other in reach[name] if name in reach[other]) for name in NAMES if name in reach[name]}
    cycles = find_cycles(edges)
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(following in edges[name] for name, following in pairwise(cycle))
    assert len(cycles) == len(knots)
    assert all(any(set(cycle) <= knot for cycle in cycles) for knot in knots)


def test_a_cycle_follows_the_dependencies():
    """What depends comes first, as people read it."""
    assert find_circular_dependencies(graph(a=["b"], b=["c"], c=["a"])) == [["a", "b", "c", "a"]]


def test_a_self_loop_is_a_cycle_and_an_unknown_id_is_none():
    """An id that is not in the graph is another check's to report."""
    assert find_cycles({"a": ["a"], "b": ["nowhere"]}) == [["a", "a"]]


# --- Levels ------------------------------------------------------------------------------------------------------


@given(acyclic, st.randoms())
def test_a_level_is_one_more_than_the_deepest_dependency(edges, random):
    """Compared with the definition, read naively; inside a level the order is the plan's."""

    def depth(name):
        return max((1 + depth(ahead) for ahead in edges[name]), default=0)

    order = [*NAMES]
    random.shuffle(order)
    actions = [action(name, edges[name]) for name in order]
    expected = [
        [name for name in order if depth(name) == level] for level in range(1 + max(depth(name) for name in order))
    ]
    assert ids(group_actions_by_dependency_level(actions)) == expected
    assert ids(schedule_levels(actions)) == expected


@pytest.mark.parametrize("group", [group_actions_by_dependency_level, schedule_levels])
def test_a_chain_of_ten_thousand_actions_has_as_many_levels(group):
    """No recursion, and linear."""
    chain = [PlannedAction.model_validate(action("a0"))]
    chain += [PlannedAction.model_validate(action(f"a{number}", [f"a{number - 1}"])) for number in range(1, 10_000)]
    started = time.process_time()
    assert len(group(chain)) == 10_000
    assert time.process_time() - started < 2


def test_a_ring_of_ten_thousand_actions_is_refused_in_a_short_message():
    """A message of 80 kB would help nobody."""
    ring = [PlannedAction.model_validate(action(f"a{number}", [f"a{number - 1}"])) for number in range(1, 10_000)]
    ring.append(PlannedAction.model_validate(action("a0", ["a9999"])))
    assert len(find_circular_dependencies(ring)[0]) == 10_001
    with pytest.raises(PlanValidationError) as caught:
        group_actions_by_dependency_level(ring)
    assert caught.value.errors[0]["code"] == "circular_dependency"
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("group", [group_actions_by_dependency_level, schedule_levels])
@pytest.mark.parametrize(
    ("actions", "code"),
    [
        (graph(a=["nowhere"]), "unknown_dependency"),
        (graph(a=["a"]), "circular_dependency"),
        (graph(a=["b"], b=["a"]), "circular_dependency"),
        ([action("a"), action("a")], "duplicate_action_id"),
    ],
)
def test_a_graph_without_levels_is_refused(group, actions, code):
    """The functions are public: they don't rely on a validation before them."""
    with pytest.raises(PlanValidationError) as caught:
        group(actions)
    assert caught.value.errors[0]["code"] == code


def test_no_actions_have_no_levels():
    """An empty list is no error here."""
    assert group_actions_by_dependency_level([]) == []
    assert schedule_levels([]) == []


# --- Levels with alternatives --------------------------------------------------------------------------------------


def test_an_alternative_is_in_no_level():
    """It is on standby."""
    assert ids(schedule_levels([instead("a", "b"), action("b")])) == [["a"]]


def test_a_primary_comes_after_what_its_alternative_needs():
    """So that the alternative can start at once."""
    assert ids(schedule_levels([instead("a", "b"), action("b", ["c"]), action("c")])) == [["c"], ["a"]]


def test_what_depends_on_an_alternative_comes_after_the_primary():
    """Where the alternative would have run."""
    assert ids(schedule_levels([instead("a", "b", ["z"]), action("b"), action("d", ["b"]), action("z")])) == [
        ["z"],
        ["a"],
        ["d"],
    ]


def test_an_alternative_may_depend_on_those_in_whose_place_it_runs():
    """They have failed by then; the wait is over, not circular."""
    actions = [instead("a", "b"), instead("b", "c", ["a"]), action("c", ["a", "b"])]
    assert ids(schedule_levels(actions)) == [["a"]]


def test_two_primaries_can_share_an_alternative():
    """What it needs comes before both, what needs it after both."""
    actions = [instead("p", "s"), instead("q", "s", ["p"]), action("s", ["n"]), action("n"), action("d", ["s"])]
    assert ids(schedule_levels(actions)) == [["n"], ["p"], ["q"], ["d"]]


def test_alternatives_that_lead_back_are_refused():
    """Otherwise the actions would be in no level, and silently never run."""
    with pytest.raises(PlanValidationError) as caught:
        schedule_levels([instead("a", "b"), instead("b", "a"), action("c")])
    assert caught.value.errors[0]["code"] == "alternative_cycle"


def test_an_action_on_itself_is_refused_beside_alternatives_too():
    """What is left out is a wait between an alternative and its primary only."""
    with pytest.raises(PlanValidationError):
        schedule_levels([action("x", ["x"]), instead("a", "b"), action("b")])


def test_a_long_chain_of_alternatives_is_quick():
    """Linear: it took eight seconds once."""
    chain = [PlannedAction.model_validate(instead(f"a{number}", f"a{number + 1}")) for number in range(9_999)]
    chain.append(PlannedAction.model_validate(action("a9999")))
    started = time.process_time()
    assert ids(schedule_levels(chain)) == [["a0"]]
    assert time.process_time() - started < 2


# --- States --------------------------------------------------------------------------------------------------------

COMPLETED = state("a", "completed", status="success", output={"n": 1})
FAILED = state("a", "failed", status="failure", error={"category": "validation_failed", "message": "no"})
BY_CONDITION = state("a", "skipped", status="skipped", reason="its condition")
BY_FAILURE = state("a", "skipped", status="skipped", reason="z failed", blockedBy="z")


@pytest.mark.parametrize("read", [dict, ActionExecutionState.model_validate])
@pytest.mark.parametrize(
    ("ahead", "expected"), [(COMPLETED, True), (FAILED, False), (BY_CONDITION, True), (BY_FAILURE, False)]
)
def test_a_dependency_is_satisfied_by_an_end_that_is_no_failure(read, ahead, expected):
    """As a model and as JSON data; skipped because of a failure is one."""
    assert are_dependencies_satisfied(action("b", ["a"]), {"a": read(ahead)}) is expected


@pytest.mark.parametrize(
    ("states", "expected"), [({}, False), ({"a": "completed"}, True), ({"a": "running"}, False), ({"a": None}, False)]
)
def test_a_dependency_without_an_end_is_not_satisfied(states, expected):
    """A status alone will do."""
    assert are_dependencies_satisfied(action("b", ["a"]), states) is expected


@pytest.mark.parametrize("read", [dict, ActionExecutionState.model_validate])
def test_successful_results_are_the_outputs_of_what_completed(read):
    """An output of null is one."""
    states = {
        "a": read(COMPLETED),
        "b": read(FAILED),
        "c": read(BY_CONDITION),
        "d": read(state("d", "completed", status="success", output=None)),
        "e": read(state("e", "running")),
    }
    assert extract_successful_results(states) == {"a": {"n": 1}, "d": None}


def test_a_bare_status_has_no_output():
    """It is counted all the same."""
    states = {"a": "completed", "b": "failed", "c": "skipped", "d": {"status": "completed"}}
    assert extract_successful_results(states) == {}
    metrics = calculate_execution_metrics(states, total_duration=12)
    assert (metrics.total_actions, metrics.completed_actions, metrics.failed_actions) == (4, 2, 1)
    assert (metrics.skipped_actions, metrics.total_duration) == (1, 12)


EXECUTION = {
    "id": "x",
    "planId": "p",
    "status": "completed",
    "startedAt": "2026-01-01T00:00:00Z",
    "actionStates": {"a": COMPLETED},
    "metrics": {"totalActions": 0, "completedActions": 0, "failedActions": 0, "skippedActions": 0, "totalDuration": 7},
    "version": 1,
}


@pytest.mark.parametrize("read", [dict, ExecutionState.model_validate])
def test_a_whole_execution_stands_for_its_states(read):
    """As a model and as `handle.get()` returns it; its own fields are no actions, and its duration stays."""
    metrics = calculate_execution_metrics(read(EXECUTION))
    assert (metrics.total_actions, metrics.completed_actions, metrics.total_duration) == (1, 1, 7)
    assert calculate_execution_metrics(read(EXECUTION), total_duration=9).total_duration == 9
    assert extract_successful_results(read(EXECUTION)) == {"a": {"n": 1}}


def test_actions_may_be_called_like_the_fields_of_an_execution():
    """Their states tell them from an execution."""
    states = {"planId": COMPLETED, "actionStates": COMPLETED}
    assert calculate_execution_metrics(states).total_actions == 2
    assert extract_successful_results(states) == {"planId": {"n": 1}, "actionStates": {"n": 1}}


# --- Builders ------------------------------------------------------------------------------------------------------


def dependencies(actions):
    return {built.id: built.dependencies for built in actions}


def test_a_pipeline_runs_one_after_another():
    """What an action depends on already stays."""
    built = create_sequential_pipeline(graph(a=[], b=["z"], c=[]))
    assert dependencies(built) == {"a": [], "b": ["z", "a"], "c": ["b"]}


def test_a_fan_in_waits_for_the_whole_fan_out():
    """And the fan-out for the source, where there is one."""
    built = create_fan_out_fan_in_pattern([action("b"), action("c")], action("d"), action("a"))
    assert ids(group_actions_by_dependency_level(built)) == [["a"], ["b", "c"], ["d"]]
    assert dependencies(create_fan_out_fan_in_pattern([action("b")], action("d"))) == {"b": [], "d": ["b"]}


VALUES = [
    "premium", "${x}", "$${x}", "$", 'a"b\\', "a\nb\x01", "😀", "'", "===", "", 1, -1, 0, 1.5, True, False, None, 2**70,
    [1, "a"], {"k": [None]},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_branch_runs_where_the_reference_has_its_value_and_nowhere_else(value):
    """Every JSON value, whatever stands in it."""
    built = create_conditional_branch(
        action("check"), "${check.output.type}", [{"value": value, "action_ids": ["x"]}], [action("x")]
    )
    assert built[1].dependencies == ["check"]
    for other in VALUES:
        results = {"check": {"status": "completed", "output": {"type": other}}}
        assert evaluate_condition(built[1].condition.if_, results) is (other is value)


@pytest.mark.parametrize("reference", ["output.type", "check.output.type", "${check.output.type}"])
def test_a_branch_takes_a_reference_or_a_path(reference):
    """A path is one in the condition action."""
    built = create_conditional_branch(action("check"), reference, [{"value": 1, "action_ids": ["x"]}], [action("x")])
    assert built[1].condition.if_ == "${check.output.type} == 1"


@pytest.mark.parametrize(
    ("old", "output", "expected"),
    [
        ("${check.output.age} > 1 || false", {"type": "a", "age": 2}, True),
        ("true || false", {"type": "b"}, False),
        ("true // for everyone", {"type": "a"}, True),
        ("true // for everyone", {"type": "b"}, False),
        ("'https://a' != ''", {"type": "a"}, True),
        ("${check.output.tags}", {"type": "a", "tags": ["x"]}, True),
        ("${check.output.tags}", {"type": "a", "tags": []}, False),
        ("${check.output.tags}", {"type": "a", "tags": 0.0}, False),
    ],
)
def test_a_condition_that_was_there_must_hold_as_well(old, output, expected):
    """One that is a reference keeps its truth value, though CEL wants true or false."""
    member = action("x", condition={"if": old, "else": "fail"})
    built = create_conditional_branch(action("check"), "output.type", [{"value": "a", "action_ids": ["x"]}], [member])
    assert built[1].condition.else_ == "fail"
    assert evaluate_condition(built[1].condition.if_, {"check": {"status": "completed", "output": output}}) is expected


def test_actions_in_no_branch_stay_as_they_are():
    """They may follow the branches, say."""
    built = create_conditional_branch(
        action("check"), "output", [{"value": 1, "action_ids": ["x"]}], [action("x"), action("y", ["x"])]
    )
    assert built[2] == PlannedAction.model_validate(action("y", ["x"]))


@pytest.mark.parametrize(
    ("reference", "branches", "error"),
    [
        ("output", [{"value": 1, "action_ids": ["nowhere"]}], ValueError),
        ("output", [{"value": 1, "action_ids": ["x"]}, {"value": 2, "action_ids": ["x"]}], ValueError),
        ("output", [{"value": 1, "action_ids": ["check"]}], ValueError),
        ("output", [{"value": float("nan"), "action_ids": ["x"]}], ValueError),
        ("output", [{"value": 10**400, "action_ids": ["x"]}], ConditionError),
        ("${check.output} + 1", [], ValueError),
        ("type", [], ReferenceParseError),
    ],
)
def test_a_branch_that_could_never_work_is_refused(reference, branches, error):
    """Where the mistake is made, not when the plan is validated."""
    with pytest.raises(error):
        create_conditional_branch(action("check"), reference, branches, [action("check"), action("x")])


def test_a_fallback_is_the_primarys_alternative():
    """What the primary's errorHandling says besides stays, and the JSON has it."""
    first, second = create_retry_with_fallback(
        action("a", errorHandling={"continueOnFailure": True, "fallbackValue": None}), action("b")
    )
    assert first.error_handling.to_json_data() == {
        "continueOnFailure": True,
        "fallbackValue": None,
        "alternativeActionId": "b",
    }
    assert ids(schedule_levels([first, second])) == [["a"]]


def test_a_second_alternative_is_refused():
    """The first would be an ordinary action then, and run although nothing failed."""
    with pytest.raises(ValueError, match="the alternative 'b' already"):
        create_retry_with_fallback(instead("a", "b"), action("c"))
    assert create_retry_with_fallback(instead("a", "b"), action("b"))[0].error_handling.alternative_action_id == "b"


def test_fallbacks_can_be_chained():
    """The fallback of the fallback comes last."""
    second, third = create_retry_with_fallback(action("b"), action("c"))
    assert ids(schedule_levels([*create_retry_with_fallback(action("a"), second), third])) == [["a"]]


def test_batches_run_one_after_another():
    """Each item's inputs are over the template's."""
    items = [{"n": number} for number in range(5)]
    built = create_batch_processing(items, action("send", ["z"], inputs={"n": -1, "to": "x"}), batch_size=2)
    assert dependencies(built) == {
        "send_0": ["z"],
        "send_1": ["z"],
        "send_2": ["z", "send_0", "send_1"],
        "send_3": ["z", "send_0", "send_1"],
        "send_4": ["z", "send_2", "send_3"],
    }
    assert [member.inputs for member in built] == [{"n": number, "to": "x"} for number in range(5)]
    assert create_batch_processing([], action("send"), 3) == []


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_at_least_one_action(batch_size):
    """Zero would never end."""
    with pytest.raises(ValueError, match="at least 1"):
        create_batch_processing([{}], action("send"), batch_size)


MEMBERS = {name: action(name, condition={"if": "${inputs.on}"}) for name in "abcd"}
BUILT = {
    "pipeline": create_sequential_pipeline([*MEMBERS.values()]),
    "fan": create_fan_out_fan_in_pattern([MEMBERS["b"], MEMBERS["c"]], MEMBERS["d"], MEMBERS["a"]),
    "branch": create_conditional_branch(
        MEMBERS["a"],
        "output.kind",
        [{"value": 'it\'s "${x}" \\', "action_ids": ["b"]}, {"value": None, "action_ids": ["c", "d"]}],
        [*MEMBERS.values()],
    ),
    "fallback": create_retry_with_fallback(MEMBERS["a"], action("b", ["a"])),
    "batches": create_batch_processing([{"n": number} for number in range(5)], MEMBERS["a"], 2),
}


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_a_valid_plan(name):
    """As JSON, with the conditions and references that it got."""
    document = {"name": name, "inputs": {"on": True}, "actions": [member.to_json_data() for member in BUILT[name]]}
    assert validate_plan_with(None, document).actions == BUILT[name]


def test_builders_leave_their_arguments_alone():
    """What is built shares nothing with what was given."""
    given_actions = [
        PlannedAction.model_validate(action(name, inputs={"deep": [1]}, condition={"if": "true"})) for name in "ab"
    ]
    items = [{"deep": [2]}]
    before = deepcopy((given_actions, items))
    first, second = given_actions
    built = [
        *create_sequential_pipeline(given_actions),
        *create_fan_out_fan_in_pattern([first], second),
        *create_conditional_branch(first, "output", [{"value": 1, "action_ids": ["b"]}], [second]),
        *create_retry_with_fallback(first, second),
        *create_batch_processing(items, first, 1),
    ]
    for member in built:
        member.inputs["deep"].append(3)
        member.dependencies.append("changed")
        member.condition.if_ = "false"
        member.error_handling.continue_on_failure = True
    assert (given_actions, items) == before
