import re

import pytest
from helpers.drawn_plans import ORDER, document, texts
from helpers.mermaid_parser import MermaidParser
from helpers.plans import action
from helpers.states import completed, execution, failed, skipped
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workflow_state.schema import ACTION_ID_PATTERN
from workflow_state.views.diagram import draw_plan, to_dot, to_mermaid
from workflow_state.views.text import plain


@pytest.fixture(scope="module")
def mermaid():
    return MermaidParser()


def test_a_plan_is_drawn_level_by_level(mermaid):
    read = mermaid.read(to_mermaid(draw_plan(ORDER)))
    assert [(title, sorted(nodes)) for title, nodes in sorted(read["levels"])] == [
        ("level 1", ["a0"]),
        ("level 2", ["a1", "a2"]),
        ("level 3", ["a3", "a4"]),
        ("level 4", ["a5"]),
    ]
    assert sorted(read["edges"]) == [
        ["a0", "a1", "normal"],
        ["a0", "a2", "normal"],
        ["a1", "a3", "normal"],
        ["a1", "a4", "normal"],
        ["a2", "a5", "normal"],
        ["a3", "a4", "dotted"],
        ["a3", "a5", "normal"],
    ]


def test_conditions_lists_confirmations_and_alternatives_are_marked(mermaid):
    nodes = mermaid.read(to_mermaid(draw_plan(ORDER)))["nodes"]
    assert nodes["a1"]["lines"] == ["check", "echo", "only if ${list.output.ok}"]
    assert nodes["a2"]["lines"] == ["each", "echo", "for each of ${list.output.items}"]
    assert nodes["a4"]["is"] == ["planned", "standby"]
    assert nodes["a5"]["lines"] == ["send", "echo", "fails unless ${pay.output.sum} > 1", "asks: Send it?"]


def test_an_execution_is_coloured_and_says_how_each_action_ended(mermaid):
    state = execution(
        "failed",
        list=completed(attempts=2),
        check=failed(),
        each=skipped(),
        **dict.fromkeys(("pay", "invoice", "send"), skipped()),
    )
    text = to_mermaid(draw_plan(ORDER, state))
    nodes = mermaid.read(text)["nodes"]
    assert nodes["a0"] == {"lines": ["list", "echo", "completed in 1.23 s, 2 attempts"], "is": ["completed"]}
    assert nodes["a1"]["is"] == ["failed"]
    assert nodes["a4"]["is"] == ["skipped", "standby"]
    assert "classDef failed fill:" in text


@settings(max_examples=40, deadline=None)  # the first one loads Mermaid
@given(name=texts, definition=texts, title=texts, condition=texts, action_id=st.from_regex(ACTION_ID_PATTERN))
@example(name="x", definition="x", title="\U0001ffff", condition="\ufdd0", action_id="A")
def test_no_text_breaks_out_of_mermaid(mermaid, name, definition, title, condition, action_id):
    """Whatever the plan says, there are two nodes and one edge, and they show what it says."""
    other = "b" if action_id.strip() != "b" else "c"
    asks = {"required": True, "title": title, "message": "m"}
    drawn = document(
        action(other),
        action(
            action_id.strip(),
            [other],
            actionDefinitionId=definition,
            condition={"if": condition},
            userConfirmation=asks,
        ),
        name=name,
    )
    read = mermaid.read(to_mermaid(draw_plan(drawn)))
    assert read["edges"] == [["a0", "a1", "normal"]]
    lines = read["nodes"]["a1"]["lines"]
    assert lines[0] == action_id.strip()
    for line, text in zip(lines[1:], (definition, f"only if {condition}", f"asks: {title}"), strict=True):
        assert shown(line) == shown(plain(text)) or line.endswith("…")


def shown(text):
    """Return a text without the spaces at its ends, which nobody sees."""
    return text.strip()


@given(texts)
def test_no_text_breaks_out_of_graphviz(text):
    """Each statement is one line, and each string ends where it should."""
    drawn = document(action("a", actionDefinitionId=text), name=text)
    for line in to_dot(draw_plan(drawn)).splitlines():
        assert line.count('"') - len(re.findall(r'(?<!\\)(?:\\\\)*\\"', line)) in (0, 2, 4, 6)
    assert len(to_dot(draw_plan(drawn)).split("\n")) == 10
