"""Plans that can't be run: every problem is found, placed, explained, and mended where that is certain."""

import copy
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from workflow_state.errors import PlanValidationError
from workflow_state.plans.levels import schedule_levels
from workflow_state.plans.validation.document import MAX_PLAN_BYTES, MAX_PLAN_DEPTH
from workflow_state.plans.validation.validator import MAX_PROBLEMS, validate_logic_with, validate_plan_with
from workflow_state.schema import MAX_ACTIONS, ActionDefinition, ExecutionPlan, PlannedAction

MAX_EXAMPLES = 50


CHECK = {"name": "c", "reference": "${a.output}", "operator": "exists"}


def act(action_id, dependencies=(), **fields):
    """Return a planned action."""
    return {"id": action_id, "actionDefinitionId": "echo", "dependencies": list(dependencies), **fields}


def plan_of(*actions, **fields):
    """Return a plan of these actions; `fields` are the plan's."""
    return {"name": "a test plan", "actions": list(actions), **fields}


def graph(**dependencies):
    """Return a plan that is a graph: `graph(a=[], b=["a"])`."""
    return plan_of(*(act(action_id, names) for action_id, names in dependencies.items()))


def outcome(**validation):
    """Return an expected outcome with one validation."""
    return {"description": "", "validations": [{"name": "v", "operator": "exists", **validation}]}


def problems_of(plan, definitions=None):
    """Return the problems of a plan, which must be JSON data; none for a valid one."""
    try:
        validate_plan_with(definitions, plan)
    except PlanValidationError as error:
        json.dumps(error.errors).encode()
        return error.errors
    return []


def found(plan, definitions=None):
    """Return the code and the place of each problem."""
    return [(problem["code"], problem["path"]) for problem in problems_of(plan, definitions)]


def the_problem(plan, definitions=None):
    """Return the one problem that a plan has."""
    problems = problems_of(plan, definitions)
    assert len(problems) == 1, problems
    return problems[0]


def apply_patch(document, patch):
    """Apply the operations of JSON Patch that fixes use, to places in objects."""
    for operation in patch:
        *way, last = operation["path"].split("/")[1:]
        place = document
        for key in way:
            place = place[int(key)] if isinstance(place, list) else place[key]
        assert operation["op"] == "add" or (operation["op"] == "replace" and last in place)
        place[last] = operation["value"]


def apply_fixes(plan, problems):
    """Return the plan with all fixes applied, one after the other."""
    mended = copy.deepcopy(plan)
    for problem in problems:
        apply_patch(mended, problem.get("fix", []))
    return mended


# --- Valid plans -----------------------------------------------------------------------------------------------


def test_a_valid_plan_comes_back_as_a_model():
    """From data, from text and from a model, which is left alone."""
    plan = plan_of(
        act("a", inputs={"who": "${inputs.who}", "literal": "$${x}"}),
        act("b", ["a"], inputs={"x": ["${a.output.x}"]}, condition={"if": "${a.output.ok}"}),
        act("c", ["a"], forEach="${a.output.list}", inputs={"x": "${item.output}-${itemIndex}"}),
        act("d", ["b"], errorHandling={"alternativeActionId": "e"}),
        act("e", ["b", "d"], error_handling={"fallback_value": None}),
        inputs={"who": "me"},
        expectedOutcome=outcome(reference="${c.output}"),
    )
    model = validate_plan_with(None, plan)
    assert [action.id for action in model.actions] == ["a", "b", "c", "d", "e"]
    assert model.actions[4].error_handling.has_fallback
    assert validate_plan_with(None, model) == model
    for text in (json.dumps(plan), json.dumps(plan).encode(), "\ufeff" + json.dumps(plan)):
        assert validate_plan_with(None, text).actions == model.actions
    validate_logic_with(None, model)


def test_models_of_actions_may_stand_in_a_plan():
    """The patterns return models: a plan is made of them as they are, in a list or a tuple."""
    actions = (PlannedAction(id="a", action_definition_id="x"), act("b", ["a"]))
    assert found({"name": "n", "actions": actions}) == []
    assert found({"name": "n", "actions": list(actions)}) == []


def test_a_plan_that_was_changed_after_it_was_checked_is_checked_again():
    """A model is no proof."""
    model = validate_plan_with(None, graph(a=[]))
    model.actions[0].dependencies.append("b")
    assert found(model) == [("unknown_dependency", "/actions/0/dependencies/0")]


# --- Many problems at once -------------------------------------------------------------------------------------


