"""The examples in the docstrings of public functions."""

import doctest
from importlib import import_module

import pytest

from workflow_state.actions.definitions.catalog import forget_catalog
from workflow_state.settings import get_settings


@pytest.mark.parametrize(
    "name", ["patterns", "plans.json_schema", "plans.references", "plans.resolving", "validation", "wording"]
)
def test_an_example_gives_what_its_docstring_says(name, monkeypatch):
    """In a process where no definitions are known, whatever other tests have registered."""
    monkeypatch.delenv("WORKFLOW_STATE_ACTIONS", raising=False)
    get_settings.cache_clear()
    forget_catalog()
    outcome = doctest.testmod(import_module(f"workflow_state.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
