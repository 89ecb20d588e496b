"""The `workflow-state` command.

Exit codes: 0 completed, 1 failed, or Redis did, 2 wrong usage, plan or setting, 3 cancelled, 130 on Ctrl-C (how `dev`
and `web` end: 0). Every error is one readable message on standard error (command_errors.py).
"""

import getpass
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from workflow_state.actions.definitions.catalog import list_action_definitions
from workflow_state.actions.storage.outputs import read_stored
from workflow_state.celery import app
from workflow_state.cli import screen
from workflow_state.cli.actions import actions_group
from workflow_state.cli.completion import (
    LASTING,
    RESUMABLE,
    completed_actions,
    completion,
    execution_ids,
    waiting_actions,
)
from workflow_state.cli.decisions import ask_for_decisions, json_or_text, name_assumed, split_assumed
from workflow_state.cli.errors import guarded
from workflow_state.cli.graph import graph
from workflow_state.cli.help import USAGE_ERROR, help_end
from workflow_state.cli.options import actions_option, json_option, print_json, set_for_all, use_actions
from workflow_state.cli.schema import schema
from workflow_state.cli.serve import dev, web
from workflow_state.cli.watch import Watching, answer_yes, ask_on_terminal, follow
from workflow_state.client.executions import (
    cancel_execution,
    confirm_action,
    get_execution_state,
    list_executions,
    require_redis,
)
from workflow_state.client.outputs import find_output, text_of
from workflow_state.client.resume import read_undecided, resume_execution
from workflow_state.engine.expiry import expire_outputs
from workflow_state.engine.local import Engine, local_engine
from workflow_state.errors import ExecutionConflictError, OutcomeUnknownError, PlanValidationError
from workflow_state.executor import execute_plan
from workflow_state.plans.levels import schedule_levels
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.rules.for_each import element_id
from workflow_state.rules.states import ENDED
from workflow_state.schema import ExecutionPlan, ExecutionState, ExecutionStatus
from workflow_state.settings import get_settings
from workflow_state.views import text as display

_inputs_option = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A plan input, read as ${inputs.NAME}; JSON where it parses as JSON, text otherwise. May be repeated.",
)
_plan_type = click.Path(exists=True, allow_dash=True, dir_okay=False)
_plan_argument = click.argument("plan_file", metavar="PLAN.json", type=_plan_type)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=help_end(""))
@click.version_option(package_name="workflow-state")
def commands() -> None:
    """Run plans of HTTP actions on Celery and Redis."""


commands.add_command(actions_group)
commands.add_command(completion)
commands.add_command(dev)
commands.add_command(web)
commands.add_command(graph)
commands.add_command(schema)


@commands.command(epilog=help_end("run"))
@_plan_argument
@actions_option
@_inputs_option
@json_option
@click.option("--yes", "confirms_all", is_flag=True, help="Answer every confirmation with yes.")
def run(plan_file: str, actions: Sequence[str], inputs: Sequence[str], as_json: bool, confirms_all: bool) -> int:  # noqa: FBT001 - click
    """Run a plan, show its progress, and print its final state.

    Without WORKFLOW_STATE_REDIS_URL it starts a Redis and a worker of its own, and leaves nothing behind; a
    confirmation is then asked for on the terminal.
    """
    plan = _read_plan(plan_file, actions, inputs)
    is_shared = bool(get_settings().redis_url)
    if is_shared:
        state = _run_and_watch(plan, as_json=as_json, confirms_all=confirms_all)
    else:
        with local_engine() as engine:
            set_for_all("REDIS_URL", engine.redis_url)
            state = _run_and_watch(plan, as_json=as_json, confirms_all=confirms_all, engine=engine)
    if as_json:
        print_json(state.to_json_data())
    else:
        click.echo(display.summary(state))
        for line in display.explanation(state) + (screen.next_commands(state) if is_shared else []):
            click.echo(line)
    return screen.exit_code(state.status)


