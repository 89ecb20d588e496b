"""Typed inputs and outputs: JSON Schemas themselves, inputs by their flat names, and types of references in a plan."""

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.actions.definitions.catalog import forget_catalog, register_action_definition
from workflow_state.errors import ActionDefinitionError, PlanValidationError
from workflow_state.json_schema.compiled import MAX_SCHEMA_BYTES, compile_schema, find_schema_problem
from workflow_state.json_schema.inputs import describe_wrong_inputs
from workflow_state.json_schema.paths import SchemaView, types_of, view_schema, walk_schema
from workflow_state.plans.resolving import resolve_value
from workflow_state.plans.validation.logic import find_logic_problems
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ActionDefinition

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def nested(depth):
    schema = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


def doubling(levels):
    """Return a schema whose references stand for 2 to the power of the levels schemas."""
    twice = {f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**twice, f"a{levels}": {"type": "string"}}}


def named(twice_to):
    """Return schemas `d0` to `d30`, each of which stands for the next one twice, as `twice_to` says."""
    return {f"d{level}": twice_to(level, f"d{level + 1}") for level in range(30)} | {"d30": {"minProperties": 1}}


def both(reference):
    return {"allOf": [reference] * 2}


DRAFT_7 = "http://json-schema.org/draft-07/schema#"
# A validator takes a minute for each of these, and an hour with six levels more.
MULTIPLYING = {
    "dependentSchemas": {
        "$ref": "#/$defs/d0",
        "$defs": named(lambda _, below: {"dependentSchemas": {key: {"$ref": f"#/$defs/{below}"} for key in "ab"}}),
    },
    "dependencies": {
        "$schema": DRAFT_7,
        "allOf": [{"$ref": "#/definitions/d0"}],
        "definitions": named(
            lambda _, below: {"dependencies": {key: {"$ref": f"#/definitions/{below}"} for key in "ab"}}
        ),
    },
    "$anchor": {
        "$ref": "#d0",
        "$defs": named(lambda level, below: {"$anchor": f"d{level}", **both({"$ref": f"#{below}"})}),
    },
    "$dynamicRef": {
        "$dynamicRef": "#d0",
        "$defs": named(lambda level, below: {"$dynamicAnchor": f"d{level}", **both({"$dynamicRef": f"#{below}"})}),
    },
    "$id, relative": {
        "$id": "http://x.example/root",
        "$ref": "d0",
        "$defs": named(lambda level, below: {"$id": f"d{level}", **both({"$ref": below})}),
    },
    "$id, written in two ways": {
        "$ref": "HTTP://X.example/%64%30",
        "$defs": named(
            lambda level, below: {"$id": f"http://x.example/d{level}", **both({"$ref": f"HTTP://x.EXAMPLE/{below}"})}
        ),
    },
    "$id of a scheme with no rules": {
        "$id": "foo://x/root",
        "$ref": "foo://x/d0",
        "$defs": named(lambda level, below: {"$id": f"d{level}", **both({"$ref": f"foo://x/{below}"})}),
    },
    "a pointer below an $id": {
        "$ref": "#/$defs/inner",
        "$defs": {
            "inner": {
                "$id": "http://x.example/inner",
                "$ref": "#/$defs/d0",
                "$defs": named(lambda _, below: both({"$ref": f"#/$defs/{below}"})),
            }
        },
    },
    "items within items": {
        "$ref": "#/$defs/d0",
        "$defs": named(lambda _, below: {"items": both({"$ref": f"#/$defs/{below}"})}),
    },
    "a property of two parts": {
        "$ref": "#/$defs/d0",
        "$defs": named(
            lambda _, below: {"anyOf": [{"properties": {"a": {"$ref": f"#/$defs/{below}"}}} for _ in range(2)]}
        ),
    },
    "a property that is declared and matches a pattern": {
        "$ref": "#/$defs/d0",
        "$defs": named(
            lambda _, below: {
                "properties": {"a": {"$ref": f"#/$defs/{below}"}},
                "patternProperties": {"^a": {"$ref": f"#/$defs/{below}"}},
            }
        ),
    },
    "$id as an anchor": {
        "$schema": DRAFT_7,
        "allOf": [{"$ref": "#d0"}],
        "definitions": named(lambda level, below: {"$id": f"#d{level}", **both({"$ref": f"#{below}"})}),
    },
    "id as an anchor": {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "allOf": [{"$ref": "#d0"}],
        "definitions": named(lambda level, below: {"id": f"#d{level}", **both({"$ref": f"#{below}"})}),
    },
}


