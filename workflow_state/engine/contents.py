"""What references read of outputs that are stored, because they are large or binary.

`${list.output.orders}` means the same whatever the size of the answer. In the state a stored output has
`{"stored": true, …}` in its place and its `outputLocation` beside it; here a `StoredValue` takes that place, for one
attempt, and is read when a reference first gets to it. Only a location that we wrote into the state is followed, never
an output that looks like one.
"""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Final

from pydantic import JsonValue

from workflow_state.actions.http.content_type import is_json, is_json_lines, is_text
from workflow_state.actions.http.response import MalformedResponseError, decode_text, parse_value
from workflow_state.actions.storage.outputs import read_stored
from workflow_state.errors import ReferenceResolutionError, StorageError
from workflow_state.plans.resolving import StoredValue
from workflow_state.schema import StorageLocation

MAX_READ_BYTES: Final = 10 * 2**20
"""As much as an answer may have by default; of it a reference hands on up to `resolving.MAX_RESOLVED_BYTES`."""


def with_stored_values(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of actions (states as JSON data) with a StoredValue for each output that is stored.

    JSON is read as its value, a JSON value in each line as a list and text as `{"text": …}`, as if the state had them.
    For what is binary stands `{"stored": true, "location", "size", "contentType"}`. Nothing is read yet. What is read
    later raises ReferenceResolutionError where it is larger than MAX_READ_BYTES, and StorageError where it can't be
    read.
    """
    return {name: _with_values(name, state) if _has_stored(state) else state for name, state in results.items()}


def _has_stored(state: Any) -> bool:
    if not isinstance(state, Mapping):
        return False
    result = state.get("result")
    return isinstance(result, Mapping) and "output" in result and bool(_locations_in(state, result))


def _locations_in(state: Mapping[str, Any], result: Mapping[str, Any]) -> dict[int | None, Any]:
    """Return where the output is stored; of a list those of its elements, by index."""
    if location := result.get("outputLocation"):
        return {None: location}
    if result.get("usedFallback"):
        return {}
    elements = state.get("elements") or ()
    return {element["index"]: element["outputLocation"] for element in elements if element.get("outputLocation")}


def _with_values(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    result = state["result"]
    output = result["output"]
    for index, location in _locations_in(state, result).items():
        if index is None:
            output = _stored_value(name, output, location)
        else:
            output = [*output[:index], _stored_value(f"{name}[{index}]", output[index], location), *output[index + 1 :]]
    return {**state, "result": {**result, "output": output}}


def _stored_value(name: str, placeholder: JsonValue, data: Any) -> StoredValue:
    location = StorageLocation.model_validate(data)
    # Once for an attempt, however many references there are.
    if is_json(location.content_type) or is_json_lines(location.content_type):
        read_json = cache(partial(_read_json, name, location))
        return StoredValue(read=read_json, read_content=read_json)
    if is_text(location.content_type):
        read_text = cache(partial(_read_text, name, location))
        return StoredValue(read=lambda: {"text": read_text()}, read_content=read_text)
    return StoredValue(read=lambda: placeholder, read_content=cache(partial(_read_text, name, location)))


def _read_json(name: str, location: StorageLocation) -> JsonValue:
    try:
        if found := parse_value(_read(name, location), location.content_type):
            return found[0]
    except MalformedResponseError as error:
        raise StorageError(f"{location.path} can't be read as {location.content_type}: {error}") from None
    raise StorageError(f"{location.path} can't be read as {location.content_type}")


def _read_text(name: str, location: StorageLocation) -> str:
    data = _read(name, location)
    # What has no type of text may be text all the same; what has a zero byte is none.
    text = decode_text(data, location.content_type if is_text(location.content_type) else "")
    if text is None or "\0" in text:
        raise ReferenceResolutionError(
            f"the output of {name} is binary ({location.content_type}); its .location can be handed on"
        )
    return text


def _read(name: str, location: StorageLocation) -> bytes:
    if location.size > MAX_READ_BYTES:
        raise ReferenceResolutionError(
            f"the output of {name} is stored and has {location.size} bytes; a reference reads at most {MAX_READ_BYTES}"
        )
    return read_stored(location)