def test_six_mistakes_are_six_problems():
    """All in one pass, in the order of the document."""
    plan = plan_of(
        act("a", ["a"], colour="red"),
        act("b", ["zz"]),
        act("c", inputs={"x": "${a.result}"}),
        act("d", inputs={"x": "${b.output}"}),
        act("e", errorHandling={"alternativeActionId": "nobody"}),
    )
    assert found(plan) == [
        ("schema", "/actions/0/colour"),
        ("self_dependency", "/actions/0/dependencies/0"),
        ("unknown_dependency", "/actions/1/dependencies/0"),
        ("bad_reference", "/actions/2/inputs/x"),
        ("reference_not_a_dependency", "/actions/3/inputs/x"),
        ("unknown_alternative", "/actions/4/errorHandling/alternativeActionId"),
    ]


def test_wrong_form_hides_no_wrong_logic():
    """An action without an id, one that is no object, and dependencies that are no list."""
    plan = plan_of(
        {"actionDefinitionId": "x", "inputs": {"x": "${nobody.output}"}},
        "no object",
        act("c") | {"dependencies": "a"},
        act("d", [{}, None], inputs=[]),
    )
    assert found(plan) == [
        ("schema", "/actions/0/id"),
        ("unknown_reference", "/actions/0/inputs/x"),
        ("schema", "/actions/1"),
        ("schema", "/actions/2/dependencies"),
        ("schema", "/actions/3/inputs"),
        ("schema", "/actions/3/dependencies/0"),
        ("schema", "/actions/3/dependencies/1"),
    ]


def test_the_list_of_problems_has_an_end():
    """Ten thousand mistakes are counted, and a thousand are shown."""
    problems = problems_of(plan_of(*(act(f"a{number}", [f"b{number}"]) for number in range(MAX_ACTIONS))))
    assert len(problems) == MAX_PROBLEMS + 1
    assert "9000 more problems are not listed (9000 unknown_dependency)" in problems[-1]["message"]


def test_the_logic_can_be_checked_by_itself():
    """Fields that the logic does not need may be missing or wrong."""
    plan = {"colour": "red", "actions": [{"id": "a"}, {"id": "b", "dependencies": ["a", "c"]}]}
    with pytest.raises(PlanValidationError) as caught:
        validate_logic_with(None, plan)
    assert [problem["code"] for problem in caught.value.errors] == ["unknown_dependency"]


# --- Form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"name": ""}, "/name", "'name' must not be empty"),
        ({"name": 3}, "/name", "'name' must be text, not 3"),
        ({"id": "x"}, "/id", "'id' must be a UUID, as in 123e4567-e89b-42d3-a456-426614174000, not the text 'x'"),
        ({"inputs": []}, "/inputs", "'inputs' must be an object, not a list of length 0"),
        ({"actions": None}, "/actions", "'actions' must be a list, not null"),
        ({"actions": []}, "/actions", "'actions' must not be empty"),
        ({"actions": [act("9")]}, "/actions/0/id", "'9' is no action id: one starts with a letter or _"),
        ({"actions": [act("inputs")]}, "/actions/0/id", "'inputs' is reserved"),
        ({"actions": [{"id": "a"}]}, "/actions/0/actionDefinitionId", "the field 'actionDefinitionId' is required"),
        ({"actions": [act("a", [1])]}, "/actions/0/dependencies/0", "entry 0 of 'dependencies' must be text, not 1"),
        ({"actions": [act("a", forEach="")]}, "/actions/0/forEach", "'forEach' must not be empty"),
        (
            {"actions": [act("a", condition={"if": "true", "else": "stop"})]},
            "/actions/0/condition/else",
            "'else' must be 'skip' or 'fail', not the text 'stop'",
        ),
        (
            {"actions": [act("a", user_confirmation={"required": "?", "title": "", "message": ""})]},
            "/actions/0/user_confirmation/required",
            "'required' must be true or false, not the text '?'",
        ),
        (
            {"actions": [act("a", userConfirmation={"required": True, "title": "t" * 501, "message": "m" * 4000})]},
            "/actions/0/userConfirmation/title",
            "'title' has 501 characters; it may have 500",
        ),
        (
            {"actions": [act("a", userConfirmation={"required": True, "title": "t" * 500, "message": "m" * 4001})]},
            "/actions/0/userConfirmation/message",
            "'message' has 4,001 characters; it may have 4,000",
        ),
        (
            {"expectedOutcome": {"description": "", "validations": [CHECK] * 101}},
            "/expectedOutcome/validations",
            "'validations' has 101 entries; at most 100 are allowed",
        ),
        (
            {"intent": {"original": "", "interpreted": "", "confidence": 2}},
            "/intent/confidence",
            "'confidence' must be at most 1",
        ),
        (
            {"metadata": {"createdAt": "2026-01-31T12:00:00", "estimatedDuration": 1}},
            "/metadata/createdAt",
            "'createdAt' must be a time in ISO 8601 with its offset",
        ),
        (
            {"metadata": {"createdAt": "2026-01-31T12:00:00Z", "estimatedDuration": -1}},
            "/metadata/estimatedDuration",
            "'estimatedDuration' must be at least 0",
        ),
        (
            {"metadata": {"createdAt": "2026-01-31T12:00:00Z", "estimatedDuration": 1.5}},
            "/metadata/estimatedDuration",
            "'estimatedDuration' must be a whole number, not 1.5",
        ),
    ],
)
def test_a_wrong_field_is_explained_in_plain_words(fields, path, message):
    """With its place, what it must be and what it is; without a word of pydantic."""
    problem = the_problem(plan_of(act("a")) | fields)
    assert (problem["code"], problem["path"]) == ("schema", path)
    assert problem["message"].startswith(message)
    assert "pydantic" not in problem["message"]
    assert "Input" not in problem["message"]


