"""What makes a message malformed: one that no worker can carry out, whoever put it on the queue.

What is checked is what kombu and Celery take for granted. Without it they raise in the worker's main loop, which ends
the worker. The message goes back to the queue, and ends the next one. A problem is told by the names of fields and
types: a message's own content may hold secrets.
"""

import base64
import inspect
import logging
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from celery.utils.time import maybe_iso8601
from kombu.compression import decompress
from pydantic import TypeAdapter, ValidationError

logger = logging.getLogger(__name__)

MISREAD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading something raises that is other than was expected."""

_LONGEST_TEXT = 1_000
_LONGEST_SHOWN = 80
_NONE = type(None)
_NUMBER = (int, float, _NONE)

# What Celery reads from a task's headers, and of which types it must be where it is there.
_HEADERS: Mapping[str, tuple[type, ...]] = {
    "root_id": (str, _NONE),
    "parent_id": (str, _NONE),
    "group": (str, _NONE),
    "group_index": (int, _NONE),
    "argsrepr": (str, _NONE),
    "kwargsrepr": (str, _NONE),
    "origin": (str, _NONE),
    "eta": (str, _NONE),
    "expires": (str, _NONE),
    "retries": (int, _NONE),
    "timelimit": (list, tuple, _NONE),
    "ignore_result": (bool, _NONE),
    "replaced_task_nesting": (int, _NONE),
    "stamped_headers": (list, _NONE),
    "stamps": (dict, _NONE),
}
_EMBED: Mapping[str, tuple[type, ...]] = {
    "callbacks": (list, _NONE),
    "errbacks": (list, _NONE),
    "chain": (list, _NONE),
    "chord": (dict, _NONE),
}


def find_envelope_problem(raw: Any) -> str | None:
    """Return why kombu can't make a message of what was on a queue, or None where it can."""
    if not isinstance(raw, Mapping):
        return f"it is {_name_type(raw)}, no object"
    properties = raw.get("properties")
    if not isinstance(properties, Mapping):
        return f"its properties are {_name_type(properties)}, no object"
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, Mapping):
        return f"its delivery_info is {_name_type(delivery)}, no object"
    for name, value, types in (
        ("delivery_tag", properties.get("delivery_tag"), (str,)),
        ("exchange", delivery.get("exchange"), (str,)),
        ("routing_key", delivery.get("routing_key"), (str,)),
        ("body", raw.get("body"), (str,)),
        ("content-type", raw.get("content-type"), (str, _NONE)),
        ("content-encoding", raw.get("content-encoding"), (str, _NONE)),
        ("headers", raw.get("headers"), (dict, _NONE)),
    ):
        if problem := _find_type_problem(name, value, types):
            return problem
    if not properties["delivery_tag"]:
        return "its delivery_tag is empty"
    return _find_body_problem(raw["body"], properties.get("body_encoding"), (raw.get("headers") or {}))


def _find_body_problem(body: str, encoding: Any, headers: Mapping[str, Any]) -> str | None:
    if encoding not in (None, "base64"):
        return "its body_encoding is not base64"
    try:
        data = body.encode() if encoding is None else base64.b64decode(body)
    except ValueError:
        return "its body is not base64" if encoding else "its body is not Unicode"
    if compression := headers.get("compression"):
        try:
            decompress(data, compression)
        except Exception:  # noqa: BLE001 - each method has errors of its own
            return "its body is not compressed as its header says"
    return None


def find_task_problem(message: Any, functions: Mapping[str, Callable[..., Any]]) -> str | None:
    """Return why a message asks for nothing that a worker can do, or None where it may.

    `functions` are our own tasks, by name: their arguments must fit the annotations. A task that the worker does not
    have is left to Celery, which stores that as the result.
    """
    headers: Mapping[str, Any] = message.headers
    try:
        body = message.payload
    except Exception as error:  # noqa: BLE001 - each serializer has errors of its own
        return f"its body can't be read ({type(error).__name__})"
    if problem := _find_header_problem(headers) or _find_protocol_problem(body):
        return problem
    function = functions.get(headers["task"])
    return _find_argument_problem(function, body[0], body[1]) if function else None


