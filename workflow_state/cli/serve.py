"""The commands that run until Ctrl-C: `workflow-state dev` and `workflow-state web`."""

import importlib.util
import shlex
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click

from workflow_state.cli.extras import require_extra
from workflow_state.cli.help import help_end
from workflow_state.cli.options import actions_option, set_for_all, use_actions
from workflow_state.client.connections import require_redis
from workflow_state.engine.local import local_engine, local_flower, require_running
from workflow_state.settings import PREFIX, get_settings


def _address_options(command: Callable[..., int]) -> Callable[..., int]:
    options = [
        click.option(
            "--port",
            type=click.IntRange(0, 65_535),
            default=8765,
            show_default=True,
            envvar=f"{PREFIX}WEB_PORT",
            help="0: any free one. Or in WORKFLOW_STATE_WEB_PORT.",
        ),
        click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on."),
        click.option(
            "--token",
            envvar=f"{PREFIX}WEB_TOKEN",
            help="What one must know to open the page, at least 16 characters; needed beyond loopback. Better in "
            "WORKFLOW_STATE_WEB_TOKEN, where nobody sees it in a list of processes.",
        ),
        click.option(
            "--viewer-token",
            envvar=f"{PREFIX}WEB_VIEWER_TOKEN",
            help="What one must know to look, and do nothing else; beside --token. Better in "
            "WORKFLOW_STATE_WEB_VIEWER_TOKEN.",
        ),
        click.option(
            "--allow-host",
            "allowed_hosts",
            multiple=True,
            metavar="NAME",
            help="A name that the page on loopback is asked by, such as a proxy's. May be repeated.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog=help_end("dev"))
@_address_options
@actions_option
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder in which the Redis keeps its data, for the next time. Default: nothing is kept.",
)
@click.option("--flower/--no-flower", "wants_flower", default=True, help="Start Flower too, where it is installed.")
@click.option(
    "--flower-port", type=click.IntRange(1, 65_535), default=5555, show_default=True, help="Where Flower listens."
)
def dev(data: Path | None, actions: Sequence[str], wants_flower: bool, flower_port: int, **address: Any) -> int:  # noqa: FBT001 - click
    """Start all there is, until Ctrl-C.

    A Redis, a worker, the run page, and Flower. With WORKFLOW_STATE_REDIS_URL that Redis is used. In another terminal,
    with the line that is printed first, `submit` and all other commands use the same one.
    """
    _require_web()
    use_actions(actions)
    given = get_settings().redis_url
    with ExitStack() as stack:
        worker_arguments = ("-E",) if wants_flower else ()
        engine = stack.enter_context(local_engine(redis_url=given, data_dir=data, worker_arguments=worker_arguments))
        if given is None:
            set_for_all("REDIS_URL", engine.redis_url)
            click.echo(f"export {PREFIX}REDIS_URL={shlex.quote(engine.redis_url)}")
        require_redis()
        click.echo(f"the worker's log: {engine.worker_log}")
        if wants_flower and importlib.util.find_spec("flower"):
            _start_flower(stack, flower_port, engine.worker_log.with_name("flower.log"))
        _serve(check=partial(require_running, engine), **address)
    return 0


@click.command(epilog=help_end("web"))
@_address_options
def web(**address: Any) -> int:
    """Serve the run page, until Ctrl-C. It shows what is in the Redis of WORKFLOW_STATE_REDIS_URL."""
    _require_web()
    require_redis()
    _serve(**address)
    return 0


def _serve(
    *,
    host: str,
    port: int,
    token: str | None,
    viewer_token: str | None,
    allowed_hosts: Sequence[str],
    check: Callable[[], None] | None = None,
) -> None:
    # The extra is optional: everything else works without it.
    from workflow_state.web.server import serve_page  # noqa: PLC0415

    def say(address: str) -> None:
        click.echo(f"the run page: {address}{'?token=…' if token else ''}  (Ctrl-C ends it)")

    serve_page(
        host,
        port,
        token=token or None,
        viewer_token=viewer_token or None,
        allowed_hosts=allowed_hosts,
        started=say,
        check=check,
    )


def _start_flower(stack: ExitStack, port: int, log_file: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            click.echo(f"Flower is not started: something listens on port {port}; see --flower-port", err=True)
            return
    stack.enter_context(local_flower(port, log_file))
    click.echo(f"Flower: http://127.0.0.1:{port}/")


def _require_web() -> None:
    require_extra("web", "the run page", "starlette", "uvicorn")
