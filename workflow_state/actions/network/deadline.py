"""A deadline for one HTTP exchange as a whole, which every operation of the connection keeps.

httpx has a timeout for each read and write, and none for all of them: it never gives up on a server that sends one byte
every half second. Here every look-up, connect, read and write gets the time that the whole exchange has left. So slow
headers and slow bodies end on time. This needs no thread, but for looking up a name (lookup.py).

Where actions may connect to (egress.py) is checked after the name is looked up and before the socket is opened. So the
address that was checked is the one that is connected to: no second look-up can change it. TLS and `Host` use the name.

The stream also notes two things that no exception tells: whether a byte of the request may have left, and whether the
server ended the connection. An unsafe request that may have left must not be sent again.
"""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from workflow_state.actions.network.egress import Governing, get_rules, refuse_addresses, refuse_host
from workflow_state.actions.network.library import httpcore
from workflow_state.actions.network.lookup import MAX_LOOKUPS, AddressInfo, look_up
from workflow_state.actions.network.turns import Turn


@dataclass(slots=True)
class Exchange:
    """One request and its response, as the network stream sees them. `ends_at_s` is on the monotonic clock.

    Where a redirect is followed, the exchange goes on with the next request until the same end (`go_on_exchange`).
    """

    ends_at_s: float
    before_send: Callable[[], None] | None = None
    sent: bool = False
    """Whether a byte of the request may have left."""
    disconnected: bool = False
    """Whether the server closed or reset the connection."""
    certificate_problem: str | None = None
    """Why the server's certificate was refused."""
    speaks_no_tls: bool = False
    """Whether the server answered a TLS handshake with something else, as one for http:// does."""
    refused_by: Governing | None = None
    """The setting that forbids the connection."""
    turn: Turn = field(default_factory=Turn)
    """What an exchange waits for that costs much of the processor."""


_TAIL_BYTES = 64
# What OpenSSL says where the first bytes of an answer are no TLS; the version says which.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})

_current: ContextVar[Exchange | None] = ContextVar("workflow_state_exchange", default=None)


@contextmanager
def begin_exchange(timeout_s: float, before_send: Callable[[], None] | None = None) -> Iterator[Exchange]:
    """Bound everything that this thread sends and receives within the block.

    `before_send` is called at most once: when the connection stands, right before the first byte of the request can
    leave. An exception of it ends the request unchanged, and nothing was sent.
    """
    exchange = Exchange(time.monotonic() + timeout_s, before_send)
    token = _current.set(exchange)
    try:
        yield exchange
    finally:
        exchange.turn.end()
        _current.reset(token)


def go_on_exchange(exchange: Exchange, before_send: Callable[[], None] | None) -> None:
    """Go on with the next request, of which nothing was sent yet; the time that is left stays the same."""
    exchange.turn.end()
    exchange.before_send = before_send
    exchange.sent = exchange.disconnected = False


