"""Whether a plan can be run: every problem of its fields and of its logic, found in one pass.

The problems are written so that a language model can repair its plan. Each has a code to branch on, a JSON Pointer into
the document as it was submitted, what is wrong, and what to do. Where the repair is certain it has a JSON Patch.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from workflow_state.errors import PlanProblem, PlanValidationError
from workflow_state.plans.references import escape_pointer
from workflow_state.plans.validation.document import Document, make_problem, read_document
from workflow_state.plans.validation.fields import parse_plan
from workflow_state.plans.validation.logic import find_logic_problems
from workflow_state.plans.validation.places import name_actions, name_lines
from workflow_state.schema import ActionDefinition, ExecutionPlan
from workflow_state.wording import shown

MAX_PROBLEMS: Final = 1_000
_MAX_INDEX_DIGITS: Final = 9


def validate_plan_with(
    definitions: Mapping[str, ActionDefinition] | None,
    plan: ExecutionPlan | Mapping[str, Any] | str | bytes,
    *,
    text: str = "",
) -> ExecutionPlan:
    """Return the plan as a model of its own, or raise PlanValidationError with all of its problems.

    `definitions` are all that an action may name, by id; each action's inputs are checked against its own. With None,
    what actions name is not looked at. `plan` is a model, JSON data or JSON text (UTF-8); it is not changed. A plan
    without an id gets one. `text` is the JSON text that JSON data was read from, where problems should have lines.

    Where the form of one action is wrong, the logic of all others is still checked. At most MAX_PROBLEMS problems are
    listed, and then one that counts the rest. Linear in the size of the plan; may be called any number of times.
    """
    document = read_document(plan)
    problems = document.problems
    parsed, schema_problems = parse_plan(document.data)
    told = {problem["path"] for problem in problems}
    # A value that is not JSON makes its field wrong as well. It is reported once.
    problems += [problem for problem in schema_problems if not _is_told(problem["path"], told)]
    problems += find_logic_problems(document.data, definitions)
    if document.actions_key != "actions":
        message = f"there is no field '{shown(document.actions_key)}' here"
        problems.append(make_problem("schema", "/actions", message, suggestion="did you mean 'actions'?"))
    if problems or parsed is None:
        raise PlanValidationError(_tell(problems, document, text))
    return parsed


def validate_logic_with(
    definitions: Mapping[str, ActionDefinition] | None, plan: ExecutionPlan | Mapping[str, Any] | str | bytes
) -> None:
    """Raise PlanValidationError where the plan's graph, references or conditions are wrong, whatever its other fields.

    The parameters, the bounds and the problems are those of `validate_plan_with`, without the check of the fields.
    """
    document = read_document(plan)
    problems = document.problems + find_logic_problems(document.data, definitions)
    if problems:
        raise PlanValidationError(_tell(problems, document))


def _is_told(path: str, told: set[str]) -> bool:
    """Return whether a problem was reported at `path` or at a place above it."""
    while told and path:
        if path in told:
            return True
        path = path.rpartition("/")[0]
    return False


def _tell(problems: list[PlanProblem], document: Document, text: str = "") -> list[PlanProblem]:
    """Return the problems as they are told: in order, with their action and line, at their place in what was given."""
    listed = name_actions(_listed(problems, document.data), document.data)
    if document.actions_key != "actions":
        listed = [_under_key(problem, escape_pointer(document.actions_key)) for problem in listed]
    return name_lines(listed, document.text or text)


def _under_key(problem: PlanProblem, key: str) -> PlanProblem:
    """Return the problem with places under the key that the document has in place of `actions`."""

    def rename(path: str) -> str:
        return re.sub(r"^/actions(?=/|$)", lambda _: f"/{key}", path)

    moved: PlanProblem = {**problem, "path": rename(problem["path"])}
    if "fix" in problem:
        moved["fix"] = [{**step, "path": rename(step["path"])} for step in problem["fix"]]
    return moved


def _listed(problems: list[PlanProblem], data: Any) -> list[PlanProblem]:
    """Return the problems in the order of the document, and at most MAX_PROBLEMS of them."""
    fields = {key: position for position, key in enumerate(data)} if isinstance(data, dict) else {}

    def place(problem: PlanProblem) -> tuple[int, int]:
        _, _, rest = problem["path"].partition("/")
        field, _, below = rest.partition("/")
        index = below.partition("/")[0]
        # A field that is missing has no place in the document, and comes first.
        return fields.get(field, -1), int(index) if field == "actions" and index.isdecimal() and len(
            index
        ) <= _MAX_INDEX_DIGITS else -1

    ordered = sorted(problems, key=place)
    if len(ordered) <= MAX_PROBLEMS:
        return ordered
    counts = Counter(problem["code"] for problem in ordered[MAX_PROBLEMS:])
    rest = ", ".join(f"{count} {code}" for code, count in counts.most_common())
    summary = make_problem(
        "schema",
        "",
        f"at least {sum(counts.values())} more problems are not listed ({rest})",
        suggestion="mend the listed ones and validate again",
    )
    return [*ordered[:MAX_PROBLEMS], summary]
