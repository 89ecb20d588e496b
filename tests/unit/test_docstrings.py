"""The examples in the docstrings of public functions."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "name", ["patterns", "plans.json_schema", "plans.references", "plans.resolving", "validation", "wording"]
)
def test_an_example_gives_what_its_docstring_says(name):
    outcome = doctest.testmod(import_module(f"workflow_state.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
