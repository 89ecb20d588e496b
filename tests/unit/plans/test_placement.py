"""Inputs that have no place in their request, and forEach over what is no list: found before anything is sent."""

import pytest

from workflow_state.errors import PlanValidationError
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ActionDefinition

CHARGES = {"id": "charges", "endpoint": {"url": "https://api.test/charges/{chargeId}", "method": "POST"}}
SEARCH = {
    "id": "search",
    "endpoint": {"url": "https://api.test/search"},
    "outputSchema": {
        "type": "object",
        "properties": {"hits": {"type": "array"}, "total": {"type": "integer"}, "page": {"type": ["array", "null"]}},
    },
}
DEFINITIONS = {data["id"]: ActionDefinition.model_validate(data) for data in (CHARGES, SEARCH)}


def problems_of(*actions, **fields):
    """Return the problems of a plan of these actions, as (path, message, suggestion)."""
    try:
        validate_plan_with(DEFINITIONS, {"name": "n", "actions": actions, **fields})
    except PlanValidationError as error:
        return [(found["path"], found["message"], found.get("suggestion", "")) for found in error.errors]
    return []


def charge(**inputs):
    """Return an action that sends a POST with a placeholder in its URL."""
    return {"id": "pay", "actionDefinitionId": "charges", "inputs": {"chargeId": "c-1", **inputs}}


def find_for_each_problems(reference, **fields):
    """Return what is wrong with a forEach over a part of what was found."""
    each = {"id": "each", "actionDefinitionId": "search", "dependencies": ["find"], "forEach": reference}
    return problems_of({"id": "find", "actionDefinitionId": "search", **fields}, each, inputs={"n": 3, "list": [1]})


@pytest.mark.parametrize("value", [1, None, "${inputs.amount}"])
def test_an_input_without_a_place_is_found_whatever_its_value(value):
    """Today's slip: `amount` where the URL has no `{amount}`."""
    [(path, message, suggestion)] = problems_of(charge(amount=value), inputs={"amount": 1})
    assert path == "/actions/0/inputs/amount"
    assert message == "the input 'amount' has no place in the request"
    assert suggestion == (
        "placeholders of the URL: 'chargeId'; anything else goes as query.amount, header.amount, body.amount or body"
    )


def test_a_misspelt_placeholder_is_told_beside_the_missing_one():
    """Both are there to see: what is missing, and what was probably meant by it."""
    action = {"id": "pay", "actionDefinitionId": "charges", "inputs": {"chargeID": "c-1"}}
    (missing, _, _), (misspelt, _, suggestion) = problems_of(action)
    assert (missing, misspelt) == ("/actions/0/inputs/chargeId", "/actions/0/inputs/chargeID")
    assert suggestion.startswith("did you mean 'chargeId'? ")


def test_a_get_has_no_place_for_a_body():
    """Neither for a whole one nor for a property of it."""
    action = {"id": "find", "actionDefinitionId": "search", "inputs": {"body.text": "x", "body": {}, "query.text": "x"}}
    found = problems_of(action)
    assert [path for path, _, _ in found] == ["/actions/0/inputs/body.text", "/actions/0/inputs/body"]
    assert found[0][1:] == ("a GET request has no body", "use query.text in place of body.text")


def test_a_placeholder_that_is_null_is_missing():
    """No request can be made of it."""
    [(path, message, _)] = problems_of(charge(chargeId=None))
    assert (path, message) == ("/actions/0/inputs/chargeId", "'charges' needs the input 'chargeId' in its URL")


def test_an_input_without_a_place_is_told_once():
    """An inputSchema that knows no such property has said it already, with the property that was meant."""
    schema = {"type": "object", "properties": {"body.text": {}}, "additionalProperties": False}
    strict = ActionDefinition.model_validate(
        {**CHARGES, "endpoint": {"url": "https://api.test/"}, "inputSchema": schema}
    )
    action = {"id": "a", "actionDefinitionId": "strict", "inputs": {"txet": 1}}
    with pytest.raises(PlanValidationError) as caught:
        validate_plan_with({"strict": strict}, {"name": "n", "actions": [action]})
    assert len(caught.value.errors) == 1


def test_for_each_over_what_is_no_list_is_refused():
    """By the outputSchema of the producer; the lists that it has are told."""
    [(path, message, suggestion)] = find_for_each_problems("${find.output.total}")
    assert path == "/actions/1/forEach"
    assert message == "forEach needs a list, and ${find.output.total} is an integer"
    assert suggestion == "refer to a list"
    [(_, message, suggestion)] = find_for_each_problems("${find.output}")
    assert message == "forEach needs a list, and ${find.output} is an object"
    assert suggestion == "did you mean ${find.output.hits}?"


def test_for_each_over_a_plan_input_that_is_no_list_is_refused():
    """Its value is known."""
    [(path, message, _)] = find_for_each_problems("${inputs.n}")
    assert (path, message) == ("/actions/1/forEach", "forEach needs a list, and ${inputs.n} is an integer")


@pytest.mark.parametrize(
    ("reference", "fields"),
    [
        ("${find.output.hits}", {}),
        ("${find.output.page}", {}),
        ("${find.output.other}", {}),
        ("${find.output}", {"forEach": "${inputs.list}"}),
        ("${find.output.total}", {"errorHandling": {"fallbackValue": []}}),
        ("${inputs.list}", {}),
    ],
)
def test_for_each_over_what_may_be_a_list_is_left_alone(reference, fields):
    """Also where nothing is known, and where another output may stand in."""
    assert find_for_each_problems(reference, **fields) == []


@pytest.mark.parametrize("name", ["title", "message"])
@pytest.mark.parametrize("text", ["Charge ${inputs.n}?", "${find.output.total}", "Charge ${total", "${n}"])
def test_a_reference_in_a_question_is_refused(name, text):
    """A person would read it as it is written, and not what it stands for."""
    question = {"required": True, "title": "Pay?", "message": "Now.", name: text}
    action = {"id": "find", "actionDefinitionId": "search", "userConfirmation": question}
    [(path, message, suggestion)] = problems_of(action, inputs={"n": 1})
    assert path == f"/actions/0/userConfirmation/{name}"
    assert message.endswith(f" would be shown as it is written: the {name} of a confirmation is plain text")
    assert suggestion == "leave it out: whoever is asked sees the whole request, with its values"


def test_a_dollar_sign_in_a_question_is_text():
    """So is one before a brace that is escaped."""
    question = {"required": True, "title": "Pay $5?", "message": "$${x} {y}"}
    assert problems_of({"id": "find", "actionDefinitionId": "search", "userConfirmation": question}) == []
