"""Which action definitions an execution may use. Pure.

Two lists say so, each of ids and patterns such as `crm.*`. One is a worker's, WORKFLOW_STATE_ALLOWED_DEFINITIONS. The
other comes with the submission, is stored with the execution, and holds for whatever resumes it. Both are looked at
when a plan is submitted, and again when a request is sent: the plan may have come past the first look, and a worker may
allow less than the process that submitted.
"""

from collections.abc import Sequence
from typing import Any, Final

from workflow_state.errors import PlanProblem, WorkflowStateError
from workflow_state.globs import find_pattern_problem, fits
from workflow_state.schema import ExecutionPlan
from workflow_state.wording import shown

NOT_ALLOWED: Final = "definition_not_allowed"
"""The code of an error: a definition is not among those that may be used."""

# Each attempt reads them.
_MOST_CHARACTERS: Final = 16_384
_MOST_SHOWN: Final = 10


def read_definitions_option(given: Any) -> list[str] | None:
    """Return the patterns that a submission gives as `definitions`; None where it gives none, and any may be used.

    Raises WorkflowStateError for what is no list of texts. An empty list allows no definition.
    """
    if given is None:
        return None
    if not isinstance(given, list | tuple | set | frozenset):
        raise WorkflowStateError("definitions must be a list of ids and patterns, such as ['crm.*', 'mail.send']")
    for entry in given:
        if problem := find_pattern_problem(entry):
            raise WorkflowStateError(f"an entry of definitions {problem}; write ids and patterns, such as 'crm.*'")
    if sum(map(len, given)) > _MOST_CHARACTERS:
        raise WorkflowStateError(f"definitions has more than {_MOST_CHARACTERS} characters; write patterns")
    return sorted(given) if isinstance(given, set | frozenset) else list(given)


def explain_refusal(definition_id: str, of_process: Sequence[str], of_execution: Sequence[str] | None) -> str | None:
    """Return why the definition may not be used, or None where it may.

    `of_process` is WORKFLOW_STATE_ALLOWED_DEFINITIONS: an empty list allows all. `of_execution` is what the submission
    allows: None allows all.
    """
    name = shown(definition_id)
    if of_execution is not None and not fits(definition_id, of_execution):
        return f"this execution may not use the action definition '{name}': it was submitted for {_list(of_execution)}"
    if of_process and not fits(definition_id, of_process):
        allowed = _list(of_process)
        return f"the action definition '{name}' is not in WORKFLOW_STATE_ALLOWED_DEFINITIONS, which allows {allowed}"
    return None


def suggest_remedy(definition_id: str, of_execution: Sequence[str] | None) -> str:
    """Return what to do where `explain_refusal` refuses a definition."""
    if of_execution is None or fits(definition_id, of_execution):
        return "use one of these, or add it to WORKFLOW_STATE_ALLOWED_DEFINITIONS, wherever that is set"
    if joined := next((pattern for pattern in of_execution if "," in pattern), None):
        each = "--definitions 'crm.*' --definitions mail.send"
        return f"'{shown(joined)}' is one pattern: write each pattern by itself, as in {each}"
    return "use one of these, or submit the plan for it as well: definitions=[…], or --definitions of the command"


def find_refused(
    plan: ExecutionPlan, of_process: Sequence[str], of_execution: Sequence[str] | None
) -> list[PlanProblem]:
    """Return a problem for each action of the plan whose definition may not be used; the lists as above."""
    return [
        PlanProblem(
            code=NOT_ALLOWED,
            path=f"/actions/{index}/actionDefinitionId",
            message=why,
            suggestion=suggest_remedy(action.action_definition_id, of_execution),
        )
        for index, action in enumerate(plan.actions)
        if (why := explain_refusal(action.action_definition_id, of_process, of_execution))
    ]


def _list(patterns: Sequence[str]) -> str:
    names = ", ".join(map(shown, patterns[:_MOST_SHOWN]))
    more = len(patterns) - _MOST_SHOWN
    return (names or "none") + (f" and {more} more" if more > 0 else "")
