"""Builders that make a test read like a graph: `plan(a=[], b=["a"])`."""

from typing import Any


def action(action_id: str, dependencies: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a planned action that calls /echo, unless another definition is named."""
    return {
        "id": action_id,
        "actionDefinitionId": "echo",
        "inputs": {"name": action_id},
        "dependencies": dependencies or [],
        **fields,
    }


def plan(*actions: dict[str, Any], name: str = "a test plan", **graph: list[str]) -> dict[str, Any]:
    """Return a plan of these actions, and of one echoing action for each name with its dependencies."""
    return {"name": name, "actions": [*actions, *(action(key, value) for key, value in graph.items())]}
