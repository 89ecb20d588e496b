"""`workflow-state status` and `workflow-state list`: looking at executions without changing them."""

import sys

import click

from workflow_state.cli import screen
from workflow_state.cli.completers import execution_ids
from workflow_state.cli.help import help_end
from workflow_state.cli.options import json_option, print_json
from workflow_state.cli.watch import Watching, follow
from workflow_state.client.connections import require_redis
from workflow_state.client.executions import get_execution_state, list_executions, read_plan
from workflow_state.rules.states import ENDED
from workflow_state.schema import ExecutionStatus
from workflow_state.views import text as display
from workflow_state.views.outputs import outputs


@click.command(epilog=help_end("status"))
@click.argument("execution_id", metavar="ID", shell_complete=execution_ids())
@click.option("--watch", is_flag=True, help="Follow it until it ends; exit like `run`.")
@json_option
def status(execution_id: str, watch: bool, as_json: bool) -> int:  # noqa: FBT001
    """Show the state of an execution."""
    if watch:
        state = follow(execution_id, Watching(), silent=as_json)
    else:
        require_redis()
        state = get_execution_state(execution_id)
    if as_json:
        print_json(state.to_json_data())
    else:
        click.echo(f"{state.id}  {display.summary(state)}")
        plan = read_plan(execution_id)
        lines = display.progress_lines(state, plan) + display.explanation(state)
        if sys.stdout.isatty():
            lines += outputs(state, plan, is_kept=True)
        for line in lines + screen.next_commands(state):
            click.echo(line)
    if state.status not in ENDED:
        screen.tell_missing_worker(execution_id)
    return screen.exit_code(state.status) if watch else 0


@click.command(name="list", epilog=help_end("list"))
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many.")
@click.option(
    "--status", "wanted", type=click.Choice([str(item) for item in ExecutionStatus]), help="Only those of this status."
)
@json_option
def list_command(limit: int, wanted: str | None, as_json: bool) -> int:  # noqa: FBT001
    """List executions, the newest first."""
    require_redis()
    summaries = list_executions(limit=limit, status=wanted)
    if as_json:
        print_json([summary.to_json_data() for summary in summaries])
    elif summaries:
        for line in display.executions_table(summaries):
            click.echo(line)
    else:
        click.echo("no executions")
    return 0
