"""Stored outputs, for references such as `${action.output.content}`.

An output that is large or binary is not in the state, so a reference finds no content there. This module reads the
content, and puts it beside `location`, `size` and `contentType`. It does so for one resolution, and only where a
reference names the content. It follows a location that we wrote into the state, never an output that looks like one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from workflow_state.actions.http.response import MalformedResponseError, decode_text, parse_value
from workflow_state.actions.storage.outputs import read_stored
from workflow_state.errors import ReferenceResolutionError, StorageError
from workflow_state.plans.references import ParsedReference, PathStep, iterate_references
from workflow_state.plans.resolving import MAX_RESOLVED_BYTES
from workflow_state.schema import StorageLocation
from workflow_state.wording import shown

CONTENT = "content"


def with_contents(value: Any, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scope (states as JSON data) with the contents that references in the value ask for.

    JSON is its value, text is a string. Raises ReferenceResolutionError for a content that is binary or larger than
    MAX_RESOLVED_BYTES, and where a path goes on below a stored output as if it were the content; StorageError where it
    can't be read.
    """
    extended = dict(scope)
    if not any(isinstance(state, Mapping) and _has_stored(state) for state in scope.values()):
        # Nearly always: most outputs fit into the state.
        return extended
    read: set[tuple[str, int | None]] = set()
    for reference, index, location in _stored_outputs(value, scope):
        below = reference.path if index is None else reference.path[1:]
        if below and below[0] not in ("stored", "location", "size", "contentType", CONTENT):
            raise ReferenceResolutionError(_advice(reference, index, below))
        name = reference.action_id
        if not below or below[0] != CONTENT or (name, index) in read:
            continue
        read.add((name, index))
        extended[name] = _with_content(extended[name], index, _read_content(location, reference.text))
    return extended


def _read_content(location: StorageLocation, text: str) -> JsonValue:
    """Return the content as the value that it is for a reference; `text` is the reference, for errors."""
    if location.size > MAX_RESOLVED_BYTES:
        raise ReferenceResolutionError(
            f"{shown(text)}: the stored output has {location.size} bytes, a reference reads at most "
            f"{MAX_RESOLVED_BYTES}; its .location can be handed on"
        )
    data = read_stored(location)
    try:
        if found := parse_value(data, location.content_type):
            return found[0]
    except MalformedResponseError as error:
        raise StorageError(f"{location.path} can't be read as {location.content_type}: {error}") from None
    decoded = decode_text(data, location.content_type)
    if decoded is None:
        raise ReferenceResolutionError(
            f"{shown(text)}: the stored output is binary ({location.content_type}); its .location can be handed on"
        )
    return decoded


def _has_stored(state: Mapping[str, Any]) -> bool:
    result = state.get("result")
    return bool(state.get("elements") or (isinstance(result, Mapping) and result.get("outputLocation")))


def _stored_outputs(
    value: Any, scope: Mapping[str, Any]
) -> Iterator[tuple[ParsedReference, int | None, StorageLocation]]:
    """Yield each reference to a stored output, the index of the element whose output it is, and where that is."""
    for _, reference in iterate_references(value):
        if not isinstance(reference, ParsedReference) or reference.field != "output":
            continue
        state = scope.get(reference.action_id)
        if not isinstance(state, Mapping) or (reference.is_for_each_name and "itemIndex" in scope):
            continue
        first = reference.path[0] if reference.path else None
        index = first if isinstance(first, int) and state.get("elements") else None
        if location := _location_in(state, index):
            yield reference, index, StorageLocation.model_validate(location)


def _location_in(state: Mapping[str, Any], index: int | None) -> Any:
    result = state.get("result") or {}
    if index is None:
        return result.get("outputLocation")
    if "output" not in result or result.get("usedFallback"):
        return None
    return next((item.get("outputLocation") for item in state["elements"] if item["index"] == index), None)


def _with_content(state: Mapping[str, Any], index: int | None, content: JsonValue) -> dict[str, Any]:
    result = state["result"]
    output = result["output"]
    if index is None:
        output = {**output, CONTENT: content}
    else:
        output = [{**item, CONTENT: content} if at == index else item for at, item in enumerate(output)]
    return {**state, "result": {**result, "output": output}}


def _advice(reference: ParsedReference, index: int | None, below: tuple[PathStep, ...]) -> str:
    whole = f"{reference.action_id}.output" + ("" if index is None else f"[{index}]")
    return (
        f"{shown(reference.text)}: there is no {shown(str(below[0]))}: the output of {reference.action_id} is stored, "
        f"because it is large or binary; what was stored begins at ${{{whole}.{CONTENT}}}"
    )
