"""All commands by name, each imported when it is given; and what a failure of one looks like.

Exit codes: 0 completed, 1 failed, or Redis did, 2 wrong usage, plan or setting, 3 cancelled, 130 on Ctrl-C (how `dev`
and `web` end: 0). Every error is one readable message on standard error (errors.py).
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final

import click

from workflow_state.cli.exit_codes import INTERRUPTED
from workflow_state.cli.help import help_end
from workflow_state.cli.start import end_start

_SETTINGS_BEGIN_WITH: Final = "WORKFLOW_STATE_"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, and what the list of commands says about it: the first sentence of its docstring."""

    module: str
    attribute: str
    short_help: str


ENTRIES: Final[Mapping[str, Entry]] = {
    "actions": Entry("actions", "actions_group", "Look at the action definitions."),
    "cancel": Entry("answering", "cancel", "Ask an execution to end."),
    "completion": Entry("completion", "completion", "Print the completion script of a shell."),
    "confirm": Entry("answering", "confirm", "Answer an action that waits for a person."),
    "dev": Entry("serve", "dev", "Start all there is, until Ctrl-C."),
    "expire": Entry("outputs", "expire", "Remove stored outputs that have expired."),
    "graph": Entry("graph", "graph", "Draw a plan or an execution."),
    "list": Entry("looking", "list_command", "List executions, the newest first."),
    "output": Entry("outputs", "output", "Print an action's output."),
    "resume": Entry("resuming", "resume", "Run a failed or cancelled execution again."),
    "run": Entry("running", "run", "Run a plan, show its progress, and print its final state."),
    "schema": Entry("schema", "schema", "Print the JSON Schema of a plan."),
    "status": Entry("looking", "status", "Show the state of an execution."),
    "submit": Entry("running", "submit", "Put a plan on the queue, and print the execution's id."),
    "validate": Entry("validate", "validate", "Check a plan, and list every problem that it has."),
    "web": Entry("serve", "web", "Serve the run page, until Ctrl-C."),
}


class LazyGroup(click.Group):
    """A group of stand-ins, which have names and first sentences; the command that is to run is imported."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that the arguments name; it runs next, and may be interrupted."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        command = load_command(name) if name and stand_in else None
        end_start()
        return name, command, rest


def load_command(name: str) -> click.Command:
    """Import one of the commands in ENTRIES."""
    entry = ENTRIES[name]
    command: click.Command = getattr(import_module(f"workflow_state.cli.{entry.module}"), entry.attribute)
    return command


@click.group(
    cls=LazyGroup,
    commands=[click.Command(name, help=entry.short_help) for name, entry in ENTRIES.items()],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=help_end(""),
)
@click.version_option(package_name="workflow-state")
@click.pass_context
def commands(context: click.Context) -> None:
    """Run plans of HTTP actions on Celery and Redis."""
    # The log of the worker that `dev` starts says it.
    if context.invoked_subcommand != "dev":
        _warn_of_unknown_variables()


def _warn_of_unknown_variables() -> None:
    """Say which environment variables are named like a setting and are none."""
    if any(name.upper().startswith(_SETTINGS_BEGIN_WITH) for name in os.environ):
        from workflow_state.settings import find_unknown_variables  # noqa: PLC0415 - many commands need no settings

        for sentence in find_unknown_variables(os.environ):
            click.echo(f"warning: {sentence}", err=True)


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return its exit code; a failure is told in words."""
    run: partial[Any] = partial(commands.main, args=arguments, prog_name="workflow-state", standalone_mode=False)
    try:
        return run() or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody is left to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from workflow_state.cli.errors import tell  # noqa: PLC0415 - a command that succeeds needs no words for errors

        exit_code = tell(error)
        if exit_code is None:
            raise
        return exit_code