@pytest.mark.parametrize(
    ("plan", "path", "suggestion"),
    [
        (plan_of(act("a"), descripton="x"), "/descripton", "did you mean 'description'?"),
        (plan_of(act("a", dependsOn=[])), "/actions/0/dependsOn", "did you mean 'dependencies'?"),
        (plan_of(act("a", depends_on=[])), "/actions/0/depends_on", "did you mean 'dependencies'?"),
        (
            plan_of(act("a", errorHandling={"fallbackValu": 1})),
            "/actions/0/errorHandling/fallbackValu",
            "did you mean 'fallbackValue'?",
        ),
        (
            plan_of(act("a", condition={"if": "true", "zzz": 1})),
            "/actions/0/condition/zzz",
            "the fields here are if, then, else",
        ),
        (
            plan_of(act("a", for_each="${a.output}", forEach="${inputs.list}"), inputs={"list": []}),
            "/actions/0/for_each",
            "keep 'forEach' only",
        ),
    ],
)
def test_an_unknown_field_gets_a_suggestion(plan, path, suggestion):
    """The field that was probably meant, or the fields that are there."""
    problem = the_problem(plan)
    assert (problem["path"], problem["suggestion"]) == (path, suggestion)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "name": }', "line 2, column 11"),
        ("", "line 1, column 1"),
        ("```json\n{}\n```", "not valid JSON"),
        (b"\xff{}", "byte 0"),
        ('{"a": ' + "1" * 5_000 + "}", "thousands of digits"),
        ("null", "the plan must be an object, not null"),
        ("[]", "the plan must be an object, not a list of length 0"),
    ],
)
def test_text_that_is_no_plan_is_one_problem(text, message):
    """With line and column where it is no JSON."""
    problem = the_problem(text)
    assert (problem["code"], problem["path"]) == ("schema", "")
    assert message in problem["message"]


def test_something_else_is_no_plan():
    """The caller gets the same exception as for any wrong plan."""
    assert found(None) == [("schema", "")]
    assert found(graph(a=[])["actions"]) == [("schema", "")]


def test_a_repeated_key_is_a_problem():
    """Only one of the two values would count, so neither is taken for granted."""
    text = '{"name": "n", "name": "m", "actions": [{"id": "a", "actionDefinitionId": "x", "inputs": {"k": 1, "k": 1}}]}'
    assert found(text) == [("schema", "/name"), ("schema", "/actions/0/inputs/k")]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_a_problem(number):
    """Python reads it, and nothing else would."""
    text = json.dumps(plan_of(act("a", inputs={"x": ["?"]}))).replace('"?"', number)
    assert found(text) == [("schema", "/actions/0/inputs/x/0")]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (datetime.now(UTC), "/x"),
        ({1}, "/x"),
        (b"x", "/x"),
        ((1,), "/x"),
        (uuid4(), "/x"),
        ([10**5_000], "/x/0"),
        (float("nan"), "/x"),
        ("\ud800", "/x"),
        ({"a/\ud800~": 1}, "/x/a~1\\ud800~0"),
        ({1: 1}, "/x/1"),
        ({10**5_000: 1}, "/x/int"),
        ({(1,): 1}, "/x/tuple"),
        ([{None: 1}], "/x/0/None"),
    ],
)
def test_a_value_that_json_does_not_have_is_one_problem(value, path):
    """It could not be stored, or would be another value afterwards."""
    assert found(plan_of(act("a", inputs={"x": value}))) == [("schema", f"/actions/0/inputs{path}")]
    assert found(plan_of(act("a"), inputs={"x": value})) == [("schema", f"/inputs{path}")]


