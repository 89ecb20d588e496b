"""The names of the package, each loaded when it is first used."""

import ast
import importlib
from pathlib import Path

import pytest

import workflow_state


def names_for_type_checkers():
    """Return what the package imports where a type checker reads it: name → module."""
    tree = ast.parse(Path(workflow_state.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_what_type_checkers_see_is_what_there_is():
    """And `__all__` has these names, in order."""
    assert names_for_type_checkers() == workflow_state._MODULE_OF  # noqa: SLF001
    assert sorted(workflow_state.__all__) == sorted(workflow_state._MODULE_OF)  # noqa: SLF001


@pytest.mark.parametrize("name", workflow_state.__all__)
def test_each_name_is_that_of_its_module(name):
    """It is found by `from workflow_state import`, as an attribute, and by dir()."""
    module = importlib.import_module(names_for_type_checkers()[name])
    assert getattr(workflow_state, name) is getattr(module, name)
    assert name in dir(workflow_state)


def test_modules_are_not_hidden_by_names():
    """`workflow_state.validation` is the module, whatever was loaded before."""
    for name in ("celery", "errors", "executor", "logger", "patterns", "reference_parser", "schema", "validation"):
        assert getattr(workflow_state, name) is importlib.import_module(f"workflow_state.{name}")


def test_any_other_name_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'execute_plans'"):
        workflow_state.execute_plans  # noqa: B018
