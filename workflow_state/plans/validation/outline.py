"""The outline of a plan whose fields may be wrong: ids and dependencies, and the problems that were found so far."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from pydantic.alias_generators import to_snake

from workflow_state.errors import PlanProblem
from workflow_state.json_schema.compiled import CompiledSchema
from workflow_state.overrides import Override
from workflow_state.plans.validation.document import make_problem
from workflow_state.schema import ActionDefinition
from workflow_state.wording import find_near_miss, shown

# Each search for a near miss compares up to 1,000 names, which takes some milliseconds.
_MAX_NEAR_MISS_SEARCHES: Final = 50
# This is far more than are ever listed.
_MAX_PROBLEMS_FOUND: Final = 20_000


@dataclass(slots=True)
class ActionOutline:
    """One action. `id` is empty where it has none, and `dependencies` is None where the field is not a list."""

    id: str
    path: str
    raw: Mapping[str, Any]
    dependencies: list[Any] | None
    dependency_names: dict[str, None]
    # The problems that are repaired by removing a dependency, and those repaired by adding the dependency of that name.
    removable: list[PlanProblem] = field(default_factory=list)
    missing: dict[str, PlanProblem] = field(default_factory=dict)

    @property
    def inputs(self) -> Any:
        """The inputs as they are in the document."""
        return self.raw.get("inputs", {})

    def find(self, name: str) -> tuple[str, Any]:
        """Return a field's spelling in the document and its value; None where it is not there."""
        return _find(self.raw, name)


@dataclass(slots=True)
class PlanOutline:
    """The plan, and the problems that were found so far. Of actions with the same id, `by_id` has the first."""

    raw: Mapping[str, Any]
    actions: list[ActionOutline] = field(default_factory=list)
    by_id: dict[str, ActionOutline] = field(default_factory=dict)
    # Each primary's alternative, without those that are unknown or lead back to their primary.
    alternatives: dict[str, str] = field(default_factory=dict)
    problems: list[PlanProblem] = field(default_factory=list)
    searches_left: int = _MAX_NEAR_MISS_SEARCHES
    # None means that what actions name is not checked.
    definitions: Mapping[str, ActionDefinition] | None = None
    # The inputSchemas that were needed so far, by the definition's id; None for one that can't be used.
    input_schemas: dict[str, CompiledSchema | None] = field(default_factory=dict)
    # Why a plan can't set an input, by the definition's id and the input's key; None where it can.
    overrides: dict[tuple[str, str], Override | None] = field(default_factory=dict)

    @property
    def known_names(self) -> Iterator[str]:
        """The names that a reference may start with."""
        return chain(("inputs",), self.by_id)

    @property
    def has_too_many_problems(self) -> bool:
        """Whether so many problems were found that the search may end."""
        return len(self.problems) >= _MAX_PROBLEMS_FOUND

    def find(self, name: str) -> tuple[str, Any]:
        """Return a field's spelling in the document and its value; None where it is not there."""
        return _find(self.raw, name)

    def report(self, code: str, path: str, message: str, suggestion: str = "") -> PlanProblem:
        """Add a problem, and return it for a fix to be added."""
        problem = make_problem(code, path, message, suggestion=suggestion)
        self.problems.append(problem)
        return problem

    def find_near(self, name: str, known: Iterable[str]) -> str | None:
        """Return the known name that was probably meant, for the first mistakes; None where no name is near."""
        if self.searches_left <= 0:
            return None
        self.searches_left -= 1
        return find_near_miss(name, known)

    def suggest(self, name: str, known: Iterable[str]) -> str:
        """Return `did you mean …?` for the first mistakes, and nothing where no name is near."""
        near = self.find_near(name, known)
        return f"did you mean '{shown(near)}'?" if near else ""


def read_outline(data: Any, definitions: Mapping[str, ActionDefinition] | None) -> PlanOutline:
    """Return the outline of a plan in JSON data, and report ids that are used twice."""
    plan = PlanOutline(data if isinstance(data, Mapping) else {}, definitions=definitions)
    entries = plan.raw.get("actions")
    for index, raw in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(raw, Mapping):
            action = _read_action(raw, f"/actions/{index}")
            plan.actions.append(action)
            if not action.id:
                continue
            first = plan.by_id.setdefault(action.id, action)
            if first is not action:
                message = f"the id '{shown(action.id)}' is taken by the action at {first.path}"
                plan.report("duplicate_action_id", f"{action.path}/id", message, "give each action an id of its own")
    return plan


def _read_action(raw: Mapping[str, Any], path: str) -> ActionOutline:
    action_id = raw.get("id")
    entries = raw.get("dependencies", [])
    dependencies = entries if isinstance(entries, list) else None
    return ActionOutline(
        id=action_id if isinstance(action_id, str) else "",
        path=path,
        raw=raw,
        dependencies=dependencies,
        dependency_names=dict.fromkeys(entry for entry in dependencies or () if isinstance(entry, str)),
    )


# Few fields are looked for, and the alias generator takes microseconds for each name.
_snake = lru_cache(maxsize=32)(to_snake)


def _find(raw: Mapping[str, Any], name: str) -> tuple[str, Any]:
    snake = _snake(name)
    key = snake if name not in raw and snake in raw else name
    return key, raw.get(key)
