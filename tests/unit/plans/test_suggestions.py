"""What a problem or an error says to write has been tried: it is no worse than what stands there."""

import copy
import json
import re

import pytest

from workflow_state.errors import PlanValidationError, ReferenceParseError
from workflow_state.plans.references import parse_reference
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ActionDefinition

START = ActionDefinition.model_validate(
    {
        "id": "start",
        "name": "Start",
        "description": "d",
        "endpoint": {"url": "https://api.test/", "method": "POST"},
        "outputSchema": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "owner": {"type": "object", "properties": {"name": {}}, "additionalProperties": False},
            },
            "additionalProperties": False,
        },
    }
)
ANY = ActionDefinition.model_validate(
    {"id": "any", "name": "Any", "description": "d", "endpoint": {"url": "https://api.test/", "method": "POST"}}
)
DID_YOU_MEAN = re.compile(r"did you mean '(.*)'\?")
WRITE = re.compile(r"write (\$\{.*?\})(?: or|$| for)")


def action(name, *after, uses="any", **fields):
    """Return an action after others."""
    return {"id": name, "actionDefinitionId": uses, "dependencies": list(after), **fields}


def plan_of(*actions):
    """Return a plan of these actions."""
    return {"name": "n", "inputs": {"name": "Ada"}, "actions": [*actions]}


def problems_of(plan):
    """Return the problems of a plan."""
    try:
        validate_plan_with({"start": START, "any": ANY}, plan)
    except PlanValidationError as error:
        return error.errors
    return []


def reading(reference, *, uses="start", after=("start",)):
    """Return a plan in which the second of three actions reads this."""
    return plan_of(
        action("start", uses=uses),
        action("reader", *after, inputs={"body.x": reference}),
        action("last", "reader"),
    )


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("${start.headers.location}", "write ${start.output.field} for a field of the answer's body"),
        ("${start.statusCode}", "write ${start.output.field} for a field of the answer's body"),
        ("${start.response.headers.location}", "write ${start.output.field}"),
        ("${start.response.status}", "write ${start.output.field}"),
        ("${start.error.message}", "write ${start.output.field}"),
        ("${start.id}", "write ${start.output.id}"),
        ("${start.result.owner.name}", "write ${start.output.owner.name}"),
        ("${input.name}", "write ${inputs.name}"),
    ],
)
@pytest.mark.parametrize("uses", ["start", "any"])
def test_a_reference_that_is_advised_is_valid(reference, told, uses):
    """Not one that is well written, is sent a request for, and fails then."""
    [problem] = problems_of(reading(reference, uses=uses))
    assert problem["code"] == "bad_reference"
    assert told in problem["message"]
    for text in WRITE.findall(problem["message"]):
        if "field" not in text:
            assert problems_of(reading(text, uses=uses)) == []


@pytest.mark.parametrize(
    ("reference", "suggestion"),
    [
        ("${start.location}", "its keys are id, owner"),
        ("${start.owner.nmae}", "did you mean 'name'?"),
        ("${input.nmae}", ""),
        ("${stat.id}", "did you mean 'start'?"),
    ],
)
def test_a_reference_that_would_not_be_valid_is_not_advised(reference, suggestion):
    """What there is instead is told, where that is known."""
    [problem] = problems_of(reading(reference))
    assert "write ${" not in problem["message"]
    assert problem.get("suggestion", "") == suggestion


@pytest.mark.parametrize(
    ("reference", "suggestion"),
    [
        ("${strat.output.id}", "did you mean 'start'?"),
        ("${readr.output.id}", ""),
        ("${lasst.output.id}", ""),
        ("${input_.output.id}", ""),
    ],
)
def test_an_action_that_can_not_be_read_is_not_suggested(reference, suggestion):
    """Not the action itself, nor one that waits for it."""
    [problem] = problems_of(reading(reference))
    assert problem["code"] == "unknown_reference"
    assert problem.get("suggestion", "") == suggestion


@pytest.mark.parametrize(("dependency", "suggestion"), [("strat", "did you mean 'start'?"), ("lasst", None)])
def test_a_dependency_that_would_make_a_cycle_is_not_suggested(dependency, suggestion):
    """What there is is told instead."""
    [problem] = problems_of(reading("x", after=(dependency,)))
    assert problem["suggestion"] == (suggestion or "the actions of the plan are start, reader, last")


