"""Reading action definitions from YAML and JSON files, with the line of everything that is wrong.

A file has one definition, a list of them, or several YAML documents. All problems of all files come in one error.
YAML is read by the core schema of YAML 1.2, as people expect: `no` and `2024-01-01` are text, and `1e3` is a number.
Aliases are refused, because a few lines of them can stand for gigabytes.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from workflow_state.actions.definitions import rules as definition_rules
from workflow_state.actions.definitions.fields import describe_validation_error
from workflow_state.actions.definitions.rules import find_definition_problems
from workflow_state.actions.definitions.yaml_errors import explain_yaml_error
from workflow_state.errors import ActionDefinitionError
from workflow_state.json_errors import explain_json_error
from workflow_state.schema import ActionDefinition
from workflow_state.settings import get_settings

SUFFIXES = (".yaml", ".yml", ".json")

# Python neither reads nor writes an integer of more than 4,300 digits; a hexadecimal one grows by a fifth.
_MAX_INTEGER_CHARACTERS = 3_500

_Location = definition_rules.Path
TAG = "tag:yaml.org,2002:"
CORE_SCHEMA = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
}

# The escapes of a JSON text, one after the other. So a backslash that is itself escaped begins no escape.
_JSON_ESCAPES = re.compile(r"(?P<surrogates>(?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})+)|\\.")
# JSON has these characters as they are, YAML only escaped.
_UNKNOWN_TO_YAML = re.compile(r"[\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")

# libyaml, where PyYAML was built with it, reads a large file several times as fast.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _CoreLoader(_SafeLoader):  # type: ignore[misc]
    """Resolves plain values by the core schema of YAML 1.2 (YAML 1.2.2, section 10.3)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own interface


for _name, (_pattern, _first) in CORE_SCHEMA.items():
    _CoreLoader.add_implicit_resolver(TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)


class EnormousIntegerError(ValueError):
    """An integer is too long to be read or written; `line` is where it stands, from 1, or 0 where nobody knows."""

    def __init__(self, line: int = 0) -> None:
        super().__init__("an integer has thousands of digits; write it as text")
        self.line = line


def read_integer(text: str, line: int = 0) -> int:
    """Return the integer that the text is in JSON or in YAML's core schema. Raises EnormousIntegerError."""
    if len(text) > _MAX_INTEGER_CHARACTERS:
        raise EnormousIntegerError(line)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


@dataclass(slots=True)
class _Document:
    """One definition in its file: the data, and the line of each field. `prefix` leads to it in the document."""

    path: Path
    data: Any
    lines: dict[_Location, int]
    prefix: _Location


@dataclass(slots=True)
class _Walk:
    """What is noted while a document is read: the lines, and the nodes that were seen, to find aliases."""

    path: Path
    problems: list[str]
    lines: dict[_Location, int] = field(default_factory=dict)
    seen: dict[int, yaml.Node] = field(default_factory=dict)

    def complain(self, node: yaml.Node, message: str) -> None:
        """Note a problem at the node's line."""
        self.problems.append(f"{self.path}:{node.start_mark.line + 1}: {message}")


@dataclass(slots=True)
class _Findings:
    """What was read, and everything that is wrong with it."""

    definitions: dict[str, ActionDefinition] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_definition_files(paths: Iterable[Path]) -> Mapping[str, ActionDefinition]:
    """Return the definitions in these files and folders, by id. Subfolders are not looked into.

    Raises ActionDefinitionError with every problem, each on a line that starts with `FILE:LINE:`.
    """
    findings = _Findings()
    for file in dict.fromkeys(file for path in paths for file in _list_files(path, findings.problems)):
        _read_file(file, findings)
    if findings.problems:
        count = len(findings.problems)
        head = f"the action definitions have {count} problem{'s' if count > 1 else ''}"
        raise ActionDefinitionError("\n  ".join([head, *findings.problems]))
    return findings.definitions