def test_a_control_character_in_a_title_is_a_problem():
    """Line ends and tabs are none, and a message may have any."""
    asks = {"required": True, "title": "Pay\x1b[2K?", "message": "\x1b"}
    plan = plan_of(act("a", userConfirmation=asks), act("b", userConfirmation={**asks, "title": "a\n\tb"}))
    assert found({**plan, "name": "a\x00"}) == [("schema", "/name"), ("schema", "/actions/0/userConfirmation/title")]


def test_an_integer_too_long_for_a_message_is_no_crash():
    """Python refuses to write it, so nothing may try."""
    assert found({10**5_000: 1} | plan_of(act("a"), description=10**5_000)) == [
        ("schema", "/int"),
        ("schema", "/description"),
    ]


def test_a_model_that_can_not_be_written_is_a_problem():
    """A model may be made without its checks."""
    model = ExecutionPlan.model_construct(
        id=uuid4(), name="\ud800", actions=[PlannedAction.model_validate(act("a"))], inputs={}
    )
    assert [code for code, _ in found(model)] == ["schema"]


# --- Bounds ----------------------------------------------------------------------------------------------------


def nested(depth):
    """Return lists in each other."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_too_many_actions_are_refused():
    """One more than the bound; before their form is looked at."""
    assert found({"actions": [None] * (MAX_ACTIONS + 1)}) == [("plan_too_large", "/actions")]


@pytest.mark.parametrize(
    "plan",
    [
        " " * (MAX_PLAN_BYTES + 1),
        "é" * (MAX_PLAN_BYTES // 2 + 1),
        b" " * (MAX_PLAN_BYTES + 1),
        plan_of(act("a"), description="x" * MAX_PLAN_BYTES),
        plan_of(act("a"), inputs={"x" * MAX_PLAN_BYTES: 1}),
    ],
    ids=["text", "encoded text", "bytes", "data", "key"],
)
def test_a_plan_that_is_too_long_is_refused(plan):
    """As text by its bytes, as data by about as many."""
    assert found(plan) == [("plan_too_large", "")]


def test_a_plan_that_grows_when_it_is_written_is_refused():
    """Lists that are shared take no room in memory, and would as JSON; one that contains itself has no end."""
    shared = [0] * 10
    for _ in range(30):
        shared = [shared] * 10
    endless = {}
    endless["again"] = endless
    for value in (shared, endless):
        assert [code for code, _ in found(plan_of(act("a"), inputs={"x": value}))] == ["plan_too_large"]


def test_the_depth_is_bounded():
    """The plan itself is the first level, its inputs the second."""
    assert found(plan_of(act("a"), inputs={"x": nested(MAX_PLAN_DEPTH - 2)})) == []
    assert found(plan_of(act("a"), inputs={"x": nested(MAX_PLAN_DEPTH - 1)})) == [("plan_too_large", "/inputs/x/0")]


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_hostile_depth_is_no_crash(opening):
    """A hundred thousand brackets are one clean problem."""
    assert found(opening * 100_000) == [("plan_too_large", "")]


# --- The graph -------------------------------------------------------------------------------------------------


def test_an_id_that_is_taken_is_a_problem():
    """It names the action that has it."""
    problem = the_problem(graph(a=[]) | {"actions": [act("a"), act("b"), act("a")]})
    assert (problem["code"], problem["path"]) == ("duplicate_action_id", "/actions/2/id")
    assert "/actions/0" in problem["message"]


def test_an_unknown_dependency_gets_a_suggestion():
    """A near miss, or the ids that there are."""
    assert the_problem(graph(fetch_user=[], b=["fetch_usr"]))["suggestion"] == "did you mean 'fetch_user'?"
    assert the_problem(graph(a=[], b=["zzzz"]))["suggestion"] == "the actions of the plan are a, b"


def test_a_dependency_on_itself_is_mended():
    """The fix takes it away."""
    plan = graph(a=[], b=["b", "a"])
    problem = the_problem(plan)
    assert (problem["code"], problem["path"]) == ("self_dependency", "/actions/1/dependencies/0")
    assert "b → b" in problem["message"]
    assert problem["fix"] == [{"op": "replace", "path": "/actions/1/dependencies", "value": ["a"]}]
    assert found(apply_fixes(plan, [problem])) == []


def test_a_dependency_that_is_listed_twice_is_mended():
    """The first stays."""
    plan = graph(a=[], b=[], c=["b", "a", "b"])
    problem = the_problem(plan)
    assert (problem["code"], problem["path"]) == ("schema", "/actions/2/dependencies/2")
    assert apply_fixes(plan, [problem])["actions"][2]["dependencies"] == ["b", "a"]


def test_each_knot_of_cycles_is_told_once():
    """The message shows the way around."""
    problems = problems_of(graph(a=["b"], b=["a"], c=["e"], d=["c"], e=["d"], f=["a", "c"]))
    assert [problem["code"] for problem in problems] == ["circular_dependency"] * 2
    assert {problem["path"].rpartition("/dependencies/0")[1] for problem in problems} == {"/dependencies/0"}
    ways = [problem["message"].rpartition(": ")[2].split(" → ") for problem in problems]
    assert [(set(way), len(way), way[0] == way[-1]) for way in ways] == [
        ({"a", "b"}, 3, True),
        ({"c", "d", "e"}, 4, True),
    ]


def test_large_graphs_are_no_crash():
    """A chain, a level, and a cycle of ten thousand actions."""
    size = MAX_ACTIONS
    chain = [act(f"a{number}", [f"a{number - 1}"] if number else []) for number in range(size)]
    assert found(plan_of(*chain)) == []
    assert found(plan_of(*reversed(chain))) == []
    chain[0]["dependencies"] = [f"a{size - 1}"]
    problem = the_problem(plan_of(*chain))
    assert problem["code"] == "circular_dependency"
    assert len(problem["message"]) < 1_000


@st.composite
def acyclic_graphs(draw):
    """Make a plan whose actions depend only on earlier ones, in a shuffled order."""
    size = draw(st.integers(2, 12))
    earlier = [draw(st.sets(st.integers(0, number - 1))) if number else set() for number in range(size)]
    actions = [act(f"a{number}", [f"a{one}" for one in sorted(names)]) for number, names in enumerate(earlier)]
    return plan_of(*draw(st.permutations(actions)))


@given(acyclic_graphs())
@settings(max_examples=MAX_EXAMPLES, deadline=None)
def test_every_acyclic_graph_is_valid(plan):
    """In whatever order the document lists it."""
    assert found(plan) == []


@given(acyclic_graphs(), st.data())
@settings(max_examples=MAX_EXAMPLES, deadline=None)
def test_every_edge_back_is_found(plan, data):
    """An edge to an action that waits for this one closes a cycle, and it is shown."""
    by_id = {action["id"]: action for action in plan["actions"]}
    last = start = data.draw(st.sampled_from(sorted(by_id)))
    while by_id[last]["dependencies"] and (last == start or data.draw(st.booleans())):
        last = data.draw(st.sampled_from(by_id[last]["dependencies"]))
    if last == start:
        return
    by_id[last]["dependencies"].append(start)
    problem = the_problem(plan)
    assert problem["code"] == "circular_dependency"
    way = problem["message"].rpartition(": ")[2].split(" → ")
    assert way[0] == way[-1]
    assert set(way) <= set(by_id)


# --- References and conditions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"inputs": {"x": ["${a}"]}}, "bad_reference", "inputs/x/0"),
        ({"inputs": {"x": "text ${a.output"}}, "bad_reference", "inputs/x"),
        ({"inputs": {"x": "${aa.output}"}}, "unknown_reference", "inputs/x"),
        ({"inputs": {"x": "${inputs.wha}"}}, "unknown_reference", "inputs/x"),
        ({"inputs": {"x": "${inputs.who.name}"}}, "unknown_reference", "inputs/x"),
        ({"inputs": {"x": "${item.x}"}}, "unknown_reference", "inputs/x"),
        ({"inputs": {"x": "${itemIndex}"}}, "unknown_reference", "inputs/x"),
        ({"inputs": {"x": "${item.output}"}}, "unknown_reference", "inputs/x"),
        ({"inputs": {"x": "${b.output}"}}, "reference_not_a_dependency", "inputs/x"),
        ({"inputs": {"x": "${c.output}"}}, "reference_not_a_dependency", "inputs/x"),
        ({"condition": {"if": "${c.status}"}}, "reference_not_a_dependency", "condition/if"),
        ({"condition": {"if": "${a.outpt}"}}, "bad_reference", "condition/if"),
        ({"condition": {"if": "${z.output}"}}, "unknown_reference", "condition/if"),
        ({"condition": {"if": "${a.output} =="}}, "bad_condition", "condition/if"),
        ({"forEach": "all of ${a.output}"}, "bad_reference", "forEach"),
        ({"forEach": "a.output"}, "bad_reference", "forEach"),
        ({"forEach": "${a.status}"}, "bad_reference", "forEach"),
        ({"forEach": "${a"}, "bad_reference", "forEach"),
        ({"forEach": "${item}"}, "unknown_reference", "forEach"),
        ({"forEach": "${c.output}"}, "reference_not_a_dependency", "forEach"),
        ({"for_each": "${c.output}"}, "reference_not_a_dependency", "for_each"),
    ],
)
def test_a_reference_that_can_not_be_resolved_is_found(fields, code, path):
    """In inputs, conditions and forEach, with its place."""
    plan = plan_of(act("a"), act("b", ["a"], **fields), act("c"), inputs={"who": "me"})
    assert found(plan) == [(code, f"/actions/1/{path}")]


def test_an_action_may_be_called_item():
    """Outside of a forEach its name is its own."""
    plan = plan_of(act("item"), act("b", ["item"], inputs={"x": "${item.output.x}"}))
    assert found(plan) == []


def test_a_missing_dependency_is_mended():
    """Once for each action that is read, however often; all fixes can be applied in any order."""
    plan = plan_of(
        {"id": "a", "actionDefinitionId": "x", "inputs": {"x": "${b.output} ${b.status}", "y": "${c.output}"}},
        act("b", ["b", "c", "c"], condition={"if": "${d.output} == ${c.output}"}),
        act("c"),
        act("d"),
    )
    problems = problems_of(plan)
    codes = [problem["code"] for problem in problems]
    assert codes == ["reference_not_a_dependency"] * 2 + ["self_dependency", "schema", "reference_not_a_dependency"]
    for ordered in (problems, problems[::-1]):
        mended = apply_fixes(plan, ordered)
        assert found(mended) == []
        assert [action.get("dependencies") for action in mended["actions"]] == [["b", "c"], ["c", "d"], [], []]


def test_a_missing_dependency_that_would_close_a_cycle_is_not_mended():
    """Neither alone, nor two of them together."""
    first, *rest = problems_of(plan_of(act("a", inputs={"x": "${b.output}"}), act("b", ["a"])))
    assert not rest
    assert "fix" not in first
    plan = plan_of(act("a", inputs={"x": "${b.output}"}), act("b", inputs={"x": "${a.output}"}))
    problems = problems_of(plan)
    assert ["fix" in problem for problem in problems] == [True, False]
    assert [code for code, _ in found(apply_fixes(plan, problems))] == ["reference_not_a_dependency"]


def test_a_fix_does_not_keep_an_alternative_from_running():
    """What an alternative depends on is waited for by its primary too."""
    plan = plan_of(
        act("p", errorHandling={"alternativeActionId": "alt"}), act("x", ["p"]), act("alt", inputs={"x": "${x.output}"})
    )
    assert "fix" not in the_problem(plan)
    plan["actions"][2]["inputs"] = {"x": "${p.status}"}
    assert found(apply_fixes(plan, problems_of(plan))) == []


@pytest.mark.parametrize(
    ("validation", "code", "path"),
    [
        ({"reference": "${a.output"}, "bad_reference", "reference"),
        ({"reference": "a.output"}, "bad_reference", "reference"),
        ({"reference": ""}, "bad_reference", "reference"),
        ({"reference": "${z.output}"}, "unknown_reference", "reference"),
        ({"reference": "${item}"}, "unknown_reference", "reference"),
        ({"reference": "${a.output}", "operator": "equals"}, "schema", "value"),
        ({"reference": "${a.output}", "operator": "contains"}, "schema", "value"),
        ({"reference": "${a.output}", "operator": "matches", "value": 1}, "schema", "value"),
        ({"reference": "${a.output}", "operator": "is"}, "schema", "operator"),
    ],
)
def test_an_expected_outcome_is_checked(validation, code, path):
    """It may read any action, and needs a value to compare with."""
    plan = plan_of(act("a"), expectedOutcome=outcome(**validation))
    assert found(plan) == [(code, f"/expectedOutcome/validations/0/{path}")]
    good = outcome(reference="${a.output}", operator="equals", value=None)
    assert found(plan_of(act("a"), expected_outcome=good)) == []


# --- Alternatives ----------------------------------------------------------------------------------------------


def with_alternatives(dependencies, **alternatives):
    """Return a plan that is a graph, some of whose actions have an alternative."""
    actions = [act(action_id, names) for action_id, names in dependencies.items()]
    for action in actions:
        if action["id"] in alternatives:
            action["errorHandling"] = {"alternativeActionId": alternatives[action["id"]]}
    return plan_of(*actions)


def test_an_unknown_alternative_gets_a_suggestion():
    """A near miss of an action's id."""
    problem = the_problem(with_alternatives({"send": [], "send_backup": []}, send="send_bakup"))
    assert (problem["code"], problem["suggestion"]) == ("unknown_alternative", "did you mean 'send_backup'?")


