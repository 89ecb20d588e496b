"""`workflow-state graph`: drawing a plan or an execution."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from workflow_state.cli.help import help_end
from workflow_state.client.executions import get_execution_state, read_plan
from workflow_state.errors import DrawingError, ExecutionNotFoundError
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ExecutionPlan, ExecutionState
from workflow_state.views.diagram import Diagram, draw_plan, to_mermaid
from workflow_state.views.gantt import draw_gantt
from workflow_state.views.svg import render_svg
from workflow_state.views.timeline import find_timeline

# What Mermaid draws unless who shows the diagram says otherwise (`maxEdges`, `maxTextSize`): GitHub, for one, does not.
_MERMAID_EDGES = 500
_MERMAID_CHARACTERS = 50_000


@click.command(epilog=help_end("graph"))
@click.argument("source", metavar="PLAN.json|ID")
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "svg", "gantt"]),
    default="mermaid",
    show_default=True,
    help="A Mermaid flowchart as text; the same as an SVG picture; or when an execution's actions ran, as SVG.",
)
@click.option("--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write it into this file.")
def graph(source: str, form: str, out: Path | None) -> int:
    """Draw a plan or an execution.

    A plan is a file, or `-` for standard input; an execution, named by its id, is drawn as it is now.
    """
    plan, state = _read(source)
    if form == "gantt":
        if state is None:
            raise click.UsageError("a plan has no times: --format gantt takes the id of an execution")
        text = draw_gantt(plan.name, state, find_timeline(plan, state, datetime.now(UTC)))
    else:
        diagram = draw_plan(plan, state)
        text = render_svg(diagram) if form == "svg" else to_mermaid(diagram)
        if form == "mermaid":
            _warn_of_size(diagram, text)
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)
    return 0


def _read(source: str) -> tuple[ExecutionPlan, ExecutionState | None]:
    """Return the plan of a file, or that of an execution with its state. Definitions are not looked at."""
    path = Path(source)
    if source == "-":
        return validate_plan_with(None, sys.stdin.buffer.read()), None
    if path.is_file():
        return validate_plan_with(None, path.read_bytes()), None
    if not source or path.exists():
        raise click.UsageError(f"{source!r} is no file; name a plan's file or the id of an execution")
    if path.suffix == ".json" or path.name != source:
        raise click.UsageError(f"there is no file {source!r}")
    return _read_execution(source)


def _read_execution(execution_id: str) -> tuple[ExecutionPlan, ExecutionState]:
    try:
        state = get_execution_state(execution_id)
    except ExecutionNotFoundError as error:
        raise ExecutionNotFoundError(
            f"{error}; nor is there a plan's file of that name. `workflow-state list` shows the executions"
        ) from None
    plan = read_plan(execution_id)
    if plan is None or len(plan.actions) != len(state.action_states):
        raise DrawingError(f"execution {execution_id!r} can't be drawn: its plan is not stored, or it could not be run")
    return plan, state


def _warn_of_size(diagram: Diagram, text: str) -> None:
    if len(diagram.edges) > _MERMAID_EDGES or len(text) > _MERMAID_CHARACTERS:
        click.echo(
            f"{len(diagram.edges)} edges, {len(text)} characters: Mermaid draws up to {_MERMAID_EDGES} and "
            f"{_MERMAID_CHARACTERS} unless it is configured otherwise; --format svg draws more",
            err=True,
        )
