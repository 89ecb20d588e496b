"""The environment variables: those of Settings, and those that stand for an option of a command."""

import ast
import inspect
import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from annotated_types import Ge
from command_reference import contexts_of_commands
from pydantic.fields import FieldInfo
from writing import cell

from workflow_state.engine.configuration import KEPT_SETTINGS
from workflow_state.settings import PREFIX, Settings


def describe_settings() -> str:
    """Return the table of all variables, with their defaults."""
    said = _attribute_docstrings(Settings)
    rows = []
    for name, field in Settings.model_fields.items():
        default = _default(field.get_default(call_default_factory=True))
        told = f"{cell(said.get(name, ''))}{_choice(field)}{_least(field)}"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {told} |")
    rows += [
        f"| `{variable}` | {_default(option.default)} | The option `{option.opts[0]}` of {_listed(names)}. |"
        for variable, (option, names) in _options_with_a_variable().items()
    ]
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows]) + "\n"


def describe_kept_settings() -> str:
    """Return the table of Celery's settings that a team's celeryconfig can't change, each with the reason."""
    rows = [f"| `{name}` | {cell(reason)} |" for name, reason in sorted(KEPT_SETTINGS.items())]
    return "\n".join(["| ours | because |", "|---|---|", *rows]) + "\n"


def _choice(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return ""
    *first, last = (f"`{word}`" for word in get_args(field.annotation))
    return f" {', '.join(first)} or {last}."


def _least(field: FieldInfo) -> str:
    """Return the least value of a number, where that is more than the obvious."""
    least = next((rule.ge for rule in field.metadata if isinstance(rule, Ge)), None)
    return f" At least {least}." if isinstance(least, int) and least > 1 else ""


def _attribute_docstrings(model: type) -> dict[str, str]:
    """Return the first paragraph of the text below each attribute of a class."""
    (definition,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - what a class's source is
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = inspect.cleandoc(str(ast.literal_eval(below.value))).replace("\n\n", " ")
    return found


def _options_with_a_variable() -> dict[str, tuple[click.Option, list[str]]]:
    """Return, for each variable that may stand for an option, the option and the names of its commands."""
    found: dict[str, tuple[click.Option, list[str]]] = {}
    for context in contexts_of_commands():
        for parameter in context.command.params:
            if isinstance(parameter, click.Option) and isinstance(parameter.envvar, str):
                found.setdefault(parameter.envvar, (parameter, []))[1].append(context.command_path)
    return found


def _listed(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def _default(value: Any) -> str:
    if value is None or value == [] or isinstance(value, Path):
        return ""
    if isinstance(value, bool):
        return f"`{int(value)}`"
    if isinstance(value, str | int):
        return f"`{value}`"
    return "" if repr(value).startswith("Sentinel") else f"`{json.dumps(value)}`"