def test_alternatives_that_lead_back_are_found():
    """An action that is its own alternative, and a longer way around; a chain is none."""
    assert found(with_alternatives({"a": []}, a="a")) == [
        ("alternative_cycle", "/actions/0/errorHandling/alternativeActionId")
    ]
    problem = the_problem(with_alternatives({"a": [], "b": [], "c": []}, a="b", b="c", c="a"))
    assert problem["code"] == "alternative_cycle"
    assert problem["message"].count(" → ") == 3
    assert found(with_alternatives({"a": [], "b": [], "c": []}, a="b", b="c")) == []


@pytest.mark.parametrize(
    "dependencies",
    [
        {"p": [], "alt": []},
        {"p": [], "alt": ["p"]},
        {"before": [], "p": ["before"], "alt": ["before", "p"]},
        {"before": [], "p": [], "alt": ["before"]},
        {"p": [], "alt": ["p"], "after": ["p", "alt"]},
    ],
)
def test_an_alternative_that_can_run_in_time_is_valid(dependencies):
    """It may depend on its primary, and on what does not wait for that."""
    assert found(with_alternatives(dependencies, p="alt")) == []


@pytest.mark.parametrize(
    "dependencies",
    [
        {"p": [], "x": ["p"], "alt": ["x"]},
        {"p": [], "x": ["p"], "y": ["x"], "alt": ["y", "p"]},
        {"p": ["alt"], "alt": []},
        {"p": ["x"], "x": ["alt"], "alt": []},
    ],
)
def test_an_alternative_that_waits_for_its_primary_is_circular(dependencies):
    """What it needs would only be there after the action whose place it takes."""
    problem = the_problem(with_alternatives(dependencies, p="alt"))
    assert (problem["code"], problem["path"]) == (
        "circular_dependency",
        "/actions/0/errorHandling/alternativeActionId",
    )
    assert "the alternative 'alt' can't run in time" in problem["message"]
    assert " → " in problem["message"]


