from helpers.plans import action, plan

from workflow_state.plans.levels import show_levels
from workflow_state.schema import ExecutionPlan


def shown(*actions, **graph):
    document = ExecutionPlan.model_validate(plan(*actions, **graph))
    return [[action.id for action in level] for level in show_levels(document.actions)]


def instead(action_id, alternative, dependencies=None):
    return action(action_id, dependencies, errorHandling={"alternativeActionId": alternative})


def test_an_alternative_is_beside_its_primary_whatever_it_depends_on():
    assert shown(instead("b", "c", ["a"]), a=[], c=[], d=["b"]) == [["a"], ["b", "c"], ["d"]]


def test_a_chain_of_alternatives_follows_in_its_order():
    assert shown(instead("a", "b"), instead("b", "c"), c=[]) == [["a", "b", "c"]]


def test_an_alternative_of_two_is_shown_once():
    assert shown(instead("a", "c"), instead("b", "c", ["a"]), c=[]) == [["a", "c"], ["b"]]
