"""Builders that make a test read like a graph, `plan(a=[], b=["a"])`, and readers of the state that comes of it."""

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


def asking(
    action_id: str, dependencies: list[str] | None = None, timeout: int | None = None, **fields: Any
) -> dict[str, Any]:
    """Return an action that waits for a confirmation."""
    confirmation: dict[str, Any] = {
        "required": True,
        "title": f"Send {action_id}?",
        "message": "It can't be taken back.",
    }
    if timeout is not None:
        confirmation["timeout"] = timeout
    return action(action_id, dependencies, userConfirmation=confirmation, **fields)


def statuses(state: dict[str, Any]) -> dict[str, str]:
    """Return each action's status."""
    return {name: action_state["status"] for name, action_state in state["actionStates"].items()}


def output_of(state: dict[str, Any], action_id: str) -> Any:
    """Return an action's output."""
    return state["actionStates"][action_id]["result"]["output"]
