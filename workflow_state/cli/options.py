"""The options that several commands share, and how commands print JSON."""

import getpass
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from workflow_state.settings import PREFIX, get_settings

actions_option = click.option(
    "--actions",
    type=click.Path(exists=True),
    multiple=True,
    help="Folder or file with action definitions; may be repeated. Default: WORKFLOW_STATE_ACTIONS.",
)
definitions_option = click.option(
    "--definitions",
    "definitions",
    multiple=True,
    metavar="PATTERN",
    help="Id or pattern (`crm.*`) of action definitions: the plan may use these and no others. May be repeated.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON only.")


def _login_name() -> str:
    """Return the name that one is logged in by, or the number where a container has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def user_option(who: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return the option that says who does it, for the state."""
    told = f"{who} Default: the name you are logged in by."
    return click.option("--user", "user_id", default=_login_name, help=told)


def use_actions(paths: Sequence[str]) -> None:
    """Let this process, and a worker that it starts, take action definitions from these paths."""
    if paths:
        set_for_all("ACTIONS", ":".join(str(Path(path).resolve()) for path in paths))


def set_for_all(name: str, value: str) -> None:
    """Set WORKFLOW_STATE_<name> for this process and those that it starts."""
    os.environ[f"{PREFIX}{name}"] = value
    get_settings.cache_clear()


def print_json(data: Any) -> None:
    """Print a document as people read it, letters beyond ASCII as they are."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))