def test_a_shared_alternative_can_not_depend_on_both_primaries():
    """In place of the one it would wait for the other, and the other way round."""
    plan = with_alternatives({"p": [], "q": [], "alt": ["p", "q"]}, p="alt", q="alt")
    assert the_problem(plan)["code"] == "circular_dependency"
    assert found(with_alternatives({"p": [], "q": [], "alt": ["p"]}, p="alt", q="alt")) == []


def test_an_alternative_of_an_alternative_stands_in_the_same_place():
    """It may depend on those before it in the chain, and on nothing that waits for them."""
    chain = {"p": "alt", "alt": "last"}
    assert found(with_alternatives({"p": [], "alt": ["p"], "last": ["p", "alt"]}, **chain)) == []
    assert found(with_alternatives({"p": [], "x": ["p"], "alt": [], "last": ["x"]}, **chain)) == [
        ("circular_dependency", "/actions/0/errorHandling/alternativeActionId")
    ]
    assert found(with_alternatives({"p": ["last"], "alt": [], "last": []}, **chain)) == [
        ("circular_dependency", "/actions/0/errorHandling/alternativeActionId")
    ]


@given(st.data())
@settings(max_examples=MAX_EXAMPLES * 4, deadline=None)
def test_a_valid_plan_with_alternatives_can_be_put_in_order(data):
    """What validation lets through has levels, and what has none is refused."""
    names = [f"a{number}" for number in range(data.draw(st.integers(2, 6)))]
    dependencies = {name: data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) for name in names}
    dependencies = {name: [other for other in ahead if other != name] for name, ahead in dependencies.items()}
    plan = with_alternatives(dependencies, **data.draw(st.dictionaries(*[st.sampled_from(names)] * 2, max_size=3)))
    actions = [PlannedAction.model_validate(action) for action in plan["actions"]]
    if problems := problems_of(plan):
        assert {problem["code"] for problem in problems} <= {"circular_dependency", "alternative_cycle"}
    else:
        schedule_levels(actions)
    event("valid" if not problems else "refused")