def _note_handshake(exchange: Exchange, error: OSError) -> None:
    """Note why TLS did not come about, where that is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        exchange.certificate_problem = error.verify_message
    elif isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        exchange.speaks_no_tls = True


def _bound(timeout_s: float | None, expired: type[Exception]) -> float | None:
    """Return the time that an operation may take, in seconds; raise `expired` where none is left."""
    exchange = _current.get()
    if exchange is None:
        return timeout_s
    left_s = exchange.ends_at_s - time.monotonic()
    if left_s <= 0:
        raise expired("the time for the whole exchange is over")
    return left_s if timeout_s is None else min(timeout_s, left_s)


def _take_turn() -> None:
    exchange = _current.get()
    if exchange and not exchange.turn.take(_bound(None, httpcore.ReadTimeout)):
        raise httpcore.ReadTimeout("the time for the whole exchange is over")


def _end_turn() -> None:
    if exchange := _current.get():
        exchange.turn.end()


def _note_disconnect() -> None:
    if exchange := _current.get():
        exchange.disconnected = True


class DeadlineStream(httpcore.NetworkStream):
    """A socket, each of whose operations ends at the latest with the exchange."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._tail = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return at most `max_bytes`; nothing at the end of the stream."""
        _end_turn()
        self._socket.settimeout(_bound(timeout, httpcore.ReadTimeout))
        try:
            data = self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            _note_disconnect()
            raise httpcore.ReadError(str(error)) from error
        if not data:
            _note_disconnect()
        self._tail = data[-_TAIL_BYTES:]
        _take_turn()
        return data

    def has_read_beyond(self, end: bytes) -> bool:
        """Return whether more came than the message that ends with `end`."""
        return not self._tail.endswith(end[-len(self._tail) :])

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send the whole buffer."""
        _end_turn()
        # One send at a time, each with the time that is left: a server may take a few bytes now and then.
        remaining = memoryview(buffer)
        while remaining:
            is_first = self._announce_first_byte()
            self._socket.settimeout(_bound(timeout, httpcore.WriteTimeout))
            try:
                count = self._socket.send(remaining)
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from error
            except OSError as error:
                _note_disconnect()
                if is_first:
                    self._retract_first_byte()
                raise httpcore.WriteError(str(error)) from error
            remaining = remaining[count:]

    @staticmethod
    def _announce_first_byte() -> bool:
        exchange = _current.get()
        if exchange is None or exchange.sent:
            return False
        if exchange.before_send:
            hook, exchange.before_send = exchange.before_send, None
            hook()
        # The hook may have used up the time. This raises then, while it is still certain that nothing left.
        _bound(None, httpcore.WriteTimeout)
        exchange.sent = True
        return True

    def _retract_first_byte(self) -> None:
        # The first send fails on an idle connection that the server has reset. The kernel took nothing, so even an
        # unsafe request can be sent again. Not with TLS, which may have sent a record before it failed.
        if (exchange := _current.get()) and not isinstance(self._socket, ssl.SSLSocket):
            exchange.sent = False

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return the stream inside TLS; the socket is closed where the handshake fails."""
        try:
            # A timeout of the socket bounds the handshake as a whole.
            self._socket.settimeout(_bound(timeout, httpcore.ConnectTimeout))
            return DeadlineStream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname))
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            self.close()
            if exchange := _current.get():
                _note_handshake(exchange, error)
            raise httpcore.ConnectError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for: `ssl_object`, `socket`, `is_readable`; None for anything else."""
        match info:
            case "ssl_object":
                return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
            case "socket":
                return self._socket
            case "is_readable":
                return _is_readable(self._socket)
        return None


def _is_readable(sock: socket.socket) -> bool:
    """Return whether something arrived on an idle connection. It can only be that the server closed it."""
    if sock.fileno() < 0:
        return True
    # Not select(), which refuses descriptors from 1024 on.
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections that keep to the deadline of the exchange, and only to where actions may connect."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(MAX_LOOKUPS)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002  no local address is ever chosen
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002  nor an option
    ) -> httpcore.NetworkStream:
        """Return a stream to the first of the host's addresses that answers.

        The time is shared among the addresses, so that a dead first one does not use it up. Looking up counts too.
        Raises httpcore's ConnectTimeout and ConnectError. ConnectError is also raised where the host or one of its
        addresses is not allowed; then the exchange notes the setting that forbids it.
        """
        gives_up_at_s = None if timeout is None else time.monotonic() + timeout
        addresses = self._look_up_allowed(host, port, timeout)
        failure: Exception = httpcore.ConnectError("the host has no address")
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            left_s = None if gives_up_at_s is None else max(0.001, gives_up_at_s - time.monotonic())
            bound_s = _bound(left_s, httpcore.ConnectTimeout)
            share_s = None if bound_s is None else bound_s / (len(addresses) - index)
            try:
                return DeadlineStream(_connect(family, kind, protocol, address, share_s))
            except TimeoutError as error:
                failure = httpcore.ConnectTimeout(str(error))
            except OSError as error:
                failure = httpcore.ConnectError(str(error))
        raise failure

    def _look_up_allowed(self, host: str, port: int, timeout_s: float | None) -> list[AddressInfo]:
        rules = get_rules()
        _require_allowed(refuse_host(rules, host))
        try:
            addresses = look_up(host, port, _bound(timeout_s, httpcore.ConnectTimeout), self._places)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:
            # UnicodeError: a label that is longer than 63 characters.
            raise httpcore.ConnectError(f"the host name can't be resolved: {error}") from error
        _require_allowed(refuse_addresses(rules, host, [str(address[0]) for *_, address in addresses]))
        return addresses


def _require_allowed(governing: Governing | None) -> None:
    if governing is None:
        return
    if exchange := _current.get():
        exchange.refused_by = governing
    raise httpcore.ConnectError("the destination is not allowed")


def _connect(family: int, kind: int, protocol: int, address: Any, timeout_s: float | None) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # With this, a server that vanished is noticed before a long timeout has passed.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        sock.close()
        raise
    return sock
