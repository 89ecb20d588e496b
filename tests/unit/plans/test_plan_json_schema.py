"""The JSON Schemas of a plan: what they take and refuse, as validation does, and what providers take of them."""

import copy
import json
from pathlib import Path

import jsonschema_rs
import pytest
from helpers.plans import action, plan

from workflow_state.errors import PlanValidationError
from workflow_state.plans.json_schema import make_plan_json_schema, read_strict_plan
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ActionDefinition, ExecutionPlan

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.json"))
WHOLE = make_plan_json_schema()
STRICT = make_plan_json_schema(strict=True)
FULL = {
    "id": "123e4567-e89b-42d3-a456-426614174000",
    "name": "all there is",
    "description": "each field once",
    "intent": {"original": "do it", "interpreted": "to be done", "confidence": 0.5},
    "inputs": {"list": [1, None, {"a": "b"}]},
    "actions": [
        action("other"),
        {
            "id": "a",
            "actionDefinitionId": "echo",
            "inputs": {"name": "${item}", "body.n": None},
            "dependencies": ["other"],
            "condition": {"if": "${other.output.x} > 1", "then": "execute", "else": "fail"},
            "errorHandling": {"continueOnFailure": True, "fallbackValue": {"a": None}, "alternativeActionId": "b"},
            "userConfirmation": {"required": True, "title": "Really?", "message": "Yes or no", "timeout": 5},
            "forEach": "${inputs.list}",
            "forEachLimit": 10,
        },
        action("b"),
    ],
    "expectedOutcome": {
        "description": "it is done",
        "validations": [{"name": "n", "reference": "${a.output}", "operator": "equals", "value": [1, None]}],
    },
    "metadata": {"createdAt": "2026-01-31T12:00:00+00:00", "createdBy": "me", "estimatedDuration": 5, "tags": ["x"]},
}
DEFINITIONS = {
    name: ActionDefinition.model_validate({"id": name, "name": text, "endpoint": {"url": "https://api.example"}})
    for name, text in {"mail.send": "Send a mail", "echo": ""}.items()
}


