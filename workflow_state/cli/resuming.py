"""`workflow-state resume`: running a failed or cancelled execution again."""

from collections.abc import Sequence
from functools import partial

import click

from workflow_state.cli.completers import RESUMABLE, execution_ids
from workflow_state.cli.decisions import ask_for_decisions, name_assumed, split_assumed
from workflow_state.cli.help import help_end
from workflow_state.cli.options import actions_option, json_option, print_json, use_actions, user_option
from workflow_state.cli.plan_file import PLAN_FILE, inputs_option, read_plan
from workflow_state.client.connections import require_redis
from workflow_state.client.executions import get_execution_state
from workflow_state.client.resume import read_undecided, resume_execution
from workflow_state.errors import ExecutionConflictError, OutcomeUnknownError
from workflow_state.rules.for_each import element_id
from workflow_state.views import text as display


@click.command(epilog=help_end("resume"))
@click.argument("execution_id", metavar="ID", required=False, shell_complete=execution_ids(RESUMABLE))
@click.option("--plan", "plan_file", type=PLAN_FILE, help="A repaired plan.")
@click.option(
    "--assume-done",
    "assumed",
    multiple=True,
    metavar="[ACTION=]VALUE",
    help="Complete a request whose outcome is unknown with this output, and send nothing; JSON where VALUE parses as "
    "JSON, text otherwise. May be repeated.",
)
@click.option(
    "--send-again",
    "again",
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="[ACTION]",
    help="Send a request whose outcome is unknown again, without ACTION all not assumed done. May be repeated.",
)
@user_option("Who resumes it, and decides.")
@actions_option
@inputs_option
@json_option
def resume(  # noqa: PLR0913, PLR0917 - click's: one for each option
    execution_id: str | None,
    plan_file: str | None,
    assumed: Sequence[str],
    again: Sequence[str],
    user_id: str,
    actions: Sequence[str],
    inputs: Sequence[str],
    as_json: bool,  # noqa: FBT001
) -> int:
    """Run a failed or cancelled execution again.

    What it has done is kept. Prints the new execution's id, and what is kept or runs.

    A request that was sent when its worker was lost may have been done or not: find out, and decide with --assume-done
    or --send-again. ACTION[3] is one element of a list.
    """
    if execution_id is None and again and again[-1]:
        # `resume --send-again ID`: an option whose value may be left out takes what comes next.
        *again, execution_id = again
        again = [*again, ""]
    if execution_id is None:
        raise click.UsageError("Missing argument 'ID'.")
    use_actions(actions)
    plan = read_plan(plan_file, actions, inputs) if plan_file else None
    require_redis()
    texts = split_assumed(assumed)
    try:
        assume_done = name_assumed(execution_id, texts, again, partial(read_undecided, execution_id, plan))
        send_again = True if "" in again else again
        handle = resume_execution(execution_id, plan, assume_done=assume_done, send_again=send_again, user_id=user_id)
    except OutcomeUnknownError as error:
        given = {"--plan": [plan_file] if plan_file else [], "--actions": actions, "--input": inputs}
        given |= {"--assume-done": [text for text in assumed if text.partition("=")[0] in texts[0]]}
        given |= {"--send-again": [name for name in again if name]}
        options = [f"{option}={value}" for option, values in given.items() for value in values]
        command = ["workflow-state", "resume", execution_id, *options]
        raise ExecutionConflictError(ask_for_decisions(error, command)) from None
    report = get_execution_state(handle.id).resumed
    told = {} if report is None else report.actions
    if as_json:
        print_json({"id": handle.id, "actions": {name: item.to_json_data() for name, item in told.items()}})
        return 0
    click.echo(handle.id)
    rows = []
    for name, item in told.items():
        rows.append((f"  {name}", "kept" if item.kept else "runs", item.reason))
        # Of a long list only what a person has to know: what runs, and what was decided.
        parts = {element_id(name, part.index): part for part in item.elements or []}
        rows += [
            (f"  {part_name}", "kept" if part.kept else "runs", part.reason)
            for part_name, part in parts.items()
            if not part.kept or part_name in assume_done
        ]
    for line in display.aligned(rows):
        click.echo(line)
    return 0
