"""Where a problem is: the action, the line of the text, and a plan whose `actions` are misspelt."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.errors import PlanValidationError
from workflow_state.plans.references import escape_pointer
from workflow_state.plans.validation.document import MAX_PLAN_BYTES
from workflow_state.plans.validation.places import find_lines
from workflow_state.plans.validation.validator import validate_logic_with, validate_plan_with

PLAN = """{
  "name": "n",
  "actions": [
    {"id": "pay",
     "actionDefinitionId": "x",
     "inputs": {
       "to": "${inputs.who}",
       "a/b~c": {"list": [1,
         "${gone.output}"]}
     }},
    {"id": "mail", "actionDefinitionId": "x", "colour": 1}
  ]
}"""


def problems_of(plan, check=validate_plan_with):
    """Return the problems of a plan without definitions."""
    with pytest.raises(PlanValidationError) as caught:
        check(None, plan)
    return caught.value.errors


def places(plan):
    """Return the path, the action and the line of each problem."""
    return [(found["path"], found.get("action"), found.get("line")) for found in problems_of(plan)]


def test_a_problem_of_a_text_has_its_action_and_its_line():
    """In text and bytes; its path stays what it was."""
    expected = [
        ("/actions/0/inputs/to", "pay", 7),
        ("/actions/0/inputs/a~1b~0c/list/1", "pay", 9),
        ("/actions/1/colour", "mail", 11),
    ]
    assert places(PLAN) == places(b"\xef\xbb\xbf" + PLAN.encode()) == expected
    assert [found["line"] for found in problems_of(PLAN, validate_logic_with)] == [7, 9]
    # Data has no lines.
    assert places(json.loads(PLAN)) == [(path, action, None) for path, action, _ in expected]


def test_both_are_in_the_text_for_people():
    """And the place comes first in the JSON."""
    with pytest.raises(PlanValidationError) as caught:
        validate_plan_with(None, PLAN)
    assert "schema at /actions/1/colour (action 'mail', line 11): there is no field 'colour' here" in str(caught.value)
    assert [*caught.value.errors[0]][:5] == ["code", "path", "action", "line", "message"]


def test_a_problem_of_the_whole_plan_has_no_line():
    """A missing field has that of what is around it."""
    assert places('{"actions": [\n{"id": "a"}]}') == [
        ("/name", None, None),
        ("/actions/0/actionDefinitionId", "a", 2),
    ]
    assert places("\n[]") == [("", None, None)]


def test_of_a_key_that_is_there_twice_the_last_one_counts():
    """So it does for Python's parser."""
    assert find_lines('{"a": 1,\n"a": {"b":\n 2}}', ["/a", "/a/b"]) == {"/a": 2, "/a/b": 2}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=12,
    )
)
def test_every_place_is_found(value):
    """With an indent each key and each entry has a line of its own, in the order of the text."""
    pointers = []

    def walk(value, prefix):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            pointers.append(f"{prefix}/{escape_pointer(key)}")
            if isinstance(child, (dict, list)):
                walk(child, pointers[-1])

    if isinstance(value, (dict, list)):
        walk(value, "")
    text = json.dumps(value, indent=1)
    lines = find_lines(text, pointers)
    assert [*lines] == pointers
    assert [*lines.values()] == sorted(set(lines.values()))


def test_lines_of_a_large_plan_are_found_quickly():
    """Ten thousand actions of which each has a problem: the text is read once."""
    action = '{"id": "a%d", "actionDefinitionId": "x",\n "inputs": {"q": "%s"}}'
    text = '{"name": "n", "actions": [' + ",\n".join(action % (n, "x" * 300) for n in range(10_000)) + "]}"
    assert len(text) < MAX_PLAN_BYTES
    pointers = [f"/actions/{n}/inputs/q" for n in range(0, 10_000, 10)]
    started = time.process_time()
    lines = find_lines(text, pointers)
    took_s = time.process_time() - started
    started = time.process_time()
    json.loads(text)
    assert lines["/actions/9990/inputs/q"] == 19_982
    assert took_s < 40 * max(time.process_time() - started, 0.01)


# --- `actons` --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["actons", "action", "Actions", "steps"])
def test_misspelt_actions_hide_nothing(key):
    """What is surely meant is told, and what is wrong with the actions as well, at their places."""
    plan = {"name": "n", key: [{"id": "a", "actionDefinitionId": "x", "dependencies": ["a", "b"]}]}
    assert places(plan) == [
        (f"/{key}", None, None),
        (f"/{key}/0/dependencies/0", "a", None),
        (f"/{key}/0/dependencies/1", "a", None),
    ]
    first, *_, last = problems_of(json.dumps(plan, indent=1))
    assert (first["message"], first["suggestion"]) == (f"there is no field '{key}' here", "did you mean 'actions'?")
    assert last["line"] == 9


def test_a_fix_is_for_the_plan_as_it_is_written():
    """Its operations name the key that the document has."""
    plan = {"name": "n", "actons": [{"id": "a", "actionDefinitionId": "x", "dependencies": ["a"]}]}
    assert [step["path"] for step in problems_of(plan)[1]["fix"]] == ["/actons/0/dependencies"]


@pytest.mark.parametrize("value", [[], {}, "x", [1], [{"id": "a"}, None]])
def test_what_is_no_list_of_actions_is_not_taken_for_them(value):
    """Nothing is said of what is in it."""
    assert places({"name": "n", "actons": value}) == [("/actons", None, None)]


def test_two_misspelt_lists_are_left_alone():
    """Nobody knows which one was meant."""
    action = {"id": "a", "actionDefinitionId": "x"}
    plan = {"name": "n", "actons": [action], "steps": [{**action, "dependencies": ["b"]}]}
    assert [found["path"] for found in problems_of(plan)] == ["/actons", "/steps"]


def test_a_field_that_is_missing_because_it_is_misspelt_is_told_once():
    """Where it stands. One that is missing beside it is told too."""
    assert places({"nmae": "n", "actions": [{"id": "a", "actionDefinition": "x"}]}) == [
        ("/nmae", None, None),
        ("/actions/0/actionDefinition", "a", None),
    ]
    assert [path for path, _, _ in places({"colour": "n", "actions": [{"id": "a", "actionDefinitionId": "x"}]})] == [
        "/name",
        "/colour",
    ]
