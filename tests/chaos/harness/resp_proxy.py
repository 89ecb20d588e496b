"""A proxy in front of a real Redis that counts the writes, and breaks connections at exactly one of them.

It runs in one thread of its own, on one event loop. So what a test does at a write stops the proxy's whole world: while
it runs nothing else passes, on no connection.

Not understood, as no client here uses them: CLIENT REPLY OFF and SKIP, MONITOR, and TLS.
"""

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

READS = frozenset(
    b"""
    BITCOUNT BITPOS DBSIZE DUMP EVALSHA_RO EVAL_RO EXISTS EXPIRETIME FCALL_RO GET GETBIT GETRANGE HEXISTS HGET HGETALL
    HKEYS HLEN HMGET HRANDFIELD HSCAN HSTRLEN HVALS KEYS LINDEX LLEN LPOS LRANGE MEMORY MGET OBJECT PEXPIRETIME PFCOUNT
    PTTL RANDOMKEY SCAN SCARD SDIFF SINTER SISMEMBER SMEMBERS SMISMEMBER SRANDMEMBER SSCAN STRLEN SUBSTR SUNION TIME TTL
    TYPE XINFO XLEN XPENDING XRANGE XREAD XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE
    ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION

    ACL AUTH CLIENT CLUSTER COMMAND CONFIG DISCARD ECHO HELLO INFO LATENCY MODULE MULTI PING PSUBSCRIBE PUBSUB
    PUNSUBSCRIBE QUIT READONLY READWRITE RESET ROLE SCRIPT SELECT SLOWLOG SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE UNSUBSCRIBE
    UNWATCH WAIT WAITAOF WATCH
    """.split()
)
"""What leaves the data as it is; every other command counts as a write."""

BLOCKING_TAKES = frozenset(b"BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN".split())
"""What waits for something to take. Whether, and when, it writes is known from its reply alone."""

_SUBSCRIBING = frozenset(b"PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE UNSUBSCRIBE".split())
_SCRIPTS = frozenset(b"EVAL EVALSHA FCALL".split())
# What begins a message that answers nothing, where RESP2 has no type of its own for that.
_TOLD = frozenset(
    b"message pmessage psubscribe punsubscribe smessage ssubscribe subscribe sunsubscribe unsubscribe".split()
)
_NOTHING = (b"*-1\r\n", b"$-1\r\n", b"_\r\n")
# Closing such a socket sends RST rather than FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Write(NamedTuple):
    """One counted write: its number from 1, its command, and its first key.

    A transaction's command is `EXEC(HSET ZADD)`, with the first key of its first write.
    """

    number: int
    command: str
    key: str


When = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class _Fault:
    number: int
    when: When
    do: Callable[[], object]


@dataclass
class RespProxy:
    """A running proxy; made by `resp_proxy`. Its methods may be called from any thread, and by what a fault does."""

    target: str
    """Where Redis is. May be changed, as for a Redis that was started anew elsewhere: new connections go there."""
    url: str = ""
    record: list[Write] = field(default_factory=list)
    """The writes so far, in the order in which they were counted."""
    fired: list[Write] = field(default_factory=list)
    """The writes at which something was done, once it is done."""
    counts: Callable[[str, str], bool] = lambda _command, _key: True
    """Whether one with this command and first key counts: to leave out what comes by the clock, as heartbeats do."""
    latency_s: float = 0.0
    """How long each buffer that arrives waits before it is forwarded, in each direction."""
    # What follows is for this module alone.
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    thread: threading.Thread | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    links: set["_Link"] = field(default_factory=set)
    faults: list[_Fault] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    is_silent: bool = False

    def at_write(self, number: int, when: When, do: Callable[[], object]) -> None:
        """Call `do` at that write, once, and close the write's connection.

        "before": Redis has executed what came before on this connection, and never sees this write. "after": Redis has
        executed this write, and the client does not get the reply.

        Where that write can't be met, because it has passed, or because it is a BRPOP, which can't be known to take
        something "before" it has, it is done at the first write from there on that can; `fired` tells which one it was.
        What `do` raises is raised where the context ends. It must not wait for something that comes through this proxy.
        """
        self.faults.append(_Fault(number, when, do))

    def reset_all(self) -> None:
        """End all connections with RST, to the clients and (over TCP) to Redis."""
        self._in_loop(lambda: [link.reset() for link in tuple(self.links)])

    def silence(self) -> None:
        """Forward nothing more: connections stay open without an answer, new ones too, and neither side gets a FIN.

        Redis keeps its ends, as it does where a firewall drops packets: a BRPOP that waits there may still take a
        message, and that is lost. What happens on a silenced connection is not counted.
        """

        def act() -> None:
            self.is_silent = True
            for link in self.links:
                link.is_silent = True

        self._in_loop(act)

    def speak(self) -> None:
        """Let new connections work again. Those that were silenced stay dead."""
        self._in_loop(partial(setattr, self, "is_silent", False))

    def _in_loop(self, act: Callable[[], object]) -> None:
        """Call it in the loop's thread, between what has happened on the sockets so far and what comes later."""

        async def acted() -> None:
            # A connection that a client has made already takes a few turns to be ours; one that is ended, two to be so.
            await _turns(5)
            act()
            await _turns(2)

        if self.thread is threading.current_thread():
            act()
        else:
            asyncio.run_coroutine_threadsafe(acted(), self.loop).result()

    def count(self, command: bytes, key: bytes, *, can_be_held_back: bool = True) -> tuple[Write | None, _Fault | None]:
        """Count a write, and return what is to be done at it; for this module alone."""
        write = Write(len(self.record) + 1, command.decode(errors="replace"), key.decode(errors="replace"))
        if not self.counts(write.command, write.key):
            return None, None
        self.record.append(write)
        for fault in self.faults:
            if fault.number <= write.number and (can_be_held_back or fault.when == "after"):
                self.faults.remove(fault)
                return write, fault
        return write, None


