"""Texts that are no JSON: each fault has its place, what is there, and what to do, in no words of Python's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.json_errors import explain_json_error


def explain(text):
    """Return what is wrong with a text that is no JSON."""
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(text)
    return explain_json_error(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "message", "advice"),
    [
        ("", 1, "the text is empty (line 1, column 1)", ""),
        (" \n", 1, "the text is empty (line 1, column 1)", ""),
        ('{"a": 1', 1, "the text ends at line 1, column 8, before the JSON does", "add what is missing at its end"),
        ("[1,\n]", 1, "there is a comma at line 1, column 3, and nothing comes after it", "remove the comma"),
        ('{"a": 1,}', 1, "there is a comma at line 1, column 8, and nothing comes after it", "remove the comma"),
        (
            "{\n 'a': 1}",
            2,
            "there is a single quote at line 2, column 2, where the name of a field in double quotes belongs",
            "JSON has double quotes only",
        ),
        (
            "{a: 1}",
            1,
            "there is 'a' at line 1, column 2, where the name of a field in double quotes belongs",
            'write "a", in double quotes',
        ),
        ('{"a": True}', 1, "there is 'True' at line 1, column 7, where a value belongs", "write true"),
        ('{"a": yes}', 1, "there is 'yes' at line 1, column 7, where a value belongs", 'write "yes", in double quotes'),
        ('{"a" 1}', 1, "there is '1' at line 1, column 6, where ':' belongs, after the name of a field", ""),
        (
            '{"a": 1\n"b": 2}',
            2,
            "there is \"b\" at line 2, column 1, where ',' or the end of the object or the list belongs",
            "add the missing comma",
        ),
        (
            '{\n// no\n"a": 1}',
            2,
            "there is '//' at line 2, column 1, where the name of a field in double quotes belongs",
            "JSON has no comments: remove it",
        ),
        ('{"a": "x\ny"}', 1, "there is a line break at line 1, column 9, between double quotes", "write \\n for it"),
        ('{"a": "x', 1, "the text that begins at line 1, column 7 has no end", 'add the missing "'),
        ('"\\d"', 1, "there is no such escape as the one at line 1, column 2", "write \\\\ for a backslash"),
        ("{} {}", 1, "there is '{' at line 1, column 4, after the end of the JSON", "remove it"),
        ("name: x", 1, "there is 'name' at line 1, column 1, where a value belongs", "JSON begins with { or ["),
        ("[\x00]", 1, "there is the character U+0000 at line 1, column 2, where a value belongs", ""),
        ("[{place}]", 1, None, 'write "place", in double quotes'),
    ],
)
def test_each_fault_says_what_where_and_what_to_do(text, line, message, advice):
    """Line and column count from 1."""
    fault = explain(text)
    assert (fault.line, fault.advice) == (line, advice)
    assert message is None or fault.message == message


@given(st.text(alphabet=[*"{}[]:,\"'\\/ \n\t0aT#`$\x00é"], max_size=12))
def test_whatever_is_wrong_is_told_in_one_short_line(text):
    """No text makes the explanation fail, and no control character gets into a terminal."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        fault = explain_json_error(error)
        assert len(fault.message) < 300
        assert fault.message.isprintable()
        assert 1 <= fault.line <= text.count("\n") + 1
