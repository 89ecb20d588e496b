"""Reading an OpenAPI document: JSON or YAML text into plain JSON data of a bounded size.

Nothing outside of the document is ever read. A reference to another file or to a URL can't be followed.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from workflow_state.actions.definitions.files import CORE_SCHEMA, TAG, EnormousIntegerError, read_integer
from workflow_state.errors import ActionDefinitionError
from workflow_state.json_schema.local_references import resolve_local
from workflow_state.wording import find_control_character

MAX_DOCUMENT_BYTES = 32 * 2**20
# YAML aliases can put one value in many places. It counts in each of them. So does a pair that is merged (`<<: *name`).
_MAX_NODES = 5_000_000
_MAX_MERGED = 500_000
_MAX_DEPTH = 200
_CONTAINS_ITSELF = "a part of it contains itself"
_MAX_REFERENCES = 20
_VERSION = re.compile(r"3\.[0-9]+\.[0-9]+(-.+)?")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

Json = dict[str, Any]


# libyaml, where the wheel has it, reads a document of megabytes ten times as fast.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _DocumentLoader(_FastLoader):  # type: ignore[misc]
    """The core schema of YAML 1.2, with the merge key, which documents use."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own interface

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._merged = 0
        self._being_merged: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names, after it has been counted: a few lines of merges can stand for gigabytes."""
        if id(node) in self._being_merged:
            raise ValueError(_CONTAINS_ITSELF)
        self._being_merged.add(id(node))
        for key, value in node.value:
            if key.tag == TAG + "merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    if isinstance(source, yaml.MappingNode):
                        self.flatten_mapping(source)
                        self._merged += len(source.value)
                    if self._merged > _MAX_MERGED:
                        raise ValueError(f"it merges more than {_MAX_MERGED} values")
        super().flatten_mapping(node)
        self._being_merged.discard(id(node))


for _name, (_pattern, _first) in CORE_SCHEMA.items():
    _DocumentLoader.add_implicit_resolver(TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)
_DocumentLoader.add_implicit_resolver(TAG + "merge", re.compile("^<<$"), ["<"])
_DocumentLoader.add_constructor(TAG + "int", lambda _, node: read_integer(node.value, node.start_mark.line + 1))
_DocumentLoader.add_constructor(TAG + "float", lambda _, node: float(node.value))


def read_openapi(text: bytes) -> Json:
    """Return the document. Raises ActionDefinitionError where it can't be read, or is not an OpenAPI 3 document."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise ActionDefinitionError(f"the document has more than {MAX_DOCUMENT_BYTES // 2**20} MiB")
    try:
        source = text.decode("utf-8-sig")
        data = _parse(source)
        _measure(data, {})
        document = _copy(data)
    except UnicodeDecodeError:
        raise ActionDefinitionError("the document is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ActionDefinitionError(f"the document is not JSON: line {error.lineno}: {error.msg}") from None
    except yaml.YAMLError as error:
        raise ActionDefinitionError(f"the document is not YAML: {' '.join(str(error).split())}") from None
    except EnormousIntegerError as error:
        place = f" at line {error.line}" if error.line else ""
        raise ActionDefinitionError(f"the document can't be read: {error}{place}") from None
    except (RecursionError, ValueError) as error:
        raise ActionDefinitionError(f"the document can't be read: {error}") from None
    return _require_plain_title(_require_version(document))


def _parse(source: str) -> Any:
    if source.lstrip()[:1] == "{":
        return json.loads(source, parse_int=read_integer)
    return yaml.load(source, _DocumentLoader)  # noqa: S506 - a safe one


def _require_plain_title(document: Json) -> Json:
    info = document.get("info")
    for name in ("title", "version"):
        if isinstance(info, dict) and (character := find_control_character(str(info.get(name, "")))):
            raise ActionDefinitionError(f"the document's info.{name} contains the control character {character}")
    return document


def _require_version(document: Any) -> Json:
    if not isinstance(document, dict):
        raise ActionDefinitionError("the document is no mapping, so it is no OpenAPI document")
    version = document.get("openapi")
    if "swagger" in document:
        raise ActionDefinitionError(
            f"the document is of Swagger {document['swagger']}; convert it to OpenAPI 3 first, with swagger2openapi say"
        )
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ActionDefinitionError("the document has no field 'openapi' with a version 3.x.y")
    if not isinstance(document.get("paths", {}), dict):
        raise ActionDefinitionError("the document's 'paths' is no mapping")
    return document


def _measure(value: Any, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Return how many values a copy would have, and how many levels.

    Each object is looked into once, however many places YAML aliases put it in. `known` has what was found, by id; None
    stands for an object that is being looked into. Raises ValueError for one that is too large, too deep, or in itself.
    """
    if not isinstance(value, dict | list):
        return 1, 0
    if id(value) not in known:
        known[id(value)] = None
        children = value.values() if isinstance(value, dict) else value
        measured = [_measure(child, known) for child in children]
        size = 1 + sum(nodes for nodes, _ in measured)
        depth = 1 + max((levels for _, levels in measured), default=0)
        if size > _MAX_NODES or depth > _MAX_DEPTH:
            raise ValueError(f"it has more than {_MAX_NODES} values or {_MAX_DEPTH} levels")
        known[id(value)] = size, depth
    found = known[id(value)]
    if found is None:
        raise ValueError(_CONTAINS_ITSELF)
    return found


def _copy(value: Any) -> Any:
    """Return a deep copy without shared parts, of JSON data only."""
    if isinstance(value, dict):
        # YAML reads the key of a response, 200, as a number.
        return {_as_text(key): _copy(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_copy(child) for child in value]
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    return value if isinstance(value, bool | int | float) or value is None else str(value)


def _as_text(key: Any) -> str:
    return _LONE_SURROGATE.sub("\ufffd", key) if isinstance(key, str) else json.dumps(key, default=str)


def follow(document: Mapping[str, Any], value: Any) -> Any:
    """Return the value, or what it refers to; None where the reference can't be followed."""
    for _ in range(_MAX_REFERENCES):
        if not (isinstance(value, dict) and "$ref" in value):
            return value
        value = resolve_local(document, value["$ref"])
    return None
