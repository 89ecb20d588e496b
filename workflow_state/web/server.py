"""A server for the run page alone: the addresses that it may listen on, and how it ends."""

import ipaddress
import socket
from collections.abc import Callable, Collection
from contextlib import suppress

import uvicorn

from workflow_state.errors import SettingsError
from workflow_state.web.app import create_web_app

_NOTIFY_S = 1
_GRACE_S = 3
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def serve_page(
    host: str,
    port: int,
    *,
    token: str | None = None,
    viewer_token: str | None = None,
    allowed_hosts: Collection[str] = (),
    started: Callable[[str], None],
    check: Callable[[], None] | None = None,
) -> None:
    """Serve the page until Ctrl-C; `started` is called with its address once it can be opened.

    `check` is called each second, and ends the server by raising. Raises SettingsError where the address is not
    loopback and there is no token, for a token that is too short, and where it can't be listened on.
    """
    is_loopback = listens_on_loopback(host)
    if not is_loopback and not token:
        raise SettingsError(
            f"{host} can be reached from other machines, and whoever opens the page can steer every execution: "
            "set a token with --token or WORKFLOW_STATE_WEB_TOKEN, or listen on 127.0.0.1"
        )
    names = {name.strip("[]").lower() for name in (*allowed_hosts, host)} | _LOOPBACK_NAMES
    application = create_web_app(token=token, viewer_token=viewer_token, allowed_hosts=names if is_loopback else None)
    with _listen(host, port) as listener:
        server = _Server(application.state.readings.close, check, application)
        started(f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        if server.failure:
            raise server.failure


def listens_on_loopback(host: str) -> bool:
    """Return whether only this machine can reach what listens there; a name other than localhost may be anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Server(uvicorn.Server):
    """Ends the streams of events when it is told to stop: it would wait for them."""

    def __init__(
        self, close_streams: Callable[[], None], check: Callable[[], None] | None, application: object
    ) -> None:
        self.failure: Exception | None = None
        self._close_streams = close_streams
        self._check = check
        super().__init__(
            uvicorn.Config(
                application,  # type: ignore[arg-type]
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
                timeout_notify=_NOTIFY_S,
                callback_notify=self._notify,
            )
        )

    async def _notify(self) -> None:
        try:
            if self._check:
                self._check()
        except SettingsError as error:
            self.failure = error
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._close_streams()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"the page can't listen on {host}:{port} ({error.strerror}); take another with --host and --port"
        ) from error
