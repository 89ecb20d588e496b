"""Live data for browsers: it is read once for all that look at the same, and sent as server-sent events.

Threads ask Redis, never the event loop. There is no task in the background: the first that finds the last reading too
old reads anew, and the others wait for that reading. So nothing is read when nobody looks, and nothing has
to be started or stopped where the application is mounted in another, whose lifespan it does not see.
"""

import json
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Generic, ParamSpec, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from redis import ConnectionPool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from workflow_state.client.connections import connection_pool
from workflow_state.schema import ExecutionStatus

LIST_KEY = "the list"
"""What all lists of executions are read as: no execution has such an id."""

T = TypeVar("T")
P = ParamSpec("P")

_FASTEST_S = 0.25
_SLOWEST_S = 1.0
_SLOWING_DOWN = 1.3
# A huge plan takes long to read: a fifth of the time is enough to spend on looking.
_REST_PER_READING = 4
_HEARTBEAT_S = 15.0
_RECONNECT_MS = 2_000

# Celery gives each thread a result backend, and so connections to Redis, of its own.
_MOST_THREADS = 8
_thread = threading.local()
_beginning = threading.Lock()
_limiter: RunVar[CapacityLimiter] = RunVar("the threads of the run page")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that blocks, without holding the event loop up."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(_MOST_THREADS)
        _limiter.set(limiter)

    def call() -> T:
        if not hasattr(_thread, "end"):
            # Celery reads its settings when they are first needed; a second thread would find half of them.
            with _beginning:
                _thread.end = _ThreadEnd(connection_pool())
        return function(*args, **kwargs)

    return await to_thread.run_sync(call, limiter=limiter)


class _ThreadEnd:
    """Is forgotten when its thread ends, and closes the thread's connections then: by itself nobody would."""

    def __init__(self, pool: ConnectionPool) -> None:
        weakref.finalize(self, pool.disconnect).atexit = False


class Reading(Generic[T]):
    """A value that is read again and again: soon while it changes, more and more seldom while it does not."""

    def __init__(self, read: Callable[[], T]) -> None:
        self.lookers = 0
        self._read = read
        self._lock = anyio.Lock()
        self._value: T | None = None
        self._pace_s = _FASTEST_S
        self._due_at_s = 0.0
        self._hurried = anyio.Event()

    async def value(self) -> T:
        """Return the value: what was read last, or now where that is due."""
        async with self._lock:
            if self._value is None or time.monotonic() >= self._due_at_s:
                begun_s = time.monotonic()
                value = await in_thread(self._read)
                now_s = time.monotonic()
                same = value == self._value
                self._pace_s = min(self._pace_s * _SLOWING_DOWN, _SLOWEST_S) if same else _FASTEST_S
                self._due_at_s = now_s + max(self._pace_s, _REST_PER_READING * (now_s - begun_s))
                self._value = value
            return self._value

    async def until_due(self) -> None:
        """Wait until the value is to be read again."""
        with anyio.move_on_after(max(0.0, self._due_at_s - time.monotonic())):
            await self._hurried.wait()

    def hurry(self) -> None:
        """Have the value read again at once: something was done that changes it."""
        self._pace_s, self._due_at_s = _FASTEST_S, 0.0
        self._hurried.set()
        self._hurried = anyio.Event()


class Readings:
    """All that is looked at, by what it is."""

    def __init__(self) -> None:
        self.is_closing = False
        self._by_key: dict[str, Reading[Any]] = {}
        self._wanted: Counter[ExecutionStatus | None] = Counter()

    @contextmanager
    def looking_at(self, key: str, read: Callable[[], T]) -> Iterator[Reading[T]]:
        """Share the reading with all others that look at the same; it is forgotten when nobody does any more."""
        reading = self._by_key.setdefault(key, Reading(read))
        reading.lookers += 1
        try:
            yield reading
        finally:
            reading.lookers -= 1
            if not reading.lookers:
                self._by_key.pop(key, None)

    @contextmanager
    def wanting(self, status: ExecutionStatus | None) -> Iterator[Collection[ExecutionStatus | None]]:
        """Yield the states for whose lists somebody looks, this one among them for now; None is the list of all."""
        is_first = not self._wanted[status]
        self._wanted[status] += 1
        if is_first:
            self.hurry(LIST_KEY)
        try:
            yield self._wanted
        finally:
            self._wanted[status] -= 1
            if not self._wanted[status]:
                del self._wanted[status]

    def hurry(self, key: str) -> None:
        """Have all that look at it see at once what has just been done."""
        if reading := self._by_key.get(key):
            reading.hurry()

    def close(self) -> None:
        """End every stream: the server stops."""
        self.is_closing = True
        for reading in self._by_key.values():
            reading.hurry()


def event(name: str, data: Any) -> str:
    """Return one server-sent event (WHATWG HTML, 9.2); JSON has no line breaks of its own."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


async def follow(
    readings: Readings, key: str, read: Callable[[], T], tell: Callable[[T | None, T], tuple[str, bool]]
) -> AsyncGenerator[str]:
    """Yield events, and a comment where there was none for long.

    `tell` returns from the value before (None at first) and the value now what to send, and whether that is the end.
    Every stream begins with all there is, so that a browser may connect again at any time.
    """
    yield f"retry: {_RECONNECT_MS}\n\n"
    before: T | None = None
    sent_at_s = time.monotonic()
    with readings.looking_at(key, read) as reading:
        while not readings.is_closing:
            now = await reading.value()
            text, is_over = tell(before, now) if now is not before else ("", False)
            if not text and time.monotonic() - sent_at_s > _HEARTBEAT_S:
                text = ": still here\n\n"
            if text:
                sent_at_s = time.monotonic()
                yield text
            if is_over:
                return
            before = now
            await reading.until_due()


class EventStream(Response):
    """A stream of events that ends when the browser goes away, whatever the server's way of telling so."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str]) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        # Proxies are not to keep events back.
        self.init_headers({"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"})
        # A stream has no length.
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the events until they end, or nobody listens."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_disconnected, receive, tasks.cancel_scope)
            # Closed at once, not when it is collected: it counts as somebody who looks.
            async with aclosing(self._events) as events:
                with suppress(OSError):  # how some servers say that the browser has gone away
                    async for text in events:
                        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            tasks.cancel_scope.cancel()

    @staticmethod
    async def _until_disconnected(receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
