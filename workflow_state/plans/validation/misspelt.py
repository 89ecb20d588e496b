"""Fields of a plan that have another name than people and language models think."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic.alias_generators import to_camel

from workflow_state.schema import MAX_ACTIONS, ExecutionPlan
from workflow_state.wording import find_near_miss

_FIELDS: Final = [field.alias or name for name, field in ExecutionPlan.model_fields.items()]
_SPELLINGS: Final = frozenset([*_FIELDS, *ExecutionPlan.model_fields])
# What people and language models call a field, where the spelling is too different for a guess.
_MISNOMERS: Final[Mapping[str, str]] = {
    "action": "actionDefinitionId",
    "body": "inputs",
    "dependsOn": "dependencies",
    "if": "condition",
    "input": "inputs",
    "onError": "errorHandling",
    "parameters": "inputs",
    "params": "inputs",
    "requires": "dependencies",
    "retryPolicy": "actionDefinitionId",
    "steps": "actions",
    "tasks": "actions",
    "type": "actionDefinitionId",
}


def find_meant_field(name: str, known: Iterable[str]) -> str | None:
    """Return the field that `name` was probably meant to be, or None where no field is near."""
    fields = [*known]
    misnomer = _MISNOMERS.get(to_camel(name))
    return misnomer if misnomer in fields else find_near_miss(name, fields)


def find_misspelt_actions(data: Any) -> str | None:
    """Return the key under which a plan has its actions where that is certain, but not `actions`: `actons`.

    Then the actions can be checked all the same. None where the plan has `actions`, or nothing that is surely meant.
    """
    if not isinstance(data, Mapping) or "actions" in data:
        return None
    found = [key for key, value in data.items() if isinstance(key, str) and _are_actions(key, value)]
    return found[0] if len(found) == 1 else None


def _are_actions(key: str, value: Any) -> bool:
    is_list = isinstance(value, list) and 0 < len(value) <= MAX_ACTIONS
    if not is_list or key in _SPELLINGS or not all(isinstance(entry, Mapping) for entry in value):
        return False
    return find_meant_field(key, _FIELDS) == "actions"
