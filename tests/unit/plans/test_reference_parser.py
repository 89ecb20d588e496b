"""References: how they are written, what they stand for, and that nothing is read twice."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workflow_state.errors import ReferenceParseError, ReferenceResolutionError
from workflow_state.plans.references import (
    ParsedReference,
    find_references,
    iterate_references,
    parse_reference,
    split_text,
)
from workflow_state.plans.resolving import MAX_RESOLVED_BYTES, resolve_reference, resolve_value
from workflow_state.schema import ActionExecutionState

MAX_EXAMPLES = 60

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,12}", fullmatch=True)
ACTION_IDS = NAMES.filter(lambda name: name not in {"inputs", "item", "itemIndex"})
TEXTS = st.text(max_size=20)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4),
    max_leaves=12,
)
# Text in which the characters of references are likely.
REFERENCE_LIKE = st.lists(
    st.sampled_from(
        ["$", "{", "}", "${", ".", "[", "]", '"', "\\", "a", "output", "status", "inputs", "item", "0", " "]
    )
    | st.characters(),
    max_size=20,
).map("".join)


def completed(output):
    """Return the state of an action that has this output, in its short form."""
    return {"status": "completed", "output": output}


def write_path(path):
    """Write a path with quoted keys, which any key can be."""
    return "".join(f"[{json.dumps(step)}]" for step in path)


@st.composite
def values_with_paths(draw):
    """Make a JSON value, a path to something in it, and what stands there by a naive walk."""
    root = value = draw(JSON_VALUES)
    path = []
    while isinstance(value, (dict, list)) and value and draw(st.booleans()):
        step = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        path.append(step)
        value = value[step]
    return root, path, value


@pytest.mark.parametrize(
    ("text", "root", "field", "path"),
    [
        ("${a.output}", "a", "output", ()),
        ("${a-1.output.b.c[0].d}", "a-1", "output", ("b", "c", 0, "d")),
        ('${a.output["any key"]["\\"}\\u00e9"][12]}', "a", "output", ("any key", '"}é', 12)),
        ("${a.status}", "a", "status", ()),
        ("${inputs}", "inputs", None, ()),
        ("${inputs.output.path}", "inputs", None, ("output", "path")),
        ("${item}", "item", None, ()),
        ("${item.x[0]}", "item", None, ("x", 0)),
        ("${item.output.x}", "item", "output", ("x",)),
        ("${itemIndex}", "itemIndex", None, ()),
    ],
)
def test_a_reference_is_read(text, root, field, path):
    """Each form gives its root, its field and its path."""
    assert parse_reference(text) == ParsedReference(text, root, field, path)


@pytest.mark.parametrize("text", ["", "plain", "$", "{}", "$${a.output}", "x ${a.output}", "${a.output} ", "x ${a"])
def test_other_text_is_no_reference(text):
    """Plain text, an escape, and a reference with text around it are not one reference."""
    assert parse_reference(text) is None


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("${a}", "write ${a.output} or ${a.status}"),
        ("${a.result.x}", "write ${a.output.x}"),
        ("${a.x[0]}", "write ${a.output.x[0]}"),
        ("${a[0]}", "write ${a.output[0]}"),
        ("${a.status.x}", "write ${a.status}"),
        ("${input.x}", "write ${inputs.x}"),
        ("${env.TOKEN}", "a plan can't read the environment"),
        ("${}", "the reference is empty"),
        ("${ a.output}", "not with ' '"),
        ("${${x}}", "can't be nested"),
        ("${a.output${b.output}}", "can't be nested"),
        ("${", "not closed"),
        ("${a.output", "not closed"),
        ("${a.output.", "not closed"),
        ("${a.output.0}", "write [0]"),
        ("${a.output.é}", 'write ["the key"]'),
        ("${a.output[-1]}", "an index from 0"),
        ("${a.output[01]}", "an index from 0"),
        ("${a.output[9999999999]}", "an index from 0"),
        ("${a.output['k']}", "double quotes"),
        ('${a.output["k}', "not a JSON string"),
        ('${a.output["k"}', "followed by ]"),
        ('${a.output["\\ud800"]}', "surrogate"),
        ("${a.output.x > 3}", "outside of ${…}"),
    ],
)
def test_a_malformed_reference_is_refused_with_advice(text, advice):
    """The message says what is wrong and what to write."""
    with pytest.raises(ReferenceParseError) as caught:
        parse_reference(text)
    assert advice in str(caught.value)


def test_a_long_malformed_reference_makes_a_short_message():
    """Text of any length is wrong in few words."""
    with pytest.raises(ReferenceParseError) as caught:
        parse_reference("${a." + "x" * 100_000 + "}")
    assert len(str(caught.value)) < 500


def test_text_is_split_at_its_references():
    """Escapes become literal text, and nothing is lost between references."""
    parts = split_text("a $${b} ${c.output} $$${d} ${e.status}${f.output}")
    assert [part if isinstance(part, str) else (part.text,) for part in parts] == [
        "a ${b} ",
        ("${c.output}",),
        " $${d} ",
        ("${e.status}",),
        ("${f.output}",),
    ]


def test_all_references_of_a_text_are_found():
    """In order; a malformed one raises wherever it stands."""
    assert [found.action_id for found in find_references("${b.output} and ${a.status} $${c}")] == ["b", "a"]
    with pytest.raises(ReferenceParseError):
        find_references("${b.output} and ${a}")


def test_references_anywhere_in_a_value_are_found_with_their_place():
    """The place is a JSON Pointer; a malformed reference comes as its error, and the rest is still looked at."""
    value = {
        "a/b": ["${x.output}", {"~": "see ${y.status} and ${z.output}"}],
        "bad": "${q}",
        "n": 1,
        "last": "${l.output}",
    }
    found = list(iterate_references(value))
    assert [(place, getattr(one, "action_id", "error")) for place, one in found] == [
        ("/a~1b/0", "x"),
        ("/a~1b/1/~0", "y"),
        ("/a~1b/1/~0", "z"),
        ("/bad", "error"),
        ("/last", "l"),
    ]
    assert [place for place, _ in iterate_references("${x.output}")] == [""]


def test_references_are_found_at_any_depth():
    """Depth costs no stack."""
    value = "${a.output}"
    for _ in range(2_000):
        value = [value]
    assert [found.action_id for _, found in iterate_references(value)] == ["a"]


@given(action_id=ACTION_IDS, path=st.lists(NAMES | TEXTS | st.integers(0, 999_999_999), max_size=5))
@settings(max_examples=MAX_EXAMPLES, deadline=None)
def test_what_is_written_is_read_back(action_id, path):
    """Any path of keys and indexes can be written as a reference, and is read as it was meant."""
    parsed = parse_reference(f"${{{action_id}.output{write_path(path)}}}")
    assert (parsed.action_id, parsed.field, parsed.path) == (action_id, "output", tuple(path))


@given(REFERENCE_LIKE)
@settings(max_examples=MAX_EXAMPLES * 2, deadline=None)
@example("${a\ud800}")
def test_no_text_raises_anything_but_a_parse_error(text):
    """Whatever a model writes is a reference, none, or a ReferenceParseError with a message that can be stored."""
    for read in (parse_reference, find_references, split_text):
        try:
            read(text)
        except ReferenceParseError as error:
            str(error).encode()


@given(values_with_paths())
@settings(max_examples=MAX_EXAMPLES, deadline=None)
def test_a_reference_stands_for_what_a_walk_finds(case):
    """Down any path of an output, with its JSON type."""
    output, path, expected = case
    results = {"a": completed(output)}
    assert resolve_reference(f"${{a.output{write_path(path)}}}", results) == expected
    resolved = resolve_value(f"${{a.output{write_path(path)}}}", results)
    assert resolved == expected
    assert type(resolved) is type(expected)


@given(output=REFERENCE_LIKE | st.sampled_from(["${a.output}", "$${", "${secret.output}"]), before=TEXTS, after=TEXTS)
@settings(max_examples=MAX_EXAMPLES, deadline=None)
def test_a_response_is_never_scanned(output, before, after):
    """An output that looks like a reference stays the text that it is, alone and inside a longer string."""
    results = {"a": completed(output), "secret": completed("leaked")}
    before, after = before.replace("$", ""), after.replace("$", "")
    value = {"alone": "${a.output}", "within": before + "<${a.output}>" + after, "nested": ["${a.output}"]}
    assert resolve_value(value, results) == {
        "alone": output,
        "within": f"{before}<{output}>{after}",
        "nested": [output],
    }


@given(JSON_VALUES)
@settings(max_examples=MAX_EXAMPLES, deadline=None)
def test_a_value_without_references_is_copied(value):
    """Equal, with the same order of keys, and not the same objects."""
    value = json.loads(json.dumps(value).replace("${", "$"))
    copy = resolve_value(value, {})
    assert json.dumps(copy) == json.dumps(value)
    assert copy is not value or not isinstance(value, (dict, list))


def test_values_within_text_are_written_as_json():
    """Text as it is; the rest as compact JSON."""
    results = {"a": completed({"t": "ü", "n": 1.5, "b": True, "z": None, "o": {"k": [1, "ü"]}})}
    text = "${a.output.t}|${a.output.n}|${a.output.b}|${a.output.z}|${a.output.o}|$${x}"
    assert resolve_value(text, results) == 'ü|1.5|true|null|{"k":[1,"ü"]}|${x}'


def test_a_resolved_output_is_a_copy():
    """Changing the inputs changes no result."""
    results = {"a": completed({"list": [1]})}
    resolve_value({"x": "${a.output}"}, results)["x"]["list"].append(2)
    assert results["a"]["output"] == {"list": [1]}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("${a.output.usr}", ['no key "usr"', "a.output", "the keys list, user", "did you mean 'user'?"]),
        ("${a.output.list[2]}", ["no index 2", "a.output.list is a list of length 2"]),
        ("${a.output.list.x}", ['no key "x"', "a list of length 2"]),
        ("${a.output.user[0]}", ["no index 0", "an object with the keys name"]),
        ("${a.output.user.name.__class__}", ['no key "__class__"', "a.output.user.name is text"]),
        ('${a.output["user"]["odd key"].x}', ['no key "odd key"']),
        ("${inputs.nope}", ['no key "nope"', "inputs is an object with the keys limit"]),
        ("${failed.output}", ["'failed' is failed", "${failed.status} can be read"]),
        ("${blocked.output.x}", ["was skipped because an action that it needs failed"]),
        ("${b.output}", ["no action 'b' has a result here"]),
        ("${aa.output}", ["did you mean 'a'?"]),
        ("${item}", ["no forEach runs here"]),
    ],
)
def test_what_is_not_there_is_named(text, parts):
    """The message has the path that failed and what is there instead."""
    results = {
        "a": completed({"user": {"name": "x"}, "list": [1, 2]}),
        "failed": {"actionId": "failed", "status": "failed", "result": {"status": "failure", "error": {}}},
        "blocked": {"status": "skipped", "result": {"status": "skipped", "reason": "", "blockedBy": "failed"}},
        "inputs": {"limit": 3},
    }
    for resolve in (resolve_reference, resolve_value):
        with pytest.raises(ReferenceResolutionError) as caught:
            resolve(text, results)
        for part in parts:
            assert part in str(caught.value)


def test_only_the_first_keys_are_named():
    """An object with a thousand keys makes no message of a thousand keys."""
    with pytest.raises(ReferenceResolutionError, match=r"k000, .*k009 and 990 more"):
        resolve_reference("${a.output.zzzzzzz}", {"a": completed({f"k{i:03}": i for i in range(1_000)})})


@pytest.mark.parametrize(
    ("state", "output", "status"),
    [
        ({"status": "completed", "output": {"x": 1}}, 1, "completed"),
        ({"actionId": "a", "status": "completed", "result": {"status": "success", "output": {"x": 1}}}, 1, "completed"),
        ({"status": "skipped"}, None, "skipped"),
        ({"actionId": "a", "status": "skipped", "result": {"status": "skipped", "reason": "no"}}, None, "skipped"),
    ],
)
def test_states_are_read_in_every_form(state, output, status):
    """The short form, JSON data and the model; the output of an action that its condition skipped is null."""
    forms = [state] + ([ActionExecutionState.model_validate(state)] if "actionId" in state else [])
    for form in forms:
        assert resolve_reference("${a.output.x}", {"a": form}) == output
        assert resolve_reference("${a.status}", {"a": form}) == status


def test_a_failed_model_has_no_output():
    """Neither has one that was skipped because of a failure."""
    skipped = {"status": "skipped", "reason": "", "blockedBy": "x"}
    failure = {"status": "failure", "error": {"category": "validation_failed", "message": "no"}}
    for status, result in (("failed", failure), ("skipped", skipped), ("pending", None)):
        state = ActionExecutionState.model_validate({"actionId": "a", "status": status, "result": result})
        with pytest.raises(ReferenceResolutionError):
            resolve_reference("${a.output}", {"a": state})


def test_a_for_each_shadows_an_action_called_item():
    """Outside of a forEach the name is the action's."""
    action = completed({"x": "action"})
    assert resolve_reference("${item.output.x}", {"item": action}) == "action"
    assert resolve_reference("${item.output.x}", {"item": {"output": {"x": "element"}}, "itemIndex": 0}) == "element"
    assert resolve_reference("${item.status}", {"item": {"status": 7}, "itemIndex": 0}) == 7
    assert resolve_reference("${itemIndex}", {"item": None, "itemIndex": 0}) == 0


