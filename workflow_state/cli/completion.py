"""`workflow-state completion`: the script that makes a shell complete commands, options and ids."""

from typing import Final

import click
from click.shell_completion import get_completion_class

from workflow_state.cli.help import help_end

_PROGRAM: Final = "workflow-state"
_VARIABLE: Final = "_WORKFLOW_STATE_COMPLETE"


@click.command(epilog=help_end("completion"))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    It completes commands, options, and ids. These come from the Redis in WORKFLOW_STATE_REDIS_URL, where it answers
    within 0.3 s.
    """
    found = get_completion_class(shell)
    if found is None:  # not one of the three
        raise click.UsageError(f"there is no completion for {shell}")
    # Not `.source()`: for bash that starts one, to warn of a version before 4.4.
    template = found(click.Command(_PROGRAM), {}, _PROGRAM, _VARIABLE)
    click.echo(template.source_template % template.source_vars())
    return 0
