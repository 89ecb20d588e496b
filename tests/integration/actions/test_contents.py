"""What references read of stored outputs: the same as of any other."""

import json

import pytest

from workflow_state.actions.storage import outputs
from workflow_state.actions.storage.outputs import store_output
from workflow_state.engine import contents
from workflow_state.engine.contents import MAX_READ_BYTES, with_stored_values
from workflow_state.errors import ReferenceResolutionError, StorageError
from workflow_state.plans.conditions import evaluate_condition, evaluate_validation
from workflow_state.plans.resolving import resolve_value
from workflow_state.rules.for_each import list_elements
from workflow_state.schema import OutcomeValidation, PlannedAction
from workflow_state.settings import get_settings

ORDERS = {"orders": [1, {"id": "ü"}], "location": "Berlin", "content": {"n": 1}, "size": "XL", "stored": False}


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Store in a folder of the test's own."""
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def reads(monkeypatch):
    """Count how often the storage is read, which still happens."""
    counted = []
    monkeypatch.setattr(contents, "read_stored", lambda location: counted.append(1) or outputs.read_stored(location))
    return counted


def stored(data, content_type="application/json"):
    """Return the result of an action with this answer."""
    location = store_output(data, content_type, "e", "a", 1).to_json_data()
    output = {"stored": True, "location": location["path"], "size": len(data), "contentType": content_type}
    return {"status": "success", "output": output, "outputLocation": location}


def of_action(data, content_type="application/json"):
    """Return the results with an action of this answer."""
    return {"a": {"status": "completed", "result": stored(data, content_type)}}


def resolve(value, results):
    """Resolve as an attempt does."""
    return resolve_value(value, with_stored_values(results))


def as_json(value):
    """Return the results with an action whose answer is this value."""
    return of_action(json.dumps(value).encode())


@pytest.mark.parametrize(
    "reference",
    [
        "${a.output}",
        "${a.output.orders}",
        "${a.output.orders[1].id}",
        'got ${a.output["orders"]} and ${a.status}',
        "${a.output.location}",
        "${a.output.content}",
        "${a.output.content.n}",
        "${a.output.size}",
        "${a.output.stored}",
    ],
)
def test_a_reference_means_the_same_whatever_the_size(reference):
    """Also where the answer has keys of its own that a stored output has too."""
    inline = {"a": {"status": "completed", "result": {"status": "success", "output": ORDERS}}}
    assert resolve([reference], as_json(ORDERS)) == resolve([reference], inline)


def test_where_it_is_stored_is_no_part_of_the_value():
    """The path of a file is nothing that a server is to get."""
    for name in ("location", "size", "contentType", "stored"):
        with pytest.raises(ReferenceResolutionError, match=f'there is no key "{name}"'):
            resolve(f"${{a.output.{name}}}", as_json({"orders": []}))


def test_plans_of_earlier_versions_read_the_content():
    """What they called `.content` is the value, where that has no key of this name."""
    assert resolve("${a.output.content.orders[0]}", as_json({"orders": [7]})) == 7
    assert resolve("${a.output.content[0]}", as_json([7])) == 7


def test_json_lines_are_a_list():
    """As they are inline."""
    results = of_action(b'{"n": 1}\n{"n": 2}\n', "application/x-ndjson")
    assert resolve(["${a.output[1].n}", "${a.output}"], results) == [2, [{"n": 1}, {"n": 2}]]


def test_text_is_what_it_is_inline():
    """In the charset that it came in; and what looks like a reference in it is none."""
    results = of_action("${a.status} ü".encode("latin-1"), "text/plain; charset=latin-1")
    assert resolve(["${a.output.text}", "${a.output}"], results) == ["${a.status} ü", {"text": "${a.status} ü"}]
    assert resolve("${a.output.content}", results) == "${a.status} ü"


def test_bytes_stay_bytes(reads):
    """A reference hands on where they are, and reads nothing; their content is read where it is text."""
    results = of_action(b"\xff\0", "image/png")
    summary = results["a"]["result"]["output"]
    assert resolve(["${a.output}", "${a.output.size}", "${a.output.location}"], results) == [
        summary,
        2,
        summary["location"],
    ]
    assert not reads
    assert resolve("${a.output.content}", of_action("ü,1\n".encode(), "application/octet-stream")) == "ü,1\n"


