"""How long checking a value against a schema may hold the interpreter, estimated before it is checked. Pure.

The library checks a whole value in one step, in which no other thread of the worker runs. Most schemas take some
nanoseconds for each value. What takes long are alternatives within alternatives, because each of them may look at the
same value again, and patterns with many states.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from workflow_state.json_schema.expansion import Schema, SchemaIndex, applied_at_once, index_schema
from workflow_state.pattern_cost import count_states, is_too_much

MAX_STEPS: Final = 1_000_000
"""Values times the schemas that are applied to one of them at most. These take a fifth of a second at worst."""

_MOST: Final = MAX_STEPS + 1
_DEEPEST: Final = 64
_ALTERNATIVES: Final = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "dependentSchemas", "$ref", "patternProperties", "contains"}
    | {"$dynamicRef", "$recursiveRef", "propertyNames", "dependencies"}
)
# Of these one applies to each part of a value.
_FOR_ONE_PART: Final = ("items", "additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems")
_FOR_EACH_PART: Final = ("contains", "propertyNames")


class SchemaCost:
    """What checking values against a schema costs. Threads may share it."""

    def __init__(self, root: Schema) -> None:
        self._states = max(map(count_states, _patterns_in(root)), default=0)
        self._has_alternatives = any(not _ALTERNATIVES.isdisjoint(schema) for schema in _objects_in(root))
        self._root = root
        self._counting = _Counting(index_schema(root))
        self._is_endless = False
        self._lock = threading.Lock()

    def find_excess(self, value: Any) -> str | None:
        """Return why checking the value would take too long, as the end of a sentence, or None where it would not."""
        if not self._states and not self._has_alternatives:
            return None
        values, depth, characters = _measure(value)
        if values * (self._most_applied(depth) - 1) > MAX_STEPS:
            return f"has {values} values, too many for a schema with so many alternatives; have fewer of either"
        if self._states and is_too_much(characters, self._states):
            return f"has texts of {characters} characters, too many for a pattern of the schema; repeat less in it"
        return None

    def _most_applied(self, depth: int) -> int:
        """Return how many schemas are applied to one value at most, in a value of this depth."""
        if not self._has_alternatives:
            return 1
        # Another thread must not read what is counted only in part.
        with self._lock:
            try:
                return _MOST if self._is_endless else self._counting.most(self._root, min(depth, _DEEPEST))
            except RecursionError:
                # A thousand references in a row.
                self._is_endless = True
                return _MOST


@dataclass
class _Counting:
    index: SchemaIndex
    counted: dict[tuple[int, int, str], int] = field(default_factory=dict)
    """What was counted already: by the schema, the depth of the value, and what was counted."""

    def most(self, schema: Any, depth: int) -> int:
        """Return how many schemas are applied to one value at most, to this one or to a part of it."""
        return max(self._to_value(schema), self._to_part(schema, depth))

    def _to_value(self, schema: Any) -> int:
        if not isinstance(schema, Mapping):
            return 1
        key = (id(schema), 0, "value")
        if key not in self.counted:
            # A schema that leads back to itself adds nothing: the library stops there as well.
            self.counted[key] = 0
            self.counted[key] = _bounded(1 + self._sum_up(schema, self._to_value))
        return self.counted[key]

    def _to_part(self, schema: Any, depth: int) -> int:
        """Return how many are applied to one part of the value at most, however deep it is."""
        if not isinstance(schema, Mapping) or depth <= 0:
            return 0
        key = (id(schema), depth, "part")
        if key not in self.counted:
            self.counted[key] = 0
            others = self._sum_up(schema, partial(self._to_part, depth=depth))
            self.counted[key] = _bounded(self._by_itself(schema, depth) + others)
        return self.counted[key]

    def _sum_up(self, schema: Schema, count: Callable[[Any], int]) -> int:
        """Return the sum of the counts of all that is applied to the same value as the schema."""
        return sum(max(map(count, choices)) for choices in applied_at_once(self.index, schema))

    def _by_itself(self, schema: Schema, depth: int) -> int:
        below = depth - 1
        one_of = [schema[keyword] for keyword in _FOR_ONE_PART if keyword in schema]
        one_of += _values_of(schema.get("properties")) + _values_of(schema.get("prefixItems"))
        each = [schema[keyword] for keyword in _FOR_EACH_PART if keyword in schema]
        each += _values_of(schema.get("patternProperties"))
        return max((self.most(part, below) for part in one_of), default=0) + sum(
            self.most(part, below) for part in each
        )


def _bounded(count: int) -> int:
    return min(count, _MOST)


def _values_of(parts: Any) -> list[Any]:
    return [*parts.values()] if isinstance(parts, Mapping) else [*parts] if isinstance(parts, list) else []


def _objects_in(root: Any) -> Iterator[Schema]:
    pending = [root]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _patterns_in(root: Any) -> Iterator[str]:
    for schema in _objects_in(root):
        if isinstance(pattern := schema.get("pattern"), str):
            yield pattern
        if isinstance(by_pattern := schema.get("patternProperties"), Mapping):
            yield from by_pattern


def _measure(root: Any) -> tuple[int, int, int]:
    """Return how many values there are, how deep they are nested, and how many characters their texts have."""
    values, depth, characters = 1, 0, len(root) if isinstance(root, str) else 0
    level: list[Any] = [root]
    while level:
        below: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                characters += sum(map(len, container))
                items: Iterable[Any] = container.values()
            elif isinstance(container, list):
                items = container
            else:
                continue
            values += len(container)
            characters += sum(len(item) for item in items if isinstance(item, str))
            below += [item for item in items if isinstance(item, (dict, list))]
        level = below
        depth += 1
    return values, depth, characters
