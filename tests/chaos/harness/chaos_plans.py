"""Plans for chaos: each request's path ends in `<execution>.<action>`, so that the checker knows it."""

from typing import Any
from uuid import uuid4


def five_actions(dice: Any, execution_id: str, delay_ms: int = 150) -> dict[str, Any]:
    """Return a plan of five actions in three levels: safe, flaky, unsafe, keyed, safe."""

    def action(name: str, definition: str, *dependencies: str) -> dict[str, Any]:
        inputs = {"name": f"{execution_id}.{name}", "query.delay_ms": dice.randrange(delay_ms)}
        return {"id": name, "actionDefinitionId": definition, "inputs": inputs, "dependencies": list(dependencies)}

    return {
        "name": "five",
        "actions": [
            action("read", "echo"),
            action("flaky", "flaky"),
            action("pay", "post", "read", "flaky"),
            action("keyed", "keyed", "read"),
            action("last", "echo", "pay", "keyed"),
        ],
    }


def many(dice: Any, count: int, delay_ms: int = 150) -> dict[str, dict[str, Any]]:
    """Return that many plans of five actions, by their ids."""
    ids = [str(uuid4()) for _ in range(count)]
    return {execution_id: five_actions(dice, execution_id, delay_ms) for execution_id in ids}
