"""What is written as YAML is read back unchanged, and looks the same with libyaml as without it."""

import pytest

from workflow_state.actions.definitions import yaml as writing
from workflow_state.actions.definitions.files import read_definition_files
from workflow_state.actions.definitions.yaml import write_definitions

ENDPOINT = {"url": "https://shop.example/{name}", "method": "GET"}
TEXTS = [
    "no",
    "1e3",
    "~",
    "0o17",
    "2024-01-01",
    "a: b # c",
    "é 😀",
    "two\nlines",
    "word " * 60,
    "\ufeffx",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_read_back_as_it_was(tmp_path, text):
    """Whatever one of YAML's versions would take it for."""
    path = tmp_path / "one.yaml"
    path.write_text(write_definitions([{"id": "one", "description": text, "endpoint": ENDPOINT}], "x"), "utf-8")
    assert read_definition_files([path])["one"].description == text


def test_without_libyaml_it_looks_the_same(monkeypatch):
    """A diff of two imports shows what the service has changed, and not who imported it."""
    schema = {"type": "object", "properties": {"on": {"enum": [1, 1.5, None, True, "yes"]}, "list": {"items": []}}}
    definitions = [{"id": "one", "description": "word " * 60, "endpoint": ENDPOINT, "inputSchema": schema}] * 2
    with_libyaml = write_definitions(definitions, "x")
    monkeypatch.setattr(writing, "_FAST_DUMPER", writing._DUMPER)  # noqa: SLF001 - as where PyYAML has none
    assert write_definitions(definitions, "x") == with_libyaml
    assert "&" not in with_libyaml


def test_half_a_character_is_written_as_an_escape():
    """A JSON document may have one; libyaml can't write it."""
    assert r"\uD800" in write_definitions([{"id": "one", "description": "\ud800"}], "x")
