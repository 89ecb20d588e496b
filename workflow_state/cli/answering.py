"""`workflow-state confirm` and `workflow-state cancel`: telling an execution to go on, or to end."""

from pathlib import Path

import click

from workflow_state.cli.completers import LASTING, execution_ids, waiting_actions
from workflow_state.cli.help import help_end
from workflow_state.cli.options import user_option
from workflow_state.cli.questions import save_body, show_question
from workflow_state.cli.terminal import ask, asks_on_stderr, can_ask
from workflow_state.client.connections import require_redis
from workflow_state.client.executions import cancel_execution, confirm_action, get_execution_state
from workflow_state.rules.states import ENDED


@click.command(epilog=help_end("cancel"))
@click.argument("execution_id", metavar="ID", shell_complete=execution_ids(LASTING))
@user_option("Who cancels.")
def cancel(execution_id: str, user_id: str) -> int:
    """Ask an execution to end. Nothing more is started, a request under way ends by itself."""
    require_redis()
    state = cancel_execution(execution_id, user_id)
    click.echo(f"{execution_id} has ended already: {state.status}" if state.status in ENDED else "cancelling")
    return 0


@click.command(epilog=help_end("confirm"))
@click.argument("execution_id", metavar="ID", shell_complete=execution_ids(LASTING))
@click.argument("action_id", metavar="ACTION", shell_complete=waiting_actions)
@click.option("--reject", is_flag=True, help="Say no: the action fails.")
@click.option("--yes", "is_sure", is_flag=True, help="Send it without asking; needed where there is no terminal.")
@user_option("Who answers.")
@click.option(
    "--save-body",
    "body_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the body that would be sent into a file, and answer nothing.",
)
def confirm(
    execution_id: str,
    action_id: str,
    reject: bool,  # noqa: FBT001
    is_sure: bool,  # noqa: FBT001
    user_id: str,
    body_file: Path | None,
) -> int:
    """Answer an action that waits for a person. Shows first what will be sent, all of it.

    It asks on the terminal, and what was typed before the question does not count. Without a terminal only --yes sends.
    """
    require_redis()
    waiting = get_execution_state(execution_id).confirmations
    shown = next((item for item in waiting if item.action_id == action_id and item.confirmed is None), None)
    if shown and body_file:
        save_body(shown, body_file)
        click.echo(f"the body that {action_id} would send is in {body_file}; nothing was answered")
        return 0
    if shown and not reject:
        asks = not is_sure and can_ask()
        show_question(shown, err=asks and asks_on_stderr())
        if not is_sure and not asks:
            raise click.UsageError(
                "nothing was answered, because there is no terminal to ask at; --yes sends it, --reject says no"
            )
        if asks and not ask("Send it?"):
            click.echo("nothing was answered; --reject says no")
            return 0
    digest = shown.digest if shown else None
    confirm_action(execution_id, action_id, not reject, user_id, digest=digest)
    click.echo("rejected" if reject else "confirmed")
    return 0