def schemas_in(schema):
    """Yield every schema within a schema, itself included."""
    yield schema
    for key in ("properties", "$defs"):
        for inner in schema.get(key, {}).values():
            yield from schemas_in(inner)
    for inner in schema.get("anyOf", []):
        yield from schemas_in(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from schemas_in(schema[key])


def places_in(document, place=()):
    """Yield the place of every value in a document; what is in a field of any JSON is left out."""
    yield place
    if isinstance(document, dict) and place[-1:] not in (("inputs",), ("fallbackValue",), ("value",)):
        for key, value in document.items():
            yield from places_in(value, (*place, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from places_in(value, (*place, index))


def with_value(document, place, change):
    """Return a copy of the document with one of its values changed."""
    changed = copy.deepcopy(document)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    change(parent, place[-1])
    return changed


def setting(value):
    """Return a change that puts this value there."""

    def change(parent, key):
        parent[key] = value

    return change


def is_valid(document):
    """Return whether validation takes the document."""
    try:
        validate_plan_with(None, document)
    except PlanValidationError:
        return False
    return True


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_plan(path):
    """By the schema as by validation, and with the definitions that it names."""
    document = json.loads(path.read_text())
    jsonschema_rs.validator_for(WHOLE).validate(document)
    named = {item["actionDefinitionId"]: DEFINITIONS["echo"] for item in document["actions"]}
    jsonschema_rs.validator_for(make_plan_json_schema(named)).validate(document)


def test_what_the_schema_refuses_validation_refuses():
    """Each value of a plan with every field is taken away, replaced by one of each type, and given an unknown field."""
    validator = jsonschema_rs.validator_for(WHOLE)
    validator.validate(FULL)
    assert is_valid(FULL)
    refused = 0
    wrong = [None, [], {}, {"a": 1}, [1], -1, "", "a b", 1.5, [{}]]
    changes = [*map(setting, wrong), lambda parent, key: parent.pop(key)]
    for place in places_in(FULL):
        changed = [with_value(FULL, place, change) for change in changes if place]
        if isinstance(at(FULL, place), dict) and place[-1:] != ("inputs",):
            unknown = copy.deepcopy(FULL)
            at(unknown, place)["unknown"] = 1
            changed.append(unknown)
        for document in changed:
            # Validation takes Unix times as well, as it takes snake_case; nothing else differs.
            if not validator.is_valid(document) and place[-1:] != ("createdAt",):
                refused += 1
                assert not is_valid(document), (place, at(document, place[:-1]))
    assert refused > 300


def at(document, place):
    """Return the value at a place."""
    for key in place:
        document = document[key]
    return document


@pytest.mark.parametrize("schema", [WHOLE, STRICT], ids=["whole", "strict"])
def test_every_field_is_described_and_nothing_unknown_is_taken(schema):
    """In a sentence or two: a model reads them all."""
    jsonschema_rs.meta.validate(schema)
    for inner in schemas_in(schema):
        for name, field in inner.get("properties", {}).items():
            assert 10 < len(field["description"]) < 330, name
            assert field["description"].endswith("."), name
        if "properties" in inner:
            assert inner["additionalProperties"] is False
        assert "title" not in inner or inner is schema


def test_the_strict_schema_has_only_what_providers_take():
    """OpenAI: all required, no composition but anyOf, no text lengths, no default. Anthropic: no bounds.

    Both: every object closed. Anthropic takes at most 16 unions in all, OpenAI ten levels of objects.
    """
    allowed = {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "enum",
        "const",
        "description",
    }
    allowed |= {"pattern", "minItems"}
    assert STRICT["type"] == "object"
    unions = 0
    for inner in schemas_in(STRICT):
        assert set(inner) <= allowed, inner
        assert "type" in inner or "anyOf" in inner, inner
        if inner.get("type") == "object":
            assert inner["required"] == list(inner["properties"])
        assert inner.get("minItems", 0) in (0, 1)
        assert "{" not in inner.get("pattern", "")
        unions += "anyOf" in inner
    assert unions <= 16
    assert "$ref" not in json.dumps(STRICT)


def strictly(document):
    """Return a plan as a model that is held to the strict schema would write it."""
    data = {key: value for key, value in document.items() if key not in ("id", "metadata")}

    def fill(value, schema):
        branches = [branch for branch in schema.get("anyOf", [schema]) if branch["type"] != "null"]
        if value is None or branches[0]["type"] not in ("object", "array"):
            return value
        if branches[0]["type"] == "array":
            return [fill(item, branches[0]["items"]) for item in value]
        return {
            name: json.dumps(value.get(name, {}) if name == "inputs" else value[name])
            if name == "inputs" or (name in ("fallbackValue", "value") and name in value)
            else fill(value.get(name, defaults.get(name)), field)
            for name, field in branches[0]["properties"].items()
        }

    defaults = {"dependencies": [], "forEachLimit": 1000, "continueOnFailure": False, "validations": []}
    defaults |= {"then": "execute", "else": "skip", "errorHandling": {}}
    return fill(data, STRICT)


@pytest.mark.parametrize("document", [FULL, *(json.loads(path.read_text()) for path in EXAMPLES)])
def test_a_strict_answer_is_the_plan_again(document):
    """Nulls are left out, JSON text is read, and what it stands for is the same plan."""
    answer = strictly(document)
    jsonschema_rs.validator_for(STRICT).validate(answer)
    back = ExecutionPlan.model_validate(read_strict_plan(json.dumps(answer)))
    whole = ExecutionPlan.model_validate(document)
    same = {"exclude": {"id", "metadata"}}
    assert back.model_dump(**same) == whole.model_dump(**same)


def test_a_fallback_of_null_differs_from_none():
    """The text `null` is a value, null is nothing; what is no JSON stands for itself."""
    document = plan(action("a", errorHandling={"continueOnFailure": False, "fallbackValue": None}), b=[])
    answer = strictly(document)
    assert answer["actions"][0]["errorHandling"]["fallbackValue"] == "null"
    assert answer["actions"][1]["errorHandling"]["fallbackValue"] is None
    actions = ExecutionPlan.model_validate(read_strict_plan(answer)).actions
    assert [item.error_handling.has_fallback for item in actions] == [True, False]
    answer["actions"][0]["errorHandling"]["fallbackValue"] = "no JSON"
    assert read_strict_plan(answer)["actions"][0]["errorHandling"]["fallbackValue"] == "no JSON"


@pytest.mark.parametrize("answer", ["{", "[1]", b"null", '{"name": 1, "actions": [{"inputs": "{"}]}'])
def test_an_answer_that_is_no_plan_is_left_for_validation_to_refuse(answer):
    """It never raises by itself."""
    assert not is_valid(read_strict_plan(answer))


def test_the_definitions_that_are_known_are_all_that_may_be_named():
    """With their names in the description: the model has to choose among them."""
    for strict in (False, True):
        schema = make_plan_json_schema(DEFINITIONS, strict=strict)
        action_schema = schema["properties"]["actions"]["items"] if strict else schema["$defs"]["PlannedAction"]
        field = action_schema["properties"]["actionDefinitionId"]
        assert field["enum"] == ["echo", "mail.send"]
        assert "mail.send: Send a mail." in field["description"]
