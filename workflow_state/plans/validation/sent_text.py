"""Whether the text that an action sends can be written in the charset that its inputs name."""

from collections.abc import Mapping

from workflow_state.charsets import find_charset_problem
from workflow_state.json_schema.inputs import is_open
from workflow_state.plans.references import escape_pointer
from workflow_state.plans.validation.outline import ActionOutline, PlanOutline

_CONTENT_TYPE = "header.content-type"


def check_charset(plan: PlanOutline, action: ActionOutline) -> None:
    """Report a charset in a literal `header.Content-Type` in which nothing is sent."""
    if not isinstance(action.inputs, Mapping):
        return
    for key, value in action.inputs.items():
        is_literal = str(key).lower() == _CONTENT_TYPE and isinstance(value, str) and not is_open(value)
        if is_literal and (problem := find_charset_problem(value)):
            plan.report("bad_input", f"{action.path}/inputs/{escape_pointer(key)}", problem)
