"""What references read of stored outputs."""

import json

import pytest

from workflow_state.actions.storage.outputs import store_output
from workflow_state.engine.contents import with_contents
from workflow_state.errors import ReferenceResolutionError, StorageError
from workflow_state.plans.resolving import resolve_value
from workflow_state.settings import get_settings


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Store in a folder of the test's own."""
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    get_settings.cache_clear()


def stored(data, content_type="application/json"):
    """Return the result of an action with this answer."""
    location = store_output(data, content_type, "e", "a", 1).to_json_data()
    output = {"stored": True, "location": location["path"], "size": len(data), "contentType": content_type}
    return {"status": "success", "output": output, "outputLocation": location}


def of_action(data, content_type="application/json"):
    """Return a scope with an action of this answer."""
    return {"a": {"status": "completed", "result": stored(data, content_type)}}


def resolve(value, scope):
    """Resolve as an attempt does."""
    return resolve_value(value, with_contents(value, scope))


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("${a.output.content}", {"n": [1, {"x": "ü"}]}),
        ("${a.output.content.n[1].x}", "ü"),
        ('got ${a.output["content"].n}', 'got [1,{"x":"ü"}]'),
        ("${a.output.size}", 27),
        ("${a.status}", "completed"),
    ],
)
def test_json_is_its_value(reference, value):
    """With its types, also inside a text."""
    data = json.dumps({"n": [1, {"x": "ü"}]}).encode()
    assert resolve([reference], of_action(data)) == [value]


def test_text_is_a_string():
    """In the charset that it came in; and what looks like a reference in it is none."""
    scope = of_action("${a.status} ü".encode("latin-1"), "text/plain; charset=latin-1")
    assert resolve("${a.output.content}", scope) == "${a.status} ü"


def test_only_what_is_asked_for_is_read(folder):
    """And the scope that was given stays as it was."""
    scope = of_action(b"[1]")
    assert resolve("${a.output.content[0]}", scope) == 1
    assert "content" not in scope["a"]["result"]["output"]
    for path in folder.rglob("1-*"):
        path.unlink()
    value = {"x": ["${a.output}", "${a.output.location}", "${b.output.content}", "$${a.output.content}"]}
    assert with_contents(value, {**scope, "inputs": {}}) == {**scope, "inputs": {}}
    with pytest.raises(StorageError, match="is not there"):
        resolve("${a.output.content}", scope)


def test_an_element_of_a_list_is_read_by_its_index():
    """Not one that its list's fallback value took the place of."""
    element = stored(b'{"n": 7}')
    elements = [{"index": 0}, {"index": 1, "outputLocation": element["outputLocation"]}]
    result = {"status": "success", "output": [{"content": 1}, element["output"]]}
    scope = {"a": {"status": "completed", "result": result, "elements": elements}}
    assert resolve(["${a.output[1].content.n}", "${a.output[0].content}"], scope) == [7, 1]
    fallback = {**scope["a"], "result": {"status": "success", "output": [1, 2], "usedFallback": True}}
    assert resolve("${a.output[1]}", {"a": fallback}) == 2
    assert with_contents("${a.output[1].content}", {"a": fallback}) == {"a": fallback}


@pytest.mark.parametrize(
    ("data", "content_type", "reference", "why"),
    [
        (b"\xff", "image/png", "${a.output.content}", "binary"),
        (b" " * 2**20 + b"1", "application/json", "${a.output.content}", "has 1048577 bytes"),
        (b"[1]", "application/json", "${a.output[0]}", r"begins at \$\{a\.output\.content\}"),
        (b"[1]", "application/json", "${a.output.content[1]}", "index 1"),
    ],
)
def test_what_can_not_be_read_says_why(data, content_type, reference, why):
    """Before it is read, where that can be known."""
    with pytest.raises(ReferenceResolutionError, match=why):
        resolve(reference, of_action(data, content_type))