def test_alternatives_that_are_shared_without_measure_are_refused():
    """The order would have millions of edges."""
    half = {f"d{number}": [] for number in range(2_000)}
    shared = {f"p{number}": "alt" for number in range(2_000)}
    plan = with_alternatives(half | {name: [] for name in shared} | {"alt": list(half)}, **shared)
    assert found(plan) == [("plan_too_large", "/actions")]
    assert found(with_alternatives(half | {name: [] for name in shared} | {"alt": ["d0"]}, **shared)) == []


def test_a_cycle_of_dependencies_is_not_told_again_for_its_alternatives():
    """One knot, one problem."""
    plan = with_alternatives({"a": ["b"], "b": ["a"], "alt": ["a", "b"]}, a="alt")
    assert [code for code, _ in found(plan)][:1] == ["circular_dependency"]
    assert len(found(plan)) <= 2


# --- Definitions -----------------------------------------------------------------------------------------------


def definition(url="https://example.test/", **fields):
    """Return the definition `echo`, by its id."""
    return {"echo": ActionDefinition.model_validate({"id": "echo", "endpoint": {"url": url}, **fields})}


def test_definitions_are_checked_only_where_they_are_known():
    """A process that only submits plans may have none."""
    plan = plan_of(act("a") | {"actionDefinitionId": "ecko"})
    assert found(plan) == []
    problem = the_problem(plan, definitions=definition())
    assert (problem["code"], problem["path"]) == ("unknown_action_definition", "/actions/0/actionDefinitionId")
    assert problem["suggestion"] == "did you mean 'echo'?"
    with pytest.raises(PlanValidationError):
        validate_logic_with({}, plan)


