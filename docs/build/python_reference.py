"""The public names of the package: signatures and docstrings as Markdown."""

import inspect
import re
import textwrap
from importlib import import_module
from typing import Any

from writing import text

import workflow_state
from workflow_state import WorkflowStateError

_WIDTH = 100


def describe_names(names: list[str]) -> str:
    """Return a section for each of these names, of the package or of a module of it (`web.create_web_app`)."""
    return "\n".join(_section(name, _find(name)) for name in names)


def _find(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    package = workflow_state.__name__
    return getattr(import_module(f"{package}.{module}" if module else package), attribute)


def _section(name: str, thing: Any) -> str:
    name = name.rpartition(".")[2]
    parts = [f"### {name}"]
    if not isinstance(thing, type):
        parts.append(f"```python\n{_signature(name, thing)}\n```")
    elif issubclass(thing, WorkflowStateError) and thing is not WorkflowStateError:
        parts.append(f"Is a `{thing.__bases__[0].__name__}`.")
    parts.append(_prose(inspect.getdoc(thing) or ""))
    return "\n\n".join(parts) + "\n"


def _signature(name: str, function: Any) -> str:
    """Return the first line of a function, with a parameter a line where it is long."""
    signature = inspect.signature(function)
    line = _without_modules(f"def {name}{signature}: ...")
    if len(line) <= _WIDTH:
        return line
    parameters: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        parameters.append(_without_modules(str(parameter)))
    answer = _without_modules(inspect.formatannotation(signature.return_annotation))
    return "\n".join([f"def {name}(", *(f"    {parameter}," for parameter in parameters), f") -> {answer}: ..."])


def _without_modules(annotated: str) -> str:
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", annotated)


def _prose(docstring: str) -> str:
    """Return a docstring as Markdown: what is indented in it, or is an interactive session, is code."""
    paragraphs = []
    for paragraph in docstring.split("\n\n"):
        if paragraph.startswith("    "):
            paragraphs.append(f"```python\n{textwrap.dedent(paragraph)}\n```")
        elif paragraph.startswith(">>>"):
            paragraphs.append(f"```pycon\n{paragraph}\n```")
        else:
            paragraphs.append(text(paragraph))
    return "\n\n".join(paragraphs)
