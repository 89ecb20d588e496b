"""Calls of a single action, and how they failed."""

from typing import Any

import pytest

from helpers.raw_http_server import Server
from workflow_state.actions.execute import execute_http_action
from workflow_state.errors import HttpActionError
from workflow_state.schema import ActionDefinition, HttpActionResult


def definition(
    server: Server, path: str = "/", method: str = "GET", timeout: int = 5_000, **fields: Any
) -> ActionDefinition:
    endpoint = {"url": server.url + path, "method": method, "timeout": timeout, **fields.pop("endpoint", {})}
    return ActionDefinition.model_validate({"id": "test", "endpoint": endpoint, **fields})


def call(server: Server, inputs: dict[str, Any] | None = None, **fields: Any) -> HttpActionResult:
    return execute_http_action(definition(server, **fields), inputs or {})


def failure(server: Server, inputs: dict[str, Any] | None = None, **fields: Any) -> HttpActionError:
    with pytest.raises(HttpActionError) as caught:
        call(server, inputs, **fields)
    # What happened is told once: nothing of httpx's exceptions, which hold the whole request, goes along.
    assert caught.value.__cause__ is None
    return caught.value


def outcome(server: Server, inputs: dict[str, Any] | None = None, **fields: Any) -> tuple[str, bool]:
    detail = failure(server, inputs, **fields).detail
    return detail.category.value, detail.retryable