@commands.command(epilog=help_end("submit"))
@_plan_argument
@actions_option
@_inputs_option
@click.option("--id", "execution_id", help="The execution's id. Submitting the same id again starts nothing new.")
@json_option
def submit(
    plan_file: str,
    actions: Sequence[str],
    inputs: Sequence[str],
    execution_id: str | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Put a plan on the queue, and print the execution's id."""
    plan = _read_plan(plan_file, actions, inputs)
    require_redis()
    handle = execute_plan.apply_async((plan,), task_id=execution_id)
    if as_json:
        print_json({"id": handle.id})
    else:
        click.echo(handle.id)
    return 0


@commands.command(epilog=help_end("validate"))
@_plan_argument
@actions_option
@_inputs_option
@json_option
def validate(plan_file: str, actions: Sequence[str], inputs: Sequence[str], as_json: bool) -> int:  # noqa: FBT001
    """Check a plan, and list every problem that it has."""
    try:
        plan = _read_plan(plan_file, actions, inputs, needs_definitions=False)
    except PlanValidationError as error:
        if not as_json:
            raise
        print_json({"valid": False, "errors": error.errors})
        return USAGE_ERROR
    if as_json:
        print_json({"valid": True, "errors": []})
    else:
        levels = len(schedule_levels(plan.actions))
        unchecked = (
            "" if list_action_definitions() else "; its action definitions were not checked: none are configured"
        )
        click.echo(
            f"valid: {display.count(len(plan.actions), 'action')} in {display.count(levels, 'level')}{unchecked}"
        )
    return 0


@commands.command(epilog=help_end("status"))
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
        lines = display.action_lines(state.action_states) + display.explanation(state)
        for line in lines + screen.next_commands(state):
            click.echo(line)
    return screen.exit_code(state.status) if watch else 0


@commands.command(name="list", epilog=help_end("list"))
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


@commands.command(epilog=help_end("cancel"))
@click.argument("execution_id", metavar="ID", shell_complete=execution_ids(LASTING))
def cancel(execution_id: str) -> int:
    """Ask an execution to end. Nothing more is started, a request under way ends by itself."""
    require_redis()
    state = cancel_execution(execution_id)
    click.echo(f"{execution_id} has ended already: {state.status}" if state.status in ENDED else "cancelling")
    return 0


@commands.command(epilog=help_end("confirm"))
@click.argument("execution_id", metavar="ID", shell_complete=execution_ids(LASTING))
@click.argument("action_id", metavar="ACTION", shell_complete=waiting_actions)
@click.option("--reject", is_flag=True, help="Say no: the action fails.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask again.")
@click.option("--user", "user_id", help="Who answers. Default: the name you are logged in by.")
def confirm(execution_id: str, action_id: str, reject: bool, is_sure: bool, user_id: str | None) -> int:  # noqa: FBT001
    """Answer an action that waits for a person. Shows first what will be sent."""
    require_redis()
    waiting = get_execution_state(execution_id).confirmations
    shown = next((item for item in waiting if item.action_id == action_id and item.confirmed is None), None)
    if shown and not reject:
        for line in display.question(shown):
            click.echo(line)
        if not is_sure and sys.stdin.isatty() and not click.confirm("Send it?"):
            click.echo("nothing was answered; --reject says no")
            return 0
    digest = shown.digest if shown else None
    confirm_action(execution_id, action_id, not reject, user_id or getpass.getuser(), digest=digest)
    click.echo("rejected" if reject else "confirmed")
    return 0


@commands.command(epilog=help_end("output"))
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


@commands.command(epilog=help_end("expire"))
def expire() -> int:
    """Remove stored outputs that have expired. The workers do so once an hour."""
    require_redis()
    count = expire_outputs(app)
    click.echo(f"removed the stored outputs of {display.count(count, 'execution')}")
    return 0


@commands.command(epilog=help_end("resume"))
@click.argument("execution_id", metavar="ID", required=False, shell_complete=execution_ids(RESUMABLE))
@click.option("--plan", "plan_file", type=_plan_type, help="A repaired plan.")
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
@actions_option
@_inputs_option
@json_option
def resume(
    execution_id: str | None,
    plan_file: str | None,
    assumed: Sequence[str],
    again: Sequence[str],
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
    plan = _read_plan(plan_file, actions, inputs) if plan_file else None
    require_redis()
    texts = split_assumed(assumed)
    try:
        assume_done = name_assumed(execution_id, texts, again, partial(read_undecided, execution_id, plan))
        send_again = True if "" in again else again
        handle = resume_execution(execution_id, plan, assume_done=assume_done, send_again=send_again)
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


def _read_plan(
    plan_file: str, actions: Sequence[str], inputs: Sequence[str], *, needs_definitions: bool = True
) -> ExecutionPlan:
    use_actions(actions)
    definitions = {definition.id: definition for definition in list_action_definitions()}
    values = dict(_parse_input(text) for text in inputs)
    document: Any = sys.stdin.buffer.read() if plan_file == "-" else Path(plan_file).read_bytes()
    if values:
        document = _with_inputs(document, values)
    if not definitions and not needs_definitions:
        return validate_plan_with(None, document)
    return validate_plan_with(definitions, document)


def _with_inputs(document: bytes, values: Mapping[str, Any]) -> Any:
    """Return the plan with these inputs over its own; a text that is no plan is left for validation to refuse."""
    try:
        plan = json.loads(document)
    except ValueError:
        return document
    if isinstance(plan, dict) and isinstance(plan.get("inputs", {}), dict):
        plan["inputs"] = {**plan.get("inputs", {}), **values}
    return plan


def _parse_input(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise click.UsageError(f"--input takes NAME=VALUE, not {text!r}")
    return name, json_or_text(value)


def _run_and_watch(
    plan: ExecutionPlan, *, as_json: bool, confirms_all: bool, engine: Engine | None = None
) -> ExecutionState:
    require_redis()
    # The handle itself is let go: it would look for its Redis when Python ends, after our own has gone.
    execution_id = execute_plan.delay(plan).id
    if not engine and not as_json:
        click.echo(f"execution {execution_id}")
    # On a Redis of our own nobody else can answer a confirmation; on a shared one, that is for others to do.
    answer = answer_yes if confirms_all else ask_on_terminal if engine else None
    return follow(execution_id, Watching(engine, answer), name=plan.name, silent=as_json)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command, and exit."""
    # So that `kill` ends a run as Ctrl-C does: its own Redis and worker go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(guarded(partial(commands.main, args=arguments, prog_name="workflow-state", standalone_mode=False)))


if __name__ == "__main__":
    main()