def test_it_is_read_once_and_only_where_a_reference_gets_to_it(reads, folder):
    """The results that were given stay as they were."""
    results = as_json(ORDERS)
    before = json.dumps(results)
    scope = with_stored_values(results)
    resolve_value({"x": ["${a.status}", "$${a.output}"]}, scope)
    assert not evaluate_condition("${a.status} == 'failed' && ${a.output.orders[0]} == 1", scope)
    assert not reads
    assert evaluate_condition("${a.output.orders[0]} == 1 && size(${a.output.orders}) == 2", scope)
    resolve_value(["${a.output.orders}", "${a.output.size}"], scope)
    assert len(reads) == 1
    assert json.dumps(results) == before
    for path in folder.rglob("1-*"):
        path.unlink()
    with pytest.raises(StorageError, match="is not there"):
        resolve("${a.output}", results)


def test_the_elements_of_a_list_are_read():
    """By index or as a whole; not where its list's fallback value took the place of them."""
    element = stored(b'{"n": 7}')
    elements = [{"index": 0}, {"index": 1, "outputLocation": element["outputLocation"]}]
    result = {"status": "success", "output": [{"content": 1}, element["output"]]}
    results = {"a": {"status": "completed", "result": result, "elements": elements}}
    assert resolve(["${a.output[1].n}", "${a.output[0].content}"], results) == [7, 1]
    assert resolve(["${a.output[1].content.n}", "${a.output}"], results) == [7, [{"content": 1}, {"n": 7}]]
    assert evaluate_condition("${a.output}.exists(x, has(x.n) && x.n == 7)", with_stored_values(results))
    fallback = {**results["a"], "result": {"status": "success", "output": [1, 2], "usedFallback": True}}
    assert resolve("${a.output[1]}", {"a": fallback}) == 2
    each = PlannedAction.model_validate(
        {"id": "each", "actionDefinitionId": "d", "forEach": "${a.output}", "dependencies": ["a"], "inputs": {}}
    )
    scope = with_stored_values(results)
    item = list_elements(each, scope)[1]
    assert resolve_value("${item.n}", {**scope, "item": item, "itemIndex": 1}) == 7


def test_an_expected_outcome_reads_the_value():
    """What was found is in the result where there is room for it."""
    scope = with_stored_values(as_json({"n": 7, "text": "x" * 100_000}))
    small, large = (
        evaluate_validation(
            OutcomeValidation.model_validate({"name": "v", "reference": reference, **rest}),
            scope,
        )
        for reference, rest in [
            ("${a.output.n}", {"operator": "equals", "value": 7}),
            ("${a.output.text}", {"operator": "matches", "value": "^x+$"}),
        ]
    )
    assert small.passed
    assert small.actual == 7
    assert large.passed
    assert "actual" not in large.to_json_data()
    assert len(large.message) < 1_000


@pytest.mark.parametrize("operator", ["exists", "equals"])
def test_an_expected_outcome_that_can_not_be_read_does_not_pass(operator, folder):
    """The execution ends all the same."""
    results = as_json({"n": 7})
    for path in folder.rglob("1-*"):
        path.unlink()
    validation = OutcomeValidation.model_validate(
        {"name": "v", "reference": "${a.output.n}", "operator": operator, "value": 7}
    )
    result = evaluate_validation(validation, with_stored_values(results))
    assert not result.passed
    assert "is not there" in result.message


def test_a_plan_input_that_looks_stored_is_not_followed():
    """Nor an output that does; only what we wrote beside an output is a location."""
    liar = {"a": {"status": "completed", "result": {"status": "success", "output": stored(b"[1]")}}}
    assert resolve("${a.output}", liar) == liar["a"]["result"]["output"]


@pytest.mark.parametrize(
    ("data", "content_type", "reference", "why"),
    [
        (b"\xff", "image/png", "${a.output.content}", "binary"),
        (b"\xff", "image/png", "${a.output.orders}", 'no key "orders"'),
        (b" " * MAX_READ_BYTES + b"1", "application/json", "${a.output.n}", f"has {MAX_READ_BYTES + 1} bytes"),
        (b'"' + b"x" * 2**20 + b'"', "application/json", "${a.output}", "larger than 1048576 bytes"),
        (b"[1]", "application/json", "${a.output[1]}", "index 1"),
    ],
)
def test_what_can_not_be_read_says_why(data, content_type, reference, why):
    """Before it is read, where that can be known."""
    with pytest.raises(ReferenceResolutionError, match=why):
        resolve(reference, of_action(data, content_type))
