"""Hooks for what follows executions from outside: `engine/telemetry.py` sets them. Until then each does nothing.

The code calls `hooks.attempt(…)`, and whoever wants to know sets it: `hooks.attempt = my_function`. A process has one
function for each hook. A hook must not raise.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class OutgoingRequest(Protocol):
    """A request before it leaves, whichever library sends it: `url` has a scheme, a host and a port."""

    method: str
    url: Any
    headers: Any


def _do_nothing(*_: object) -> None:
    """Be the hook that nobody has set."""


def _give_no_headers(*_: object) -> AbstractContextManager[Mapping[str, Any]]:
    return nullcontext({})


def _take_any_status(*_: object) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(_do_nothing)


submit: Callable[[str, str, str], AbstractContextManager[Mapping[str, Any]]] = _give_no_headers
"""Around the submission of an execution, called with its id, its plan's id and its plan's name.

It gives the headers that the execution's first message is to have besides.
"""

attempt: Callable[[str, int], None] = _do_nothing
"""Before an attempt sends its request, called with the id of its definition and its number (from 1)."""

retry: Callable[[str, str | None], None] = _do_nothing
"""Before a retry is published, called with the id of the definition and the category of the error.

The category is None where nothing was sent: the attempt was held back, or waits for another one.
"""

request: Callable[[OutgoingRequest], AbstractContextManager[Callable[[int], None]]] = _take_any_status
"""Around each HTTP request until the headers of its answer are there. It may add headers to the request.

It gives a function that is called with the status of the answer.
"""