@contextmanager
def resp_proxy(target: str) -> Iterator[RespProxy]:
    """Listen on a port of 127.0.0.1 until the block ends, and forward to the Redis at this URL.

    The URL may be redis+socket:///path, unix:///path or redis://host:port; each client selects its database itself.
    """
    proxy = RespProxy(target)
    loop = proxy.loop
    loop.set_exception_handler(lambda _, context: proxy.errors.append(_error_of(context)))
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.setblocking(False)
        loop.add_reader(listener, partial(_accept, proxy, listener))
        proxy.url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        proxy.thread = threading.Thread(target=loop.run_forever, name="resp-proxy", daemon=True)
        proxy.thread.start()
        try:
            yield proxy
        finally:
            loop.call_soon_threadsafe(loop.stop)
            proxy.thread.join()
            # From here on the loop is this thread's.
            loop.remove_reader(listener)
            loop.run_until_complete(_close(proxy))
            loop.close()
    if proxy.errors:
        raise proxy.errors[0]


def _accept(proxy: RespProxy, listener: socket.socket) -> None:
    # Not asyncio's own server: closed while it accepts a connection, that leaks it.
    with suppress(BlockingIOError, ConnectionAbortedError):
        connection, _ = listener.accept()
        task = proxy.loop.create_task(_adopt(proxy, connection))
        proxy.tasks.add(task)
        task.add_done_callback(proxy.tasks.discard)


async def _adopt(proxy: RespProxy, connection: socket.socket) -> None:
    await proxy.loop.connect_accepted_socket(lambda: _Link(proxy).client, connection)


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def _close(proxy: RespProxy) -> None:
    # Those that have been accepted and are not links yet come first; what a link awaits ends with it.
    await asyncio.gather(*proxy.tasks, return_exceptions=True)
    for link in tuple(proxy.links):
        link.reset()
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
    await _turns(2)


def _error_of(context: dict) -> BaseException:
    return context.get("exception") or RuntimeError(context["message"])