def test_text_that_is_not_one_reference_can_not_be_resolved_as_one():
    """It says what to write; so does a result that is no state."""
    with pytest.raises(ReferenceParseError, match="not exactly one reference"):
        resolve_reference("text ${a.output}", {})
    with pytest.raises(ReferenceResolutionError, match="not text"):
        resolve_reference("${a.output}", {"a": "text"})


@pytest.mark.parametrize("template", ["${a.output}", "x${a.output}"])
def test_the_resolved_size_is_bounded(template):
    """References that repeat a large value are refused before the copies are made."""
    results = {"a": completed({"list": ["x" * 1_000] * 500})}
    resolve_value(template, results)
    with pytest.raises(ReferenceResolutionError, match=str(MAX_RESOLVED_BYTES)):
        resolve_value([template] * 1_000, results)
    with pytest.raises(ReferenceResolutionError, match=str(MAX_RESOLVED_BYTES)):
        resolve_value("${a.output.list}" * 100, results)


def test_the_resolved_depth_is_bounded():
    """A structure that is nested too deeply, or contains itself, is an error and no crash."""
    endless = []
    endless.append(endless)
    for template in ("${a.output}", "x${a.output}"):
        with pytest.raises(ReferenceResolutionError, match="nested deeper"):
            resolve_value(template, {"a": completed(endless)})


def test_what_is_no_json_is_refused():
    """An object is never turned into text by itself."""
    with pytest.raises(ReferenceResolutionError, match="a set, which is not JSON"):
        resolve_value({"x": {1}}, {})