# --- Schemas ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        ({"type": "strin"}, ("type",), "is no type; the types are array"),
        ({"properties": {"a": {"type": "text"}}}, ("properties", "a", "type"), "is no type"),
        ({"minLength": "3"}, ("minLength",), "must be an integer, not text"),
        ({"pattern": "(?=a)b"}, ("pattern",), "look-around"),
        ({"pattern": r"(a)\1"}, ("pattern",), "look-around"),
        ({"pattern": "(a{1000}){1000}"}, ("pattern",), "repetitions of repetitions"),
        ({"patternProperties": {"[": {}}}, ("patternProperties", "["), "regular expression"),
        ({"$ref": "https://example.com/a.json"}, (), "https://example.com/a.json"),
        ({"$ref": "file:///etc/passwd"}, (), "can't be followed"),
        ({"$ref": "other.json"}, (), "can't be followed"),
        ({"$ref": "#/$defs/a"}, (), "'/$defs/a' does not exist"),
        ({"$schema": "https://example.com/mine"}, (), "Unknown meta-schema"),
        ({"enum": ["\ud800"]}, (), "surrogate"),
        ({"maximum": float("inf")}, (), "a number that JSON does not have"),
        (nested(70), (), "nested deeper than 64"),
        (doubling(60), (), "references that multiply"),
        ({"properties": {"a": {"$ref": "#/x"}}, "x": doubling(40)["$defs"]["a0"], **doubling(40)}, (), "multiply"),
        ({"description": "x" * MAX_SCHEMA_BYTES}, (), "at most 262144"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema, path, words):
    """With the place in it, and nothing fetched."""
    problem = find_schema_problem(schema)
    assert problem is not None
    assert problem.path == path
    assert words in problem.message
    with pytest.raises(ActionDefinitionError):
        compile_schema(schema)


@pytest.mark.parametrize("schema", MULTIPLYING.values(), ids=MULTIPLYING)
def test_a_schema_that_multiplies_is_refused_whatever_its_references_are(schema):
    problem = find_schema_problem(schema)
    assert problem is not None
    assert "multiply" in problem.message


def test_references_that_may_mean_many_schemas_are_refused_at_once():
    """Two thousand references, each to a name that two thousand schemas have."""
    schema = {
        "allOf": [{"$dynamicRef": "#a"} for _ in range(2_000)],
        "$defs": {f"d{level}": {"$id": f"x{level}", "$dynamicAnchor": "a"} for level in range(2_000)},
    }
    started_s = time.process_time()
    problem = find_schema_problem(schema)
    assert time.process_time() - started_s < 1
    assert problem is not None
    assert "multiply" in problem.message


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{"type": "string"}]},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"},
        {"$defs": {"node": {"$anchor": "n", "properties": {"next": {"$ref": "#n"}}}}, "$ref": "#n"},
        {"$dynamicAnchor": "n", "properties": {"next": {"$dynamicRef": "#n"}}},
        {"$ref": "a", "$defs": {"a": {"$id": "a", "$ref": "#/$defs/b", "$defs": {"b": {"type": "string"}}}}},
        {"x-vendor": 1, "example": {}},
        {"$defs": {"tree": {"items": {"allOf": [{"$ref": "#/$defs/tree"}] * 2}}}, "$ref": "#/$defs/tree"},
        {
            "$ref": "#/$defs/d0",
            "$defs": named(lambda _, below: {"properties": {key: {"$ref": f"#/$defs/{below}"} for key in "ab"}}),
        },
        doubling(10),
    ],
)
def test_published_dialects_and_recursion_are_allowed(schema):
    assert find_schema_problem(schema) is None


def test_no_regular_expression_can_hold_a_worker_up():
    """The engine is linear: these take seconds to centuries with one that backtracks."""
    schema = compile_schema({"pattern": "^(a+)+$"})
    started_s = time.process_time()
    assert schema.find_mismatches("a" * 200_000 + "!")
    assert time.process_time() - started_s < 1


