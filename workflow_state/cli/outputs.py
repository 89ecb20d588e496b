"""`workflow-state output` and `workflow-state expire`: reading the outputs of actions, and removing the old ones."""

import json
import sys
from pathlib import Path

import click

from workflow_state.actions.storage.outputs import read_stored
from workflow_state.cli.completers import completed_actions, execution_ids
from workflow_state.cli.help import help_end
from workflow_state.client.connections import require_redis
from workflow_state.client.outputs import expire_outputs, find_output, text_of
from workflow_state.views import text as display


@click.command(epilog=help_end("output"))
@click.argument("execution_id", metavar="ID", shell_complete=execution_ids())
@click.argument("action_id", metavar="ACTION", shell_complete=completed_actions)
@click.option("--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write it into this file.")
def output(execution_id: str, action_id: str, out: Path | None) -> int:
    """Print an action's output.

    As JSON, or the bytes themselves where they are stored. ACTION[3] is one element of a list.
    """
    require_redis()
    value, location = find_output(execution_id, action_id)
    data = read_stored(location) if location else f"{json.dumps(value, indent=2, ensure_ascii=False)}\n".encode()
    if out:
        out.write_bytes(data)
        return 0
    if location and sys.stdout.isatty():
        if (text := text_of(data, location.content_type)) is None:
            raise click.UsageError("the output is binary, and this is a terminal: name a file with --out")
        # Others' text must not paint over the terminal.
        click.echo("\n".join(map(display.plain, text.expandtabs().splitlines())))
        return 0
    sys.stdout.buffer.write(data)
    return 0


@click.command(epilog=help_end("expire"))
def expire() -> int:
    """Remove stored outputs that have expired. The workers do so once an hour."""
    require_redis()
    count = expire_outputs()
    click.echo(f"removed the stored outputs of {display.count(count, 'execution')}")
    return 0
