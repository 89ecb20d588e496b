"""The process that submits plans and asks for states: a client of its own, as a team's API is one.

It reads calls from stdin, one JSON array `[function, arguments…]` a line, and answers each with a line of JSON. Where
Redis is away it tries again, with the same ids, as a client would.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from workflow_state import confirm_action, execute_plan, get_execution_state, resume_execution
from workflow_state.celery import app
from workflow_state.errors import (
    BrokerUnavailableError,
    ConfirmationError,
    ExecutionConflictError,
    ExecutionNotFoundError,
)
from workflow_state.store.connection import CONNECTION_ERRORS

_PATIENCE_S = 60


def submit(plans: dict[str, Any]) -> list[str]:
    """Submit each plan under its id."""
    for execution_id, plan in plans.items():
        _patiently(lambda plan=plan, key=execution_id: execute_plan.apply_async((plan,), task_id=key))
    return list(plans)


def states(ids: list[str]) -> dict[str, Any]:
    """Return the state of each execution that there is."""
    return {execution_id: found for execution_id in ids if (found := _patiently(lambda key=execution_id: _state(key)))}


def unended(ids: list[str]) -> list[str]:
    """Return the first execution that has not ended, and all after it: nothing is returned when all have ended.

    Whoever waits for hundreds asks often, and reading every state each time takes what the workers need.
    """
    for number, key in enumerate(ids):
        found = _patiently(lambda key=key: _state(key))
        if found and "completedAt" not in found:
            return ids[number:]
    return []


def confirm(execution_id: str, action_id: str) -> str | None:
    """Answer, and return what there was to say against it."""
    asked = [item for item in get_execution_state(execution_id).confirmations if item.action_id == action_id]
    try:
        confirm_action(execution_id, action_id, True, digest=asked[-1].digest if asked else None)
    except ConfirmationError as error:
        return str(error)
    return None


def resume(execution_id: str) -> str:
    """Resume, and return the new id, or why not."""
    try:
        return str(resume_execution(execution_id).id)
    except ExecutionConflictError as error:
        return str(error)


def revoke(task_id: str, verb: str) -> None:
    """Revoke a task as Celery's users do: by a handle, by the control command, or as Flower's button does."""
    if verb == "handle":
        execute_plan.AsyncResult(task_id).revoke(terminate=True)
    else:
        app.control.revoke(task_id, terminate=verb == "terminate", signal="SIGKILL")


def publish(task: str, arguments: list[Any]) -> None:
    """Put a message on the queue past everything that would refuse it."""
    app.send_task(task, arguments, queue="workflow_state")


def _state(execution_id: str) -> Any:
    try:
        return get_execution_state(execution_id).to_json_data()
    except ExecutionNotFoundError:
        return None


def _patiently(call: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return call()
        except (*CONNECTION_ERRORS, RedisError, BrokerUnavailableError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def main() -> None:
    """Answer until stdin ends."""
    # Which may change how messages are published (doubling.py).
    importlib.import_module(os.environ["CHAOS_APP"])
    functions = {call.__name__: call for call in (submit, states, unended, confirm, resume, revoke, publish)}
    # The answers' own stream: nothing else that is printed may get between them.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answers.write(json.dumps(functions[name](*arguments)) + "\n")
        answers.flush()
    app.close()


if __name__ == "__main__":
    main()