class _Side(asyncio.Protocol):
    """One of a link's two sockets. Hands on what arrives there, in its order, after the proxy's latency."""

    def __init__(self, link: "_Link", made: Callable[[], None], received: Callable[[bytes], None]) -> None:
        self._link = link
        self._made = made
        self._received = received
        self._arrived: deque[Callable[[], None]] = deque()
        # asyncio sets TCP_NODELAY itself.
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._made()

    def data_received(self, data: bytes) -> None:
        self._hand_on(partial(self._received, data))

    def connection_lost(self, _: Exception | None) -> None:
        self._hand_on(self._link.end)

    def _hand_on(self, act: Callable[[], None]) -> None:
        delay_s = self._link.proxy.latency_s
        if delay_s or self._arrived:
            self._arrived.append(act)
            # Whichever timer is first has the oldest: a latency that changes meanwhile changes no order.
            self._link.proxy.loop.call_later(delay_s, self._hand_on_oldest)
        else:
            act()

    def _hand_on_oldest(self) -> None:
        self._arrived.popleft()()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A command that was forwarded and has no reply yet; `fault` is to be done when that comes."""

    command: bytes
    key: bytes
    write: Write | None = None
    fault: _Fault | None = None


class _Link:
    """A client's connection, and the one to Redis that was made for it."""

    def __init__(self, proxy: RespProxy) -> None:
        self.proxy = proxy
        self.is_silent = False
        self.client = _Side(self, self._connect, self._requests_received)
        self._redis = _Side(self, self._connected, self._replies_received)
        self._connecting: asyncio.Task[None] | None = None
        # What came before the connection to Redis was there.
        self._early: list[bytes] | None = []
        self._ends_when_connected = False
        self._requests = _Frames()
        self._replies = _Frames()
        self._asked: deque[_Asked] = deque()
        # The writes of a transaction that has begun: command and key.
        self._transaction: list[tuple[bytes, bytes]] | None = None
        self._has_subscribed = False
        # From the write on at which something is to be done, nothing more is forwarded to Redis.
        self._halted_by: tuple[Write, _Fault] | None = None
        self._has_ended = False

    def reset(self) -> None:
        self._finish()
        for side in (self.client, self._redis):
            if side.transport and not (raw := side.transport.get_extra_info("socket")).fileno() < 0:
                if raw.family != socket.AF_UNIX:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                side.transport.abort()

    def end(self) -> None:
        """Close both sides, after what was written to them; but no end passes a silenced link."""
        if self.is_silent or self._has_ended:
            return
        if self._early:
            # A client that sent something and went: Redis is to see it all the same.
            self._ends_when_connected = True
            return
        self._finish()
        for side in (self.client, self._redis):
            if side.transport:
                side.transport.close()

    def _finish(self) -> None:
        self._has_ended = True
        self.proxy.links.discard(self)
        if self._connecting:
            self._connecting.cancel()
        self._give_back()

    def _connect(self) -> None:
        self.proxy.links.add(self)
        self.is_silent = self.proxy.is_silent
        if not self.is_silent:
            self._connecting = self.proxy.loop.create_task(self._connect_to(self.proxy.target))

    async def _connect_to(self, target: str) -> None:
        loop = asyncio.get_running_loop()
        url = urlsplit(target)
        try:
            if url.scheme in {"redis+socket", "unix"}:
                await loop.create_unix_connection(lambda: self._redis, unquote(url.path))
            else:
                await loop.create_connection(lambda: self._redis, url.hostname, url.port or 6379)
        except OSError:
            self._early = None
            self.end()

    def _connected(self) -> None:
        if self._has_ended:
            self.reset()
            return
        early, self._early = self._early, None
        if early:
            self._requests_received(b"".join(early))
        if self._ends_when_connected:
            self.end()

    def _requests_received(self, data: bytes) -> None:
        if self.is_silent or self._has_ended or self._halted_by:
            return
        if self._early is not None:
            self._early.append(data)
            return
        forwarded = []
        for frame in self._requests.feed(data):
            asked = self._ask(words) if (words := _words(frame)) else None
            if asked and asked.fault:
                self._halted_by = (asked.write, asked.fault)
                if asked.fault.when == "before":
                    break
            forwarded.append(frame)
            if asked:
                self._asked.append(asked)
            if self._halted_by:
                break
        if forwarded:
            self._redis.transport.write(b"".join(forwarded))
        self._fire_if_settled()

    def _ask(self, words: list[bytes]) -> _Asked | None:
        """Count a command that is a write, and return it; None where nothing will answer it."""
        command, key = words[0].upper(), _first_key(words)
        if command in _SUBSCRIBING:
            # Confirmed once for each channel, by what RESP3 calls a push.
            self._has_subscribed = True
            return None
        if command == b"MULTI":
            self._transaction = []
        elif command in {b"EXEC", b"DISCARD"}:
            writes, self._transaction = self._transaction, None
            if command == b"EXEC" and writes:
                name = b"EXEC(%b)" % b" ".join(command for command, _ in writes)
                return _Asked(command, key, *self.proxy.count(name, writes[0][1]))
        elif command in READS:
            pass
        elif self._transaction is not None:
            self._transaction.append((command, key))
            # Its reply is QUEUED, also for one that would wait outside of a transaction.
            return _Asked(b"", key)
        elif command not in BLOCKING_TAKES:
            return _Asked(command, key, *self.proxy.count(command, key))
        return _Asked(command, key)

    def _replies_received(self, data: bytes) -> None:
        if self.is_silent or self._has_ended:
            return
        forwarded = []
        for frame in self._replies.feed(data):
            if not self._answers_nothing(frame) and self._asked:
                asked = self._asked.popleft()
                if asked.command in BLOCKING_TAKES and frame not in _NOTHING and not frame.startswith(b"-"):
                    write, fault = self.proxy.count(
                        asked.command, _first_word(frame) or asked.key, can_be_held_back=False
                    )
                    # Another fault may wait already, for a write that was sent behind this one; this one's is earlier.
                    if fault:
                        self._give_back()
                        self._halted_by = (write, fault)
                        asked = _Asked(asked.command, asked.key, write, fault)
                if asked.fault:
                    break
            forwarded.append(frame)
        else:
            asked = None
        if forwarded and not self.client.transport.is_closing():
            self.client.transport.write(b"".join(forwarded))
        if asked and asked.fault:
            self._fire()
        else:
            self._fire_if_settled()

    def _answers_nothing(self, frame: bytes) -> bool:
        if frame.startswith(b">"):
            return True
        return self._has_subscribed and frame.startswith(b"*") and _first_word(frame) in _TOLD

    def _give_back(self) -> None:
        """Leave to another write what was to be done at one whose time has not come, as its connection ended first."""
        if self._halted_by:
            self.proxy.faults.append(self._halted_by[1])
            self._halted_by = None

    def _fire_if_settled(self) -> None:
        """Do what is to be done before a write, once Redis has answered all that came before it.

        Closed earlier, Redis might lose commands that it has not read yet.
        """
        if self._halted_by and self._halted_by[1].when == "before" and not self._asked:
            self._fire()

    def _fire(self) -> None:
        write, fault = self._halted_by
        self._halted_by = None
        try:
            fault.do()
        except Exception as error:  # noqa: BLE001 - raised where the context ends
            self.proxy.errors.append(error)
        self.end()
        self.proxy.fired.append(write)