def test_what_the_url_needs_must_be_a_plain_input():
    """A query parameter of the same name does not fill a placeholder."""
    catalog = definition("https://example.test/users/{userId}/{part}?q={q}")
    plan = plan_of(act("a", inputs={"part": 1, "query.q": 2}))
    assert found(plan, definitions=catalog) == [
        ("bad_input", "/actions/0/inputs/query.q"),
        ("missing_input", "/actions/0/inputs/userId"),
        ("missing_input", "/actions/0/inputs/q"),
    ]
    assert found(plan_of(act("a", inputs={"part": 1, "userId": "x", "q": 2})), definitions=catalog) == []


def test_a_placeholder_after_a_dollar_sign_is_one_as_well():
    """The dollar sign is text of the URL: the request needs the value, so the plan does."""
    catalog = definition("https://example.test/prices/${amount}")
    assert found(plan_of(act("a")), definitions=catalog) == [("missing_input", "/actions/0/inputs/amount")]
    assert found(plan_of(act("a", inputs={"amount": 5})), definitions=catalog) == []


@pytest.mark.parametrize(
    ("inputs", "missing"),
    [
        ({}, ["/actions/0/inputs/title"]),
        ({"body.title": 1}, []),
        ({"query.title": 1}, []),
        ({"body": {"title": 1}}, []),
        ({"body": {"text": 1}}, ["/actions/0/inputs/title"]),
        ({"body": "${inputs.body}"}, []),
    ],
)
def test_what_the_input_schema_requires_must_be_there(inputs, missing):
    """In any of the ways to give an input; a whole body may come from a reference."""
    endpoint = {"url": "https://example.test/", "method": "POST"}
    catalog = definition(endpoint=endpoint, inputSchema={"type": "object", "required": ["title"]})
    plan = plan_of(act("a", inputs=inputs), inputs={"body": {}})
    assert found(plan, definitions=catalog) == [("missing_input", path) for path in missing]


def test_what_the_input_schema_requires_may_fill_a_placeholder():
    """Where it stands without a prefix, the URL has to have it."""
    schema = {"type": "object", "required": ["title"]}
    plan = plan_of(act("a", inputs={"title": 1}))
    assert found(plan, definitions=definition("https://example.test/{title}", inputSchema=schema)) == []
    assert found(plan, definitions=definition(inputSchema=schema)) == [("bad_input", "/actions/0/inputs/title")]


def test_an_alternative_runs_once():
    """One with a forEach is refused, and named."""
    document = {
        "name": "x",
        "inputs": {"list": [1]},
        "actions": [
            {"id": "a", "actionDefinitionId": "echo", "errorHandling": {"alternativeActionId": "b"}},
            {"id": "b", "actionDefinitionId": "echo", "forEach": "${inputs.list}"},
        ],
    }
    with pytest.raises(PlanValidationError) as caught:
        validate_plan_with(None, document)
    [problem] = caught.value.errors
    assert problem["path"] == "/actions/0/errorHandling/alternativeActionId"
    assert "forEach" in problem["message"]


@pytest.mark.parametrize("operator", [[], {}, None, 1])
def test_an_operator_that_is_no_text_is_a_problem_like_any_other(operator):
    """It was looked up in a set, which a list can't be."""
    plan = {**graph(a=[]), "expectedOutcome": outcome(reference="${a.output}", operator=operator)}
    with pytest.raises(PlanValidationError) as caught:
        validate_plan_with(None, plan)
    assert [problem["path"] for problem in caught.value.errors] == ["/expectedOutcome/validations/0/operator"]
