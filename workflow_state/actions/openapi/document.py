"""Reading an OpenAPI document: JSON or YAML text into plain JSON data of a bounded size.

Nothing outside of the document is ever read. A reference to another file or to a URL can't be followed.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from workflow_state.actions.definitions.files import CORE_SCHEMA, TAG
from workflow_state.errors import ActionDefinitionError
from workflow_state.json_schema.local_references import resolve_local

MAX_DOCUMENT_BYTES = 32 * 2**20
# YAML aliases can put one value in many places. It counts in each of them.
_MAX_NODES = 5_000_000
_MAX_DEPTH = 200
_MAX_REFERENCES = 20
_VERSION = re.compile(r"3\.[0-9]+\.[0-9]+(-.+)?")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

Json = dict[str, Any]


# libyaml, where the wheel has it, reads a document of megabytes ten times as fast.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _DocumentLoader(_FastLoader):  # type: ignore[misc]
    """The core schema of YAML 1.2, with the merge key, which documents use."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own interface


for _name, (_pattern, _first) in CORE_SCHEMA.items():
    _DocumentLoader.add_implicit_resolver(TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)
_DocumentLoader.add_implicit_resolver(TAG + "merge", re.compile("^<<$"), ["<"])
_DocumentLoader.add_constructor(
    TAG + "int", lambda _, node: int(node.value, 0) if node.value[:2] in ("0o", "0x") else int(node.value)
)
_DocumentLoader.add_constructor(TAG + "float", lambda _, node: float(node.value))


def read_openapi(text: bytes) -> Json:
    """Return the document. Raises ActionDefinitionError where it can't be read, or is not an OpenAPI 3 document."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise ActionDefinitionError(f"the document has more than {MAX_DOCUMENT_BYTES // 2**20} MiB")
    try:
        source = text.decode("utf-8-sig")
        data = json.loads(source) if source.lstrip()[:1] == "{" else yaml.load(source, _DocumentLoader)  # noqa: S506 - a safe one
        _measure(data, {})
        document = _copy(data)
    except UnicodeDecodeError:
        raise ActionDefinitionError("the document is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ActionDefinitionError(f"the document is not JSON: line {error.lineno}: {error.msg}") from None
    except yaml.YAMLError as error:
        raise ActionDefinitionError(f"the document is not YAML: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError) as error:
        raise ActionDefinitionError(f"the document can't be read: {error}") from None
    return _require_version(document)


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
        raise ValueError("a part of it contains itself")
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
