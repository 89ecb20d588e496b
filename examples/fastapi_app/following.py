"""Following executions: one watcher for each, however many clients look at it.

The watcher reads the state in a thread, a few times a second, and only while someone looks. A client that is slow gets
fewer events, each with all that has changed for it since its last one: nothing piles up for anybody.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from anyio import CapacityLimiter, to_thread

from workflow_state import BrokerUnavailableError, ExecutionNotFoundError, ExecutionState, get_execution_state

POLL_S = 0.25
ENDED = frozenset({"completed", "failed", "cancelled"})

# Threads of their own: where Redis is slow, requests do not wait behind those who only look.
_threads = CapacityLimiter(4)


@dataclass(eq=False, slots=True)
class Watch:
    """The newest view of an execution; `turned` is set, and replaced, when there is a newer one, or never will be."""

    view: dict[str, Any]
    turned: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False
    clients: int = 0
    watcher: asyncio.Task[None] | None = None


_watches: dict[str, Watch] = {}


async def follow(state: ExecutionState) -> AsyncIterator[dict[str, Any]]:
    """Yield the execution in short, then what has changed since, up to its end.

    `{id, version, status, metrics, actions: {id: {status, attempts}}, questions: [...]}`: `actions` are those that
    changed, all of them the first time, and never with inputs or outputs; `questions` are the confirmations that wait.
    """
    watch = _watches.get(state.id)
    if watch is None:
        watch = _watches[state.id] = Watch(make_view(state))
        watch.watcher = asyncio.create_task(_keep_looking(state.id, watch))
    watch.clients += 1
    told: dict[str, Any] = {}
    try:
        while True:
            view, turned = watch.view, watch.turned
            actions = {name: action for name, action in view["actions"].items() if told.get(name) != action}
            told = view["actions"]
            yield {**view, "actions": actions}
            if view["status"] in ENDED or watch.is_over:
                return
            await turned.wait()
    finally:
        # Also where the client has gone: the server then closes this generator.
        watch.clients -= 1
        if not watch.clients:
            _watches.pop(state.id)
            watch.watcher.cancel() if watch.watcher else None


def make_view(state: ExecutionState) -> dict[str, Any]:
    """Return what a client is told of a state."""
    return {
        "id": state.id,
        "version": state.version,
        "status": state.status,
        "metrics": state.metrics.to_json_data(),
        "actions": {
            name: {"status": action.status, "attempts": action.attempts} for name, action in state.action_states.items()
        },
        "questions": [item.to_json_data() for item in state.confirmations if item.confirmed is None],
    }


def _look(execution_id: str) -> dict[str, Any]:
    return make_view(get_execution_state(execution_id))


async def _keep_looking(execution_id: str, watch: Watch) -> None:
    pause_s = POLL_S
    while watch.view["status"] not in ENDED and not watch.is_over:
        await asyncio.sleep(pause_s)
        began_s = time.monotonic()
        view = watch.view
        with suppress(BrokerUnavailableError):  # it may be back the next time
            try:
                view = await to_thread.run_sync(_look, execution_id, limiter=_threads)
            except ExecutionNotFoundError:
                watch.is_over = True
        # Of a huge plan a state takes long to read: a tenth of the time is enough to spend on looking.
        pause_s = max(POLL_S, 9 * (time.monotonic() - began_s))
        if view["version"] != watch.view["version"] or watch.is_over:
            watch.view = view
            turned, watch.turned = watch.turned, asyncio.Event()
            turned.set()