def _list_files(path: Path, problems: list[str]) -> list[Path]:
    try:
        if path.is_dir():
            files = (file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
            return sorted(file for file in files if not file.name.startswith("."))
        if not path.exists():
            problems.append(f"{path}: there is no such file or folder")
        elif path.suffix.lower() not in SUFFIXES:
            problems.append(f"{path}: the name of a definition file ends in {', '.join(SUFFIXES)}")
        else:
            return [path]
    except OSError as error:
        problems.append(f"{path}: can't be read: {error.strerror}")
    return []


def _read_file(path: Path, findings: _Findings) -> None:
    try:
        documents = list(_parse_file(path, findings.problems))
    except OSError as error:
        findings.problems.append(f"{path}: can't be read: {error.strerror}")
    except UnicodeDecodeError:
        findings.problems.append(f"{path}: is not UTF-8 text")
    except json.JSONDecodeError as error:
        fault = explain_json_error(error)
        findings.problems.append(
            f"{path}:{fault.line}: is not JSON: {fault.message}{fault.advice and f'; {fault.advice}'}"
        )
    except yaml.MarkedYAMLError as error:
        line, what = explain_yaml_error(error, path.read_text(encoding="utf-8-sig"))
        findings.problems.append(f"{path}{f':{line}' if line else ''}: is not YAML: {what}")
    except EnormousIntegerError as error:
        findings.problems.append(f"{path}{f':{error.line}' if error.line else ''}: {error}")
    except (yaml.YAMLError, ValueError) as error:
        findings.problems.append(f"{path}: can't be read: {' '.join(str(error).split())}")
    except RecursionError:
        findings.problems.append(f"{path}: is nested too deeply")
    else:
        for document in documents:
            _read_definition(document, findings)


def _read_definition(document: _Document, findings: _Findings) -> None:
    place = f"{document.path}:{_line_of(document, ())}"
    if not isinstance(document.data, dict):
        findings.problems.append(f"{place}: a definition must be a mapping of fields")
        return
    try:
        definition = ActionDefinition.model_validate(document.data)
    except ValidationError as error:
        problems = describe_validation_error(error)
    else:
        problems = find_definition_problems(definition, get_settings().secrets)
        if definition.id in findings.places:
            findings.problems.append(
                f"{place}: the id '{definition.id}' is used in {findings.places[definition.id]} too"
            )
        findings.places[definition.id] = place
        findings.definitions[definition.id] = definition
    name = f"{document.data['id']}: " if isinstance(document.data.get("id"), str) else ""
    for line, problem in sorted(
        ((_line_of(document, problem.path), problem) for problem in problems), key=lambda found: found[0]
    ):
        where = ".".join(map(str, problem.path)) or "the definition"
        findings.problems.append(f"{document.path}:{line}: {name}{where} {problem.message}")


def _line_of(document: _Document, path: _Location) -> int:
    """Return the line of the field, or of the innermost mapping around it that is there; from 1."""
    location = document.prefix
    for part in path:
        snake = re.sub(r"(?<!^)([A-Z])", r"_\1", str(part)).lower()
        found = next((name for name in (part, snake) if (*location, name) in document.lines), None)
        if found is not None:
            location = (*location, found)
    return document.lines.get(location, 1)


def _parse_file(path: Path, problems: list[str]) -> Iterator[_Document]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".json":
        yield from _parse_json_file(path, text, problems)
        return
    for node in yaml.compose_all(text, _CoreLoader):
        walk = _Walk(path, problems)
        data = _read_node(node, (), walk)
        yield from _split_document(path, data, walk.lines)


def _parse_json_file(path: Path, text: str, problems: list[str]) -> Iterator[_Document]:
    """Read JSON by the JSON parser, and ask the YAML parser for the lines.

    There is JSON that the YAML parser can't read, such as a name of a thousand characters. Then the lines are unknown.
    """
    data = json.loads(text, parse_int=read_integer)
    walk = _Walk(path, problems)
    # Each line keeps its number.
    readable = _UNKNOWN_TO_YAML.sub("\ufffd", _join_surrogates(path, text, problems).replace("\t", " "))
    try:
        node = yaml.compose(readable, _CoreLoader)
    except yaml.YAMLError:
        node = None
    if node is not None:
        _read_node(node, (), walk)
    yield from _split_document(path, data, walk.lines)


def _join_surrogates(path: Path, text: str, problems: list[str]) -> str:
    """Write the characters that pairs of escaped surrogates stand for, which YAML does not know; report lone ones."""

    def join(escapes: re.Match[str]) -> str:
        if not escapes["surrogates"]:
            return escapes[0]
        try:
            return bytes.fromhex(escapes["surrogates"].replace("\\u", "")).decode("utf-16-be")
        except UnicodeDecodeError:
            line = text.count("\n", 0, escapes.start()) + 1
            problems.append(f"{path}:{line}: {escapes[0][:12]} is half a character (a lone surrogate)")
            return "\ufffd"

    return _JSON_ESCAPES.sub(join, text)


def _split_document(path: Path, data: Any, lines: dict[_Location, int]) -> Iterator[_Document]:
    if isinstance(data, list):
        yield from (_Document(path, item, lines, (index,)) for index, item in enumerate(data))
    elif data is not None:
        yield _Document(path, data, lines, ())


def _read_node(node: yaml.Node, location: _Location, walk: _Walk) -> Any:
    """Return the node's value as JSON data, and note its line and its parts' lines."""
    walk.lines.setdefault(location, node.start_mark.line + 1)
    if id(node) in walk.seen:
        walk.complain(node, "an alias (*name) is not allowed; write the value again")
        return None
    walk.seen[id(node)] = node
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, location, walk)
    if isinstance(node, yaml.SequenceNode):
        return [_read_node(item, (*location, index), walk) for index, item in enumerate(node.value)]
    return _read_scalar(node, walk)


def _read_mapping(node: yaml.MappingNode, location: _Location, walk: _Walk) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            walk.complain(key_node, "the name of a field must be text")
            continue
        key = key_node.value
        if key in data:
            walk.complain(key_node, f"the field '{key}' is there twice")
            continue
        walk.lines[*location, key] = key_node.start_mark.line + 1
        data[key] = _read_node(value_node, (*location, key), walk)
    return data


def _read_scalar(node: yaml.Node, walk: _Walk) -> Any:
    text: str = node.value
    match node.tag.removeprefix(TAG):
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return read_integer(text, node.start_mark.line + 1)
        case "float":
            return float(text)
        case _:
            walk.complain(node, f"the tag {node.tag} is not allowed")
            return None
