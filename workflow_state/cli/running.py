"""`workflow-state run` and `workflow-state submit`: putting a plan on the queue.

`run` waits for the end and shows the progress; `submit` prints the execution's id and is done.
"""

import sys
from collections.abc import Sequence

import click

from workflow_state.cli import screen
from workflow_state.cli.help import help_end
from workflow_state.cli.options import actions_option, definitions_option, json_option, print_json, set_for_all
from workflow_state.cli.plan_file import inputs_option, plan_argument, read_plan
from workflow_state.cli.watch import Watching, answer_yes, ask_on_terminal, follow
from workflow_state.client.connections import require_redis
from workflow_state.engine.local import Engine, local_engine
from workflow_state.executor import execute_plan
from workflow_state.schema import ExecutionPlan, ExecutionState
from workflow_state.settings import get_settings
from workflow_state.views import text as display
from workflow_state.views.outputs import outputs


@click.command(epilog=help_end("run"))
@plan_argument
@actions_option
@definitions_option
@inputs_option
@json_option
@click.option("--yes", "confirms_all", is_flag=True, help="Answer every confirmation with yes.")
def run(
    plan_file: str,
    actions: Sequence[str],
    definitions: Sequence[str],
    inputs: Sequence[str],
    as_json: bool,  # noqa: FBT001 - click
    confirms_all: bool,  # noqa: FBT001 - click
) -> int:
    """Run a plan, show its progress, and print its final state.

    Without WORKFLOW_STATE_REDIS_URL it starts a Redis and a worker of its own, and leaves nothing behind; a
    confirmation is then asked for on the terminal.
    """
    plan = read_plan(plan_file, actions, inputs)
    is_shared = bool(get_settings().redis_url)
    if is_shared:
        state = _run_and_watch(plan, definitions, as_json=as_json, confirms_all=confirms_all)
    else:
        with local_engine() as engine:
            set_for_all("REDIS_URL", engine.redis_url)
            state = _run_and_watch(plan, definitions, as_json=as_json, confirms_all=confirms_all, engine=engine)
    if as_json:
        print_json(state.to_json_data())
    else:
        _tell_end(state, plan, is_shared=is_shared)
    return screen.exit_code(state.status)


def _tell_end(state: ExecutionState, plan: ExecutionPlan, *, is_shared: bool) -> None:
    # A person wants to see what came of it; a script has --json.
    shown = outputs(state, plan, is_kept=is_shared) if sys.stdout.isatty() else []
    following = screen.next_commands(state) if is_shared else screen.next_without_redis(state)
    for line in [*shown, display.summary(state), *display.explanation(state), *following]:
        click.echo(line)


@click.command(epilog=help_end("submit"))
@plan_argument
@actions_option
@definitions_option
@inputs_option
@click.option("--id", "execution_id", help="The execution's id. Submitting the same id again starts nothing new.")
@json_option
def submit(
    plan_file: str,
    actions: Sequence[str],
    definitions: Sequence[str],
    inputs: Sequence[str],
    execution_id: str | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Put a plan on the queue, and print the execution's id."""
    plan = read_plan(plan_file, actions, inputs)
    require_redis()
    handle = execute_plan.apply_async((plan,), task_id=execution_id, definitions=definitions or None)
    if as_json:
        print_json({"id": handle.id})
    else:
        click.echo(handle.id)
    screen.tell_missing_worker(handle.id)
    return 0


def _run_and_watch(
    plan: ExecutionPlan,
    definitions: Sequence[str],
    *,
    as_json: bool,
    confirms_all: bool,
    engine: Engine | None = None,
) -> ExecutionState:
    require_redis()
    # The handle itself is let go: it would look for its Redis when Python ends, after our own has gone.
    execution_id = execute_plan.apply_async((plan,), definitions=definitions or None).id
    if not engine and not as_json:
        click.echo(f"execution {execution_id}")
    # On a Redis of our own nobody else can answer a confirmation; on a shared one, that is for others to do.
    answer = answer_yes if confirms_all else ask_on_terminal if engine else None
    return follow(execution_id, Watching(engine, answer), name=plan.name, silent=as_json)