@pytest.mark.parametrize(
    "value",
    [[[[[[[[[[[3]]]]]]]]]], [[3]] * 1_000, [[[[3]] * 30] * 30] * 30],
    ids=["deep", "wide", "both"],
)
def test_what_fits_no_alternative_within_alternatives_is_refused_at_once(value):
    """All of its errors would take minutes to hours: each level has twenty times as many as the one below it."""
    alternatives = [{"allOf": [{"items": {"$ref": "#/$defs/any"}}, {"const": number}]} for number in range(20)]
    schema = compile_schema({"$defs": {"any": {"anyOf": alternatives}}, "$ref": "#/$defs/any"})
    started_s = time.process_time()
    assert schema.find_mismatches(value)
    assert time.process_time() - started_s < 3


def test_an_answer_that_is_wrong_everywhere_is_refused_at_once():
    """The first mismatch is enough; all of them would take seconds."""
    rows = compile_schema({"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}})
    started_s = time.process_time()
    assert rows.find_mismatches([{"id": "x"}] * 200_000, limit=1)
    assert time.process_time() - started_s < 1
    [found] = rows.find_mismatches([1] * 200_000, limit=1)
    assert found.path == (0,)


def test_schemas_that_refer_to_themselves_end():
    for schema in (
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ):
        assert compile_schema(schema).find_mismatches(1) == []
        assert walk_schema(view_schema(schema), ["a", 0])[1] == 2


def test_values_are_never_repeated():
    """An input or an answer may be a secret."""
    choice = {"oneOf": [{"type": "integer"}, {"minLength": 99}]}
    rules = ({"type": "integer"}, {"enum": ["x"]}, {"const": 1}, {"pattern": "^x"}, {"maxLength": 1}, choice)
    schema = compile_schema({"properties": dict(zip("abcdef", rules, strict=True))})
    found = schema.find_mismatches(dict.fromkeys("abcdef", "hunter2"))
    assert len(found) == 6
    assert "hunter2" not in str(found)


# --- Types at a place ------------------------------------------------------------------------------------------

LEAVES = [None, True, 0, 1.5, "", "x", [], [1], {}, {"a": 1}]
shapes = st.recursive(
    st.one_of(
        st.sampled_from(["string", "integer", "number", "object", "array", "null", "boolean"]).map(
            lambda t: {"type": t}
        ),
        st.lists(st.sampled_from(LEAVES), min_size=1, max_size=3).map(lambda values: {"enum": values}),
        st.just({}),
    ),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(lambda p: {"properties": p}),
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(
            lambda p: {"properties": p, "additionalProperties": False}
        ),
        inner.map(lambda s: {"additionalProperties": s}),
        inner.map(lambda s: {"items": s}),
        st.lists(inner, min_size=1, max_size=2).map(lambda s: {"prefixItems": s}),
        st.lists(inner, min_size=1, max_size=2).map(lambda s: {"allOf": s}),
        st.lists(inner, min_size=1, max_size=2).map(lambda s: {"anyOf": s}),
        st.lists(inner, min_size=1, max_size=2).map(lambda s: {"oneOf": s}),
        inner.map(lambda s: {"$defs": {"d": s}, "$ref": "#/$defs/d"}),
        inner.map(lambda s: {"not": s}),
        st.tuples(inner, inner).map(lambda s: {**s[0], **s[1]}),
    ),
    max_leaves=8,
)
values = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
    max_leaves=5,
)


def places(value, path=()):
    yield path, value
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in entries:
        yield from places(child, (*path, key))


@given(shapes, values)
def test_what_is_said_of_a_place_holds_for_every_value_that_fits(schema, value):
    """The validator is the judge: no value that it accepts has a place or a type that was ruled out."""
    if "$defs" in json.dumps(schema.get("properties", {})) or compile_schema_or_none(schema) is None:
        return
    if compile_schema(schema).find_mismatches(value):
        return
    for path, part in places(value):
        found, _ = walk_schema(view_schema(schema), path)
        assert isinstance(found, SchemaView), (schema, value, path)
        assert not compile_schema({"type": sorted(types_of(found))}).find_mismatches(part), (schema, value, path)


