"""Random plans on the real engine: each must end as the interpreter says."""

import json
import random
from copy import deepcopy

import pytest
from helpers.plans import action, plan
from helpers.reference_interpreter import End, interpret
from hypothesis import Phase, assume, given, seed, settings
from hypothesis import strategies as st

from workflow_state import PlanValidationError, execute_plan, validate_execution_plan

pytestmark = pytest.mark.usefixtures("worker")

TIMEOUT_S = 60
PLANS = 200
FALLBACKS = [None, False, 3, "text", {"name": "f"}, {"name": 3, "body": {"seen": ["x"]}}]
REDUCTIONS = 20


@st.composite
def plans(draw):
    """Draw a plan of 3 to 10 actions, in any order, each of which depends on some with smaller numbers."""
    names = [f"a{number}" for number in range(draw(st.integers(3, 10)))]
    alternatives = {
        name: draw(st.sampled_from(names[number:]))
        for number, name in enumerate(names[:-1], start=1)
        if draw(st.integers(0, 3)) == 0
    }
    actions = []
    for number, name in enumerate(names):
        # An alternative depends on its primary, or on what that could depend on: so it can nearly always run in time.
        primaries = [index for index, other in enumerate(names) if alternatives.get(other) == name]
        known = names[: min([number, *(index + 1 for index in primaries)])]
        ahead = draw(st.lists(st.sampled_from(known), max_size=3, unique=True)) if known else []
        handling = draw(handlings())
        if name in alternatives:
            handling["alternativeActionId"] = alternatives[name]
        fields = {"errorHandling": handling}
        if ahead and draw(st.integers(0, 2)) == 0:
            fields["condition"] = draw(conditions(ahead))
        seen = {"seen": draw(references(ahead))} if ahead and draw(st.integers(0, 2)) else {}
        if draw(st.integers(0, 2)) == 0:
            inputs = {"name": name, "code": 422, **{f"query.{key}": value for key, value in seen.items()}}
            actions.append(action(name, ahead, actionDefinitionId="status", inputs=inputs, **fields))
        else:
            inputs = {"name": name, "body.of": name, **{f"body.{key}": value for key, value in seen.items()}}
            actions.append(action(name, ahead, actionDefinitionId="post", inputs=inputs, **fields))
    return plan(*draw(st.permutations(actions)))


@st.composite
def handlings(draw):
    """Draw what makes up for a failure, but for the alternative."""
    handling = {}
    if draw(st.booleans()):
        handling["continueOnFailure"] = True
    if draw(st.integers(0, 3)) == 0:
        handling["fallbackValue"] = draw(st.sampled_from(FALLBACKS))
    return handling


@st.composite
def conditions(draw, ahead):
    """Draw a condition of one or two clauses on dependencies."""
    other = draw(st.sampled_from(["skip", "fail"]))
    if draw(st.integers(0, 4)) == 0:
        return {"if": draw(references(ahead)), "else": other}
    clauses = draw(st.lists(comparisons(ahead), min_size=1, max_size=2))
    return {"if": " && ".join(clauses), "else": other}


@st.composite
def comparisons(draw, ahead):
    """Draw a comparison of a dependency's status or of its output's name with a text."""
    name = draw(st.sampled_from(ahead))
    operator = draw(st.sampled_from(["==", "!="]))
    if draw(st.integers(0, 2)):
        return f"${{{name}.status}} {operator} '{draw(st.sampled_from(['completed', 'failed', 'skipped']))}'"
    return f"${{{name}.output.name}} {operator} '{name}'"


def references(ahead):
    """Draw a reference to a dependency."""
    fields = ["status", "output.name", "output.name", "output.body", "output.body.seen"]
    return st.builds("${{{}.{}}}".format, st.sampled_from(ahead), st.sampled_from(fields))


def draw_plans(count, number):
    """Return this many valid plans, the same for the same seed; Hypothesis refuses to discard many."""
    found = []

    @seed(number)
    @settings(max_examples=count, phases=[Phase.generate], database=None, deadline=None)
    @given(plans())
    def collect(drawn):
        assume(is_valid(drawn))
        found.append(drawn)

    collect()
    return found


