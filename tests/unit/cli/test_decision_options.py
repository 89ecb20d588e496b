"""Decisions on a command line."""

import pytest

from workflow_state.cli.decisions import ask_for_decisions, name_assumed, split_assumed
from workflow_state.errors import ExecutionConflictError, OutcomeUnknownError


@pytest.mark.parametrize(
    ("text", "named", "unnamed"),
    [
        ('pay={"id": 7}', {"pay": {"id": 7}}, []),
        ("each[3]=paid", {"each[3]": "paid"}, []),
        ("pay=", {"pay": ""}, []),
        ("pay=a=b", {"pay": "a=b"}, []),
        ("paid", {}, ["paid"]),
        ("null", {}, [None]),
        ("NaN", {}, ["NaN"]),
        ("1e999", {}, ["1e999"]),
        ('"a=b"', {}, ["a=b"]),
        ('{"a": "b=c"}', {}, [{"a": "b=c"}]),
        ("https://example.test/?a=b", {}, ["https://example.test/?a=b"]),
    ],
)
def test_a_value_with_or_without_an_action(text, named, unnamed):
    """JSON where it is JSON, and text otherwise."""
    assert split_assumed([text]) == (named, unnamed)


def test_an_action_is_named_once():
    """Nobody could say which output counts."""
    with pytest.raises(ExecutionConflictError, match="names pay twice"):
        split_assumed(["pay=1", "pay=2"])


def test_a_value_without_an_action_is_that_of_the_only_request_left():
    """What is decided about by name is not left; without such a value nothing is asked."""
    undecided = {"pay": "w", "each[1]": "w", "mail": "w"}
    assert name_assumed("x", ({"mail": 1}, [2]), ["pay"], lambda: undecided) == {"mail": 1, "each[1]": 2}
    assert name_assumed("x", ({"mail": 1}, []), [], lambda: pytest.fail("asked")) == {"mail": 1}
    with pytest.raises(OutcomeUnknownError) as raised:
        name_assumed("x", ({"mail": 1}, [2]), [], lambda: undecided)
    assert list(raised.value.undecided) == ["pay", "each[1]"]
    for left, values in (({}, [1]), ({"pay": "w"}, [1, 2])):
        with pytest.raises(ExecutionConflictError, match="more outputs to assume"):
            name_assumed("x", ({}, values), [], lambda left=left: left)


def test_the_question_has_the_command_lines_to_answer_with():
    """Quoted for a shell, with what was given kept."""
    error = OutcomeUnknownError("x", {"pay": "it \x1b is unknown", "each[1]": "likewise"})
    lines = ask_for_decisions(error, ["workflow-state", "resume", "x", "--plan=a b.json"]).splitlines()
    assert "  pay: it \\x1b is unknown" in lines
    assert (
        "  workflow-state resume x '--plan=a b.json' --assume-done=pay=OUTPUT '--assume-done=each[1]=OUTPUT'" in lines
    )
    assert "  workflow-state resume x '--plan=a b.json' --send-again=pay '--send-again=each[1]'" in lines