def compile_schema_or_none(schema):
    try:
        return compile_schema(schema)
    except ActionDefinitionError:
        return None


# --- Inputs ----------------------------------------------------------------------------------------------------


def definition(url="https://api.test/{id}", method="POST", headers=None, **fields):
    endpoint = {"url": url, "method": method, "headers": headers or {}}
    return ActionDefinition.model_validate({"id": "api.call", "endpoint": endpoint, **fields})


def typed(properties, **more):
    return {"type": "object", "properties": properties, **more}


@pytest.mark.parametrize(
    ("properties", "inputs"),
    [
        ({"id": {"type": "integer"}}, {"id": 5}),
        ({"id": {"type": "integer"}}, {"id": "5"}),
        ({"id": {"type": "string"}}, {"id": 5}),
        ({"query.all": {"type": "boolean"}}, {"query.all": "true"}),
        ({"query.all": {"type": "boolean"}}, {"query.all": None}),
        ({"query.tags": {"type": "array", "items": {"type": "integer"}}}, {"query.tags": ["1", 2]}),
        ({"query.tags": {"type": "array", "items": {"type": "string"}}}, {"query.tags": "one"}),
        ({"header.X-Trace": {"type": "string"}}, {"header.x-trace": 7}),
        ({"query.kind": {"enum": ["1", "2"]}}, {"query.kind": 1}),
        ({"title": {"type": "string"}}, {"body.title": "x"}),
        ({"title": {"type": "string"}}, {"body": {"title": "x"}}),
        ({"body.title": {"type": "string"}}, {"body": {"title": "x"}}),
        ({"body": typed({"title": {"type": "string"}}, required=["title"])}, {"body.title": "x"}),
        ({"body": typed({"a": {}, "b": {}}, required=["a", "b"])}, {"body": {"a": 1}, "body.b": 2}),
        ({"body": {"type": "array"}}, {"body": [1]}),
    ],
)
def test_inputs_fit_by_the_names_they_have(properties, inputs):
    """Whatever way the body is given, and as the text that a parameter is on its way."""
    assert describe_wrong_inputs(definition(inputSchema=typed(properties)), inputs) is None