def is_valid(document):
    """Return whether the engine takes the plan."""
    try:
        validate_execution_plan(document)
    except PlanValidationError:
        return False
    return bool(document["actions"])


def find_mismatches(documents):
    """Run all the plans at once, and return those that ended otherwise than the interpreter says, with what differs."""
    handles = [execute_plan.delay(document) for document in documents]
    mismatches = []
    for document, handle in zip(documents, handles, strict=True):
        actual, expected = read_ends(handle.get(timeout=TIMEOUT_S)), expected_ends(document)
        if actual != expected:
            differing = {
                name: (expected[name], actual.get(name)) for name in expected if expected[name] != actual[name]
            }
            mismatches.append((document, differing))
    return mismatches


def expected_ends(document):
    """Return the execution's status under "", and each action's end."""
    answers = {item["id"]: "fail" if item["actionDefinitionId"] == "status" else "ok" for item in document["actions"]}
    status, ends = interpret(document, answers)
    return {"": status, **ends}


def read_ends(state):
    """Return the same of a real execution."""
    ends = {"": state["status"]}
    for name, action_state in state["actionStates"].items():
        result = action_state["result"]
        output = result.get("output")
        if isinstance(output, dict) and "headers" in output:
            output = {"name": output["name"], "body": output["body"]}
        # Everything that is to fail here is validation_failed: a 422, a reference to nothing, a condition.
        category = result.get("error", {}).get("category", "validation_failed")
        status = action_state["status"] if category == "validation_failed" else category
        ends[name] = End(status, output, result.get("blockedBy"))
    return ends


def reduce_plan(document, differing):
    """Return the smallest plan found that still ends otherwise: actions and fields left out one by one."""
    for _ in range(REDUCTIONS):
        smaller = [candidate for candidate in simplify(document) if is_valid(candidate)]
        mismatches = find_mismatches(smaller)
        if not mismatches:
            break
        document, differing = mismatches[0]
    return document, differing


def simplify(document):
    """Yield the plan without one of its actions, one of its dependencies, or one field of an action."""
    for left_out in document["actions"]:
        candidate = deepcopy(document)
        candidate["actions"] = [item for item in candidate["actions"] if item["id"] != left_out["id"]]
        for item in candidate["actions"]:
            forget(item, left_out["id"])
        yield candidate
    for index, item in enumerate(document["actions"]):
        for name in item["dependencies"]:
            candidate = deepcopy(document)
            forget(candidate["actions"][index], name)
            yield candidate
        for field in item["errorHandling"]:
            candidate = deepcopy(document)
            del candidate["actions"][index]["errorHandling"][field]
            yield candidate
        if "condition" in item:
            candidate = deepcopy(document)
            del candidate["actions"][index]["condition"]
            yield candidate


def forget(item, name):
    """Take all mention of an action out of another one."""
    item["dependencies"] = [other for other in item["dependencies"] if other != name]
    item["inputs"] = {key: value for key, value in item["inputs"].items() if f"${{{name}." not in str(value)}
    if f"${{{name}." in item.get("condition", {}).get("if", ""):
        del item["condition"]
    if item["errorHandling"].get("alternativeActionId") == name:
        del item["errorHandling"]["alternativeActionId"]


def test_random_plans_end_as_the_interpreter_says():
    """Statuses, outputs, and what blocked an action: 200 plans run at once; a wrong one is reduced and shown."""
    number = random.getrandbits(32)
    documents = draw_plans(PLANS, number)
    assert len(documents) == PLANS
    mismatches = find_mismatches(documents)
    if mismatches:
        document, differing = reduce_plan(*min(mismatches, key=lambda mismatch: len(mismatch[0]["actions"])))
        shown = "\n".join(f"  {name or 'the plan'}: expected {a}, was {b}" for name, (a, b) in differing.items())
        pytest.fail(f"seed {number}, {len(mismatches)} of {len(documents)}:\n{json.dumps(document, indent=1)}\n{shown}")
