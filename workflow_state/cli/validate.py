"""`workflow-state validate`: checking a plan without running it. Needs no Redis."""

from collections.abc import Sequence

import click

from workflow_state.actions.definitions.catalog import list_action_definitions
from workflow_state.cli.exit_codes import USAGE_ERROR
from workflow_state.cli.help import help_end
from workflow_state.cli.options import actions_option, json_option, print_json
from workflow_state.cli.plan_file import inputs_option, plan_argument, read_plan
from workflow_state.errors import PlanValidationError
from workflow_state.plans.levels import schedule_levels
from workflow_state.views import text as display


@click.command(epilog=help_end("validate"))
@plan_argument
@actions_option
@inputs_option
@json_option
def validate(plan_file: str, actions: Sequence[str], inputs: Sequence[str], as_json: bool) -> int:  # noqa: FBT001
    """Check a plan, and list every problem that it has."""
    try:
        plan = read_plan(plan_file, actions, inputs, needs_definitions=False)
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