@pytest.mark.parametrize(
    ("properties", "inputs", "words"),
    [
        ({"id": {"type": "integer"}}, {"id": "five"}, "the input 'id' must be an integer, not text"),
        ({"query.n": {"type": "integer"}}, {"query.n": "1.5"}, "the input 'query.n' must be an integer, not text"),
        ({"query.n": {"type": "integer"}}, {"query.n": {"a": 1}}, "not an object with the keys a"),
        ({"body.n": {"type": "integer"}}, {"body.n": "5"}, "the input 'body.n' must be an integer, not text"),
        ({"body.n": {"type": "integer"}}, {"body": {"n": "5"}}, "the input 'body.n' must be an integer"),
        ({"n": {"type": "integer"}}, {"body": {"n": "5"}}, "the input 'body.n' must be an integer"),
        ({"body": typed({"n": {"type": "integer"}})}, {"body.n": "5"}, "the input 'body.n' must be an integer"),
        ({"body.a": typed({"b": {"items": {"maximum": 3}}})}, {"body.a": {"b": [1, 9]}}, "'body.a.b[1]' must be"),
        ({"body.s": {"enum": ["on", "off"]}}, {"body.s": "of"}, "the input 'body.s' must be one of \"on\", \"off\""),
        ({"body.s": {"pattern": "x"}}, {"body.s": "\ud800"}, "half a character"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_named(properties, inputs, words):
    assert words in str(describe_wrong_inputs(definition(inputSchema=typed(properties)), inputs))


def test_form_fields_travel_as_text():
    form = definition(headers=FORM, inputSchema=typed({"body.n": {"type": "integer"}}))
    assert describe_wrong_inputs(form, {"body.n": "5"}) is None
    whole = definition(headers=FORM, inputSchema=typed({"body": typed({"n": {"type": "integer"}})}))
    assert describe_wrong_inputs(whole, {"body": {"n": "5"}}) is None


def test_what_is_missing_and_what_is_too_much():
    schema = typed({"id": {}, "body.a": {}}, required=["body.a"], additionalProperties=False)
    assert describe_wrong_inputs(definition(inputSchema=schema), {"id": 1, "query.b": 2}) == (
        "the input 'body.a' is missing; the input 'query.b' is not among those that the action takes"
    )


# --- Plans -----------------------------------------------------------------------------------------------------

USER = typed(
    {
        "id": {"type": "integer"},
        "name": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "home": {"$ref": "#/$defs/address"},
    },
    additionalProperties=False,
    **{"$defs": {"address": typed({"city": {"type": "string"}}, additionalProperties=False)}},
)
MAIL = typed(
    {
        "body.to": {"type": "string", "pattern": "@"},
        "body.count": {"type": "integer", "minimum": 1},
        "body.kind": {"enum": ["plain", "html"]},
        "body.options": typed({"urgent": {"type": "boolean"}, "cc": {"type": "array", "items": {"type": "string"}}},
                              required=["urgent"], additionalProperties=False),
        "query.page": {"type": "integer"},
    },
    required=["body.to"],
    additionalProperties=False,
)  # fmt: skip
CATALOG = {
    "user.read": definition(method="GET", url="https://api.test/users").model_copy(
        update={"id": "user.read", "output_schema": USER}
    ),
    "mail.send": definition(url="https://api.test/mail", inputSchema=MAIL).model_copy(update={"id": "mail.send"}),
}  # fmt: skip


def problems_of(inputs, *, user=None, plan_inputs=None, mail=None):
    """Return the problems of a plan in which `mail` reads `user`."""
    document = {
        "name": "x",
        "inputs": plan_inputs or {},
        "actions": [
            {"id": "user", "actionDefinitionId": "user.read", **(user or {})},
            {
                "id": "mail",
                "actionDefinitionId": "mail.send",
                "dependencies": ["user"],
                "inputs": inputs,
                **(mail or {}),
            },
        ],
    }
    try:
        validate_plan_with(CATALOG, document)
    except PlanValidationError as error:
        return error.errors
    return []


def found(inputs, **options):
    return [
        (problem["code"], problem["path"].removeprefix("/actions/1/inputs"))
        for problem in problems_of(inputs, **options)
    ]


TO = {"body.to": "a@b"}


@pytest.mark.parametrize(
    ("inputs", "problems"),
    [
        ({}, [("missing_input", "/body.to")]),
        ({"body": {"to": "a@b"}}, []),
        ({"body.to": 5}, [("bad_input", "/body.to")]),
        ({"body": {"to": 5}}, [("bad_input", "/body/to")]),
        ({"body.to": "nobody"}, [("bad_input", "/body.to")]),
        ({**TO, "body.count": 0}, [("bad_input", "/body.count")]),
        ({**TO, "body.kind": "htm"}, [("bad_input", "/body.kind")]),
        ({**TO, "body.kidn": "html"}, [("bad_input", "/body.kidn")]),
        ({**TO, "query.page": "2"}, []),
        ({**TO, "query.page": "two"}, [("bad_input", "/query.page")]),
        # A part that is literal counts beside one that is a reference.
        ({**TO, "body.options": {"urgent": "y", "cc": "${user.output.tags}"}}, [("bad_input", "/body.options/urgent")]),
        ({**TO, "body.options": {"cc": ["${user.output.name}", 5]}},
         [("bad_input", "/body.options/cc/1"), ("bad_input", "/body.options")]),
        ({**TO, "body.options": {"urgent": True, "ccc": "${user.output.name}"}}, [("bad_input", "/body.options")]),
        # Text around a reference is text, and what it says is not known.
        ({"body.to": "${user.output.name}@b"}, []),
        ({"body.to": "${user.output.name}"}, []),
        ({"body.to": "$${}"}, []),
        ({**TO, "body.count": "${user.output.id} times"}, [("bad_input", "/body.count")]),
        ({**TO, "query.page": "${user.output.id}0"}, []),
        # The plan's own inputs are known.
        ({"body.to": "${inputs.to}"}, [("bad_input", "/body.to")]),
        ({"body.to": "${inputs.mail}"}, []),
        ({**TO, "query.page": "${inputs.page}"}, []),
        ({"body": "${inputs.list}"}, []),
    ],
)  # fmt: skip
def test_literal_inputs_are_checked_when_the_plan_is(inputs, problems):
    """And nothing is said of what a reference will bring."""
    assert sorted(found(inputs, plan_inputs={"to": 7, "mail": "a@b", "page": "3", "list": {}})) == sorted(problems)


def test_a_wrong_input_says_what_to_write():
    [problem] = problems_of({**TO, "body.kind": "htm"})
    assert problem["message"] == (
        "the input 'body.kind' must be one of \"plain\", \"html\" (inputSchema of 'mail.send')"
    )
    assert problem["suggestion"] == "did you mean 'html'?"
    [problem] = problems_of({**TO, "body.cuont": 2})
    assert problem["suggestion"] == "did you mean 'body.count'?"


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        ("${user.output.id}", []),
        ("${user.output.nam}", ["bad_reference"]),
        ("${user.output.home.citi}", ["bad_reference"]),
        ("${user.output.id.x}", ["bad_reference"]),
        ("${user.output.tags.x}", ["bad_reference"]),
        ("${user.output.tags[99]}", ["bad_reference"]),  # text, and a number is needed
        ("${user.output.location}", ["bad_reference"]),  # where an output is stored is no part of it
        ("${user.output.name}", ["bad_reference"]),
        ("${user.output.home}", ["bad_reference"]),
        ("${user.output}", ["bad_reference"]),
        ("${user.status}", ["bad_reference"]),
    ],
)
def test_references_are_checked_against_what_they_read(value, codes):
    """As an integer of the body; only what is surely wrong is told."""
    assert [problem["code"] for problem in problems_of({**TO, "body.count": value})] == codes


def test_a_wrong_reference_says_what_to_write():
    [problem] = problems_of({"body.to": "${user.output.nmae}"})
    assert problem["path"] == "/actions/1/inputs/body.to"
    assert problem["message"] == (
        "${user.output.nmae}: user.output has no key 'nmae' by the outputSchema of 'user.read'"
    )
    assert problem["suggestion"] == "did you mean 'name'?"
    [problem] = problems_of({**TO, "body.count": "${user.output.name}"})
    assert problem["message"] == (
        "${user.output.name} is null or text by its outputSchema, and the input 'body.count' must be an integer "
        "(inputSchema of 'mail.send')"
    )


@pytest.mark.parametrize(
    ("reference", "user"),
    [
        ("${user.output.nmae}", {"errorHandling": {"fallbackValue": {"nmae": "x@y"}}}),
        ("${user.output[0].name}", {"forEach": "${inputs.list}"}),
        ("${user.output[0].home.city}", {"forEach": "${inputs.list}"}),
    ],
)
def test_another_output_may_stand_there(reference, user):
    assert found({"body.to": reference}, user=user, plan_inputs={"list": [1]}) == []


def test_where_an_element_is_stored_is_no_part_of_it():
    """A large output is read as any other is."""
    [(code, path)] = found(
        {"body.to": "${user.output[0].location}"}, user={"forEach": "${inputs.list}"}, plan_inputs={"list": [1]}
    )
    assert (code, path) == ("bad_reference", "/body.to")


def test_the_elements_of_a_list_are_typed_too():
    user = {"forEach": "${inputs.list}"}
    assert found({"body.to": "${user.output[0].nmae}"}, user=user, plan_inputs={"list": [1]}) == [
        ("bad_reference", "/body.to")
    ]


def test_parameters_take_what_reads_the_same_as_text():
    """A number in a query is its digits; an object has no text."""
    assert found({**TO, "query.page": "${user.output.name}"}) == []
    assert found({**TO, "query.page": "${user.output.home}"}) == [("bad_reference", "/query.page")]


def test_a_condition_reads_what_is_there():
    condition = {"condition": {"if": "${user.output.nmae} == 'x'"}}
    [problem] = problems_of(TO, mail=condition)
    assert (problem["code"], problem["path"]) == ("bad_reference", "/actions/1/condition/if")


def test_a_definition_whose_schema_is_wrong_is_refused():
    with pytest.raises(ActionDefinitionError, match=r"inputSchema\.properties\.a\.type is no type"):
        register_action_definition(
            {"id": "x", "endpoint": {"url": "https://a"}, "inputSchema": typed({"a": {"type": "strin"}})}
        )
    with pytest.raises(ActionDefinitionError, match="must describe an object"):
        register_action_definition({"id": "x", "endpoint": {"url": "https://a"}, "inputSchema": {"type": "string"}})
    forget_catalog()


def test_large_plans_are_checked_in_time():
    """10,000 actions with references and schemas."""
    actions = [{"id": "a0", "actionDefinitionId": "user.read"}]
    for number in itertools.islice(itertools.count(1), 9_999):
        inputs = {"body.to": "a@${a0.output.name}", "body.count": "${a0.output.id}", "body.options": {"urgent": True}}
        actions.append(
            {"id": f"a{number}", "actionDefinitionId": "mail.send", "dependencies": ["a0"], "inputs": inputs}
        )
    started_s = time.process_time()
    validate_plan_with(CATALOG, {"name": "x", "actions": actions})
    assert time.process_time() - started_s < 10


OPEN = st.sampled_from(["${p.output.x}", "x${p.output.x}", "${p.output}", "${inputs.n}"])
templates = st.recursive(
    st.one_of(st.sampled_from(LEAVES), OPEN),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["query.a", "body.a", "body", "a"]), shapes, min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["query.a", "body.a", "body.b"]), templates, min_size=1, max_size=2),
    shapes,
    values,
    st.sampled_from(LEAVES),
)
def test_what_is_told_of_a_plan_is_wrong_whatever_it_reads(properties, inputs, produced, output, given_input):
    """No plan is refused that could have run: the check before sending is the judge."""
    inlined = {name: schema for name, schema in properties.items() if "$defs" not in json.dumps(schema)}
    consumer = definition("https://a.test", inputSchema=typed(inlined))
    producer = definition("https://a.test", outputSchema=typed({"x": produced} if "$defs" not in str(produced) else {}))
    plan = {
        "inputs": {"n": given_input},
        "actions": [
            {"id": "p", "actionDefinitionId": "p"},
            {"id": "c", "actionDefinitionId": "c", "dependencies": ["p"], "inputs": inputs},
        ],
    }
    if not find_logic_problems(plan, definitions={"p": producer, "c": consumer}):
        return
    answer = {"x": output}
    if compile_schema(producer.output_schema).find_mismatches(answer):
        return
    resolved = resolve_value(inputs, {"p": {"status": "completed", "output": answer}, "inputs": plan["inputs"]})
    assert describe_wrong_inputs(consumer, resolved), (plan, properties, produced, answer)


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"type": "integer"}},
        {"anyOf": [{"items": {"type": "integer"}}, {"items": {"type": "null"}}]},
        {"maxItems": 10},
        {"uniqueItems": True},
    ],
)
def test_a_large_value_is_refused_in_a_moment(schema):
    """The library would collect an error for each element of each branch first."""
    value = ["a"] * 300_000
    begun_s = time.process_time()
    assert compile_schema(schema).find_mismatches(value, 3)
    assert time.process_time() - begun_s < 1


