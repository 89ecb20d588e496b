"""Reading the plan that a command is given: the argument, the inputs beside it, and the checks.

For example `workflow-state run plan.json --input customerId=c-18` reads `plan.json` with one more input.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from workflow_state.actions.definitions.catalog import list_action_definitions
from workflow_state.cli.decisions import json_or_text
from workflow_state.cli.options import use_actions
from workflow_state.errors import ReferenceParseError
from workflow_state.plans.references import iterate_references
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ExecutionPlan
from workflow_state.wording import did_you_mean, shown

inputs_option = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A plan input, read as ${inputs.NAME}; JSON where it parses as JSON, text otherwise. May be repeated. A name "
    "that the plan neither has nor reads is refused.",
)
PLAN_FILE = click.Path(exists=True, allow_dash=True, dir_okay=False)
plan_argument = click.argument("plan_file", metavar="PLAN.json", type=PLAN_FILE)


def read_plan(
    plan_file: str, actions: Sequence[str], inputs: Sequence[str], *, needs_definitions: bool = True
) -> ExecutionPlan:
    """Return the plan in a file (`-`: standard input) with these inputs (`NAME=VALUE`) over its own.

    `actions` are the paths of --actions. With needs_definitions=False a process that knows no definitions checks the
    rest of the plan only. Raises PlanValidationError with all problems, and click.UsageError for an input that is
    malformed or that the plan does not read.
    """
    use_actions(actions)
    definitions = {definition.id: definition for definition in list_action_definitions()}
    values = dict(_parse_input(text) for text in inputs)
    read = sys.stdin.buffer.read() if plan_file == "-" else Path(plan_file).read_bytes()
    document = _with_inputs(read, values) if values else read
    text = "" if document is read else read.decode("utf-8-sig", "replace")
    if not definitions and not needs_definitions:
        return validate_plan_with(None, document, text=text)
    return validate_plan_with(definitions, document, text=text)


def _with_inputs(document: bytes, values: Mapping[str, Any]) -> Any:
    """Return the plan with these inputs over its own; a text that is no plan is left for validation to refuse."""
    try:
        plan = json.loads(document)
    except ValueError:
        return document
    if isinstance(plan, dict) and isinstance(plan.get("inputs", {}), dict):
        _refuse_unknown_inputs(plan, values)
        plan["inputs"] = {**plan.get("inputs", {}), **values}
    return plan


def _refuse_unknown_inputs(plan: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise click.UsageError for an input that the plan neither has nor reads: nothing would come of it."""
    known = dict.fromkeys(plan.get("inputs", {}))
    for _, reference in iterate_references(plan):
        if isinstance(reference, ReferenceParseError):
            # Nobody knows what was meant there. Validation reports it.
            return
        if reference.action_id == "inputs":
            if not reference.path:
                return
            known[str(reference.path[0])] = None
    for name in values:
        if name not in known:
            listed = f"its inputs are {', '.join(map(shown, known))}" if known else "it has no inputs"
            guess = did_you_mean(name, known)
            raise click.UsageError(f"--input {shown(name)}: the plan reads no input of this name; {guess or listed}")


def _parse_input(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise click.UsageError(f"--input takes NAME=VALUE, not {text!r}")
    return name, json_or_text(value)
