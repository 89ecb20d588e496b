"""The `workflow-state` command.

Exit codes: 0 completed, 1 failed, or Redis did, 2 wrong usage, plan or setting, 3 cancelled, 130 on Ctrl-C (how `dev`
and `web` end: 0). Every error is one readable message on standard error (errors.py).
"""

import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import click

from workflow_state.cli.actions import actions_group
from workflow_state.cli.answering import cancel, confirm
from workflow_state.cli.completion import completion
from workflow_state.cli.errors import guarded
from workflow_state.cli.graph import graph
from workflow_state.cli.help import help_end
from workflow_state.cli.looking import list_command, status
from workflow_state.cli.outputs import expire, output
from workflow_state.cli.resuming import resume
from workflow_state.cli.running import run, submit
from workflow_state.cli.schema import schema
from workflow_state.cli.serve import dev, web
from workflow_state.cli.validate import validate


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=help_end(""))
@click.version_option(package_name="workflow-state")
def commands() -> None:
    """Run plans of HTTP actions on Celery and Redis."""


for command in (
    actions_group,
    cancel,
    completion,
    confirm,
    dev,
    expire,
    graph,
    list_command,
    output,
    resume,
    run,
    schema,
    status,
    submit,
    validate,
    web,
):
    commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command, and exit."""
    # So that `kill` ends a run as Ctrl-C does: its own Redis and worker go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(guarded(partial(commands.main, args=arguments, prog_name="workflow-state", standalone_mode=False)))


if __name__ == "__main__":
    main()