# --- Headers that a plan can't set -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["Bearer s3cret", "Bearer ${login.output.s3cret}", "${login.output.s3cret}", 7])
@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Authorization", False),
        ("authorization", True),
        ("COOKIE", False),
        ("Proxy-Authorization", True),
        ("x-key", True),
        ("X-Tenant", True),
    ],
)
def test_a_header_with_credentials_or_of_the_definition_is_refused(name, known, value):
    """Whether the value is written out or read from an answer, and also where the definition is not known."""
    key = {"type": "api_key", "header": "X-Key", "value": "${env.KEY}"}
    given = definition(url="https://api.test/", headers={"x-tenant": "mine"}, authentication=key)
    actions = [
        {"id": "login", "actionDefinitionId": "api.call"},
        {"id": "use", "actionDefinitionId": "api.call", "inputs": {f"header.{name}": value}, "dependencies": ["login"]},
    ]
    [problem] = find_logic_problems({"name": "n", "actions": actions}, {"api.call": given} if known else None)
    assert (problem["code"], problem["path"]) == ("bad_input", f"/actions/1/inputs/header.{name}")
    assert f"the header {name} " in problem["message"]
    assert "leave" in problem["suggestion"]
    assert "s3cret" not in json.dumps(problem)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            {"header.X_Tenant": "other"},
            "the header X_Tenant, which is x-tenant for some servers, is the definition's own",
        ),
        ({"header.X-Forwarded-For": "${login.output}"}, "the header X-Forwarded-For says where a request comes from"),
        (
            {"header.Idempotency_Key": "k"},
            "the header Idempotency_Key tells a request that is sent again from a new one",
        ),
        ({"header.Content_Length": 1}, "the header Content_Length is set by the client itself or not at all"),
        (
            {"query.Admin": "${login.output}"},
            "the query parameter 'Admin', which is 'admin' for some servers, is the definition's own",
        ),
        ({"query._method": "DELETE"}, "the query parameter '_method' makes another method"),
        ({"id": "..;"}, "the value of 'id' contains a '.' or '..' path segment"),
        ({"id": "%2e%2e%2fadmin"}, "the value of 'id' contains a '.' or '..' path segment"),
        ({"id": "${inputs.up}"}, "the value of 'id' contains a '.' or '..' path segment"),
    ],
)
def test_an_input_that_bends_the_definition_is_refused(inputs, said):
    """Where it is known already; a value that comes out of an answer is refused before it is sent."""
    given = definition(url="https://api.test/{id}?admin=no&q={q}", headers={"x-tenant": "mine"})
    use = {"id": "use", "actionDefinitionId": "api.call", "dependencies": ["login"]}
    actions = [
        {"id": "login", "actionDefinitionId": "api.call", "inputs": {"id": "a", "q": ".."}},
        {**use, "inputs": {"id": "${login.output.id}", "q": "..", **inputs}},
    ]
    plan = {"name": "n", "inputs": {"up": "..\\"}, "actions": actions}
    [problem] = find_logic_problems(plan, {"api.call": given})
    [name] = inputs
    assert (problem["code"], problem["path"]) == ("bad_input", f"/actions/1/inputs/{name}")
    assert said in problem["message"]
    assert problem["suggestion"]