def _find_protocol_problem(body: Any) -> str | None:
    """Return why the body is not what Celery's protocol 2 has there."""
    if not isinstance(body, list | tuple) or len(body) != 3:  # noqa: PLR2004
        return "its body is no list of arguments, keyword arguments and links"
    args, kwargs, embed = body
    for name, value, types in (
        ("arguments", args, (list, tuple)),
        ("keyword arguments", kwargs, (dict,)),
        ("links", embed, (dict, _NONE)),
    ):
        if problem := _find_type_problem(name, value, types):
            return problem
    for name, value in (embed or {}).items():
        # Celery puts them beside the headers, and over them. A name that is new to us is a later version's.
        if name in _HEADERS or name in ("id", "task", "args", "kwargs"):
            return f"its links have {name}, which is a header"
        if name in _EMBED and (problem := _find_type_problem(name, value, _EMBED[name])):
            return problem
    return None


def _find_header_problem(headers: Mapping[str, Any]) -> str | None:
    for name in ("task", "id", "shadow"):
        value = headers.get(name)
        if name == "shadow" and value is None:
            continue
        if not isinstance(value, str):
            return f"its header {name} is {_name_type(value)}, no text"
        if not 0 < len(value) <= _LONGEST_TEXT or not _is_unicode(value):
            return f"its header {name} is no text of 1 to {_LONGEST_TEXT} characters"
    for name, types in _HEADERS.items():
        if problem := _find_type_problem(f"header {name}", headers.get(name), types):
            return problem
    for name in ("eta", "expires"):
        try:
            maybe_iso8601(headers.get(name))
        except (ValueError, TypeError, OverflowError):
            return f"its header {name} is no time"
    limits = headers.get("timelimit")
    if limits and (len(limits) != 2 or not all(isinstance(limit, _NUMBER) for limit in limits)):  # noqa: PLR2004
        return "its header timelimit is no pair of numbers"
    return None


def _find_argument_problem(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> str | None:
    """Return which argument is not of the type that the function's annotation says."""
    signature, adapters = _read_signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return "its arguments are not those of the task"
    for name, value in bound.arguments.items():
        if isinstance(value, str) and not _is_unicode(value):
            return f"its argument {name} is no Unicode"
        try:
            adapters[name].validate_python(value, strict=True)
        except ValidationError:
            return f"its argument {name} is {_name_type(value)}, which it can't be"
    return None


@cache
def _read_signature(function: Callable[..., Any]) -> tuple[inspect.Signature, Mapping[str, TypeAdapter[Any]]]:
    signature = inspect.signature(function, eval_str=True)
    # Of `*args` and `**kwargs` the annotation is that of one value.
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    untold = [name for name, of in signature.parameters.items() if of.annotation is of.empty or of.kind in several]
    return signature, {
        name: TypeAdapter(Any if name in untold else of.annotation) for name, of in signature.parameters.items()
    }


def describe_message(message: Any) -> str:
    """Return which message it is, in a few words."""
    names = (message.headers.get(name) for name in ("task", "id"))
    shown = " ".join(ascii(name)[:_LONGEST_SHOWN] for name in names if isinstance(name, str))
    return f"{shown or 'without a task and an id'}, {len(message.body or b'')} bytes"


def drop(which: str, problem: str) -> None:
    """Say in the log that a message was dropped; without its content, which may hold secrets."""
    logger.error("Dropped a malformed message (%s): %s", which, problem)


def where_raised(error: Exception) -> str:
    """Return the type and the place of an exception; its text may quote the message."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.name} ({place.filename.rpartition('/')[2]}:{place.lineno})"


def _find_type_problem(name: str, value: Any, types: tuple[type, ...]) -> str | None:
    # A bool is an int for Python, and for nobody else.
    is_stray_bool = isinstance(value, bool) and bool not in types
    if isinstance(value, types) and not is_stray_bool and (not isinstance(value, str) or _is_unicode(value)):
        return None
    return f"its {name} is {_name_type(value)}, which it can't be"


def _is_unicode(text: str) -> bool:
    """Return whether the text can be written as UTF-8: half a character can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)