def test_an_alternative_that_could_not_run_is_not_suggested():
    """One with a forEach, or one whose own alternative this is."""
    fails = {"errorHandling": {"alternativeActionId": "plan_bb"}}
    for other in ({"forEach": "${inputs.list}"}, {"errorHandling": {"alternativeActionId": "plan_a"}}):
        plan = plan_of(action("plan_a", **fails), action("plan_b", **other))
        plan["inputs"] = {"list": []}
        problems = [problem for problem in problems_of(plan) if problem["code"] == "unknown_alternative"]
        assert len(problems) == 1
        assert "plan_b'" not in problems[0].get("suggestion", "")


def test_an_input_that_is_there_already_is_not_suggested():
    """It would be given twice."""
    strict = ActionDefinition.model_validate(
        {
            **ANY.to_json_data(),
            "inputSchema": {
                "type": "object",
                "properties": {"email": {}, "mail": {}},
                "additionalProperties": False,
            },
        }
    )
    for given, suggestion in (({}, "did you mean 'email'?"), ({"email": "x"}, "did you mean 'mail'?")):
        plan = plan_of(action("a", inputs={"emial": "x", **given}))
        with pytest.raises(PlanValidationError) as caught:
            validate_plan_with({"any": strict}, plan)
        [problem] = [found for found in caught.value.errors if found["path"] == "/actions/0/inputs/emial"]
        assert problem["suggestion"] == suggestion


@pytest.mark.parametrize(
    "text",
    [
        "${a}",
        "${a.x}",
        "${a.result}",
        "${a.response.x[0]}",
        "${a.data}",
        '${a["k"].x}',
        "${input.x}",
        "${input}",
        "${a.status.x}",
        "${a.output.0}",
        "${a.headers.x}",
        "${" + "a" * 128 + "." + "x" * 100 + "}",
    ],
)
def test_what_an_error_says_to_write_is_a_reference(text):
    """Whole, however long the reference is."""
    with pytest.raises(ReferenceParseError) as caught:
        parse_reference(text)
    for advised in re.findall(r"write (\$\{[^}]*\}?)", str(caught.value)):
        assert parse_reference(advised) is not None
    if caught.value.instead:
        assert parse_reference(caught.value.instead) is not None
        assert str(caught.value).startswith(caught.value.problem)


PLANS = [
    reading(reference, after=after)
    for reference in (
        "${strat.output.id}",
        "${start.output.idd}",
        "${start.id}",
        "${start.output}.id",
        "${start.output.owner.nmae}",
        "${last.output.id}",
        "${reader.output.id}",
        "${inputs.nmae}",
    )
    for after in ((), ("start",), ("strat",), ("reader",), ("last",), ("start", "start"))
]


def apply(plan, problem):
    """Return the plan as a model would repair it: by the fix, or by the name or reference that is suggested."""
    repaired = copy.deepcopy(plan)
    if "fix" in problem:
        for operation in problem["fix"]:
            *path, last = operation["path"].split("/")[1:]
            place = repaired
            for step in path:
                place = place[int(step)] if isinstance(place, list) else place[step]
            place[last] = operation["value"]
        return repaired
    text = json.dumps(repaired)
    value = repaired
    for step in problem["path"].split("/")[1:]:
        value = value[int(step)] if isinstance(value, list) else value[step]
    if found := WRITE.search(f"{problem['message']} {problem.get('suggestion', '')}".strip()):
        new = found[1]
    elif found := DID_YOU_MEAN.search(problem.get("suggestion", "") or problem["message"]):
        wrong = re.search(r"(?:no action|no key) ['\"](\w+)['\"]", problem["message"])
        new = value.replace(wrong[1], found[1]) if wrong else found[1]
    else:
        return None
    return json.loads(text.replace(json.dumps(value), json.dumps(new)))


@pytest.mark.parametrize("plan", PLANS)
def test_no_repair_makes_a_plan_worse(plan):
    """Each by itself; in the end the fixes and suggestions leave less to mend, or the same."""
    before = problems_of(plan)
    for problem in before:
        repaired = apply(plan, problem)
        if repaired is not None:
            after = problems_of(repaired)
            assert len(after) <= len(before), problem
            assert problem not in after