def test_what_a_definition_allows_is_left_to_it():
    """Without the definition nobody knows, and workers look. What carries credentials is refused all the same."""
    inputs = {"header.X-Forwarded-For": "1.2.3.4", "header.Authorization": "${login.output}"}
    actions = [
        {"id": "login", "actionDefinitionId": "api.call"},
        {"id": "a", "actionDefinitionId": "api.call", "inputs": inputs, "dependencies": ["login"]},
    ]
    given = definition(url="https://api.test/", allowed_headers=["X-Forwarded-For", "Authorization"])
    assert find_logic_problems({"name": "n", "actions": actions}, {"api.call": given}) == []
    problems = find_logic_problems({"name": "n", "actions": actions}, None)
    assert [problem["path"] for problem in problems] == ["/actions/1/inputs/header.Authorization"]


def test_headers_that_a_plan_can_set():
    """One that is null is not sent; an `api_key` of another definition is nothing to this one."""
    inputs = {"header.Authorization": None, "header.X-Key": "k", "header.X-Trace": "t", "header": "x", "header.": "x"}
    given = definition(url="https://api.test/{header}")
    actions = [{"id": "a", "actionDefinitionId": "api.call", "inputs": inputs}]
    [problem] = find_logic_problems({"name": "n", "actions": actions}, {"api.call": given})
    assert problem["message"] == "the input 'header.' has no place in the request"


@pytest.mark.parametrize("name", ["header.Authorization ", "header. authorization", "header.\uff21uthorization"])
def test_a_header_with_credentials_is_known_however_it_is_written(name):
    """The worker would refuse it too, but the plan with the token would have been stored by then."""
    plan = {"name": "p", "actions": [{"id": "a", "actionDefinitionId": "d", "inputs": {name: "Bearer t0ken"}}]}
    with pytest.raises(PlanValidationError) as caught:
        validate_plan_with(None, plan)
    assert [problem["code"] for problem in caught.value.errors] == ["bad_input"]
    assert "t0ken" not in str(caught.value)