class _Frames:
    """Cuts a stream of RESP2 or RESP3 into whole requests or replies.

    Goes on where it stopped: a long reply in many pieces is not read again with each of them.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        # How many values the current frame lacks; nesting needs no more than their sum.
        self._missing = 1

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        frames = []
        start = 0
        while self._pass_value():
            if not self._missing:
                frames.append(bytes(self._buffer[start : self._position]))
                start = self._position
                self._missing = 1
        del self._buffer[:start]
        self._position -= start
        return frames

    def _pass_value(self) -> bool:
        """Go past the next value, or an aggregate's head; False where it has not arrived as a whole."""
        line_end = self._buffer.find(b"\r\n", self._position)
        if line_end < 0:
            return False
        kind = chr(self._buffer[self._position])
        stop = line_end + 2
        if kind in "$=!*~>%|":
            size = max(int(self._buffer[self._position + 1 : line_end]), -1)
            if kind in "$=!":
                stop += size + 2 if size >= 0 else 0
                if len(self._buffer) < stop:
                    return False
                self._missing -= 1
            else:
                # A map's entries are two values each; attributes are none themselves, the value comes behind them.
                self._missing += max(size, 0) * (2 if kind in "%|" else 1) - (kind != "|")
        else:
            self._missing -= 1
        self._position = stop
        return True


def _words(request: bytes) -> list[bytes]:
    """Return a request's command and arguments: an array of bulk strings, or a line as one types it."""
    if not request.startswith(b"*"):
        return request.split()
    words = []
    position = request.index(b"\r\n") + 2
    while position < len(request):
        start = request.index(b"\r\n", position) + 2
        end = start + int(request[position + 1 : start - 2])
        words.append(request[start:end])
        position = end + 2
    return words


def _first_word(reply: bytes) -> bytes:
    """Return the bulk string that an array begins with, or nothing."""
    head, _, rest = reply.partition(b"\r\n")
    if not head.startswith(b"*") or not rest.startswith(b"$"):
        return b""
    size, _, rest = rest.partition(b"\r\n")
    return rest[: max(int(size[1:]), 0)]


def _first_key(words: list[bytes]) -> bytes:
    if words[0].upper() in _SCRIPTS:
        return words[3] if len(words) > 3 and words[2] != b"0" else b""
    return words[1] if len(words) > 1 else b""
