"""JSON Schema: whether a schema can be used, and what in a value does not fit it.

The dialect is 2020-12, unless `$schema` names another that JSON Schema has published. Nothing is ever fetched: a `$ref`
points into the schema itself. Regular expressions run in linear time, so look-around and back-references are refused.
`format` is not checked, which is the standard's default. Messages name places and types and never values, because an
input or an answer may have a secret in it.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import jsonschema_rs

from workflow_state.errors import ActionDefinitionError
from workflow_state.json_schema.cost import SchemaCost
from workflow_state.json_schema.expansion import MAX_EXPANDED, MAX_EXPANDED_BELOW, children, count_expanded
from workflow_state.wording import describe, did_you_mean, shown

MAX_SCHEMA_BYTES: Final = 256 * 1024
MAX_SCHEMA_DEPTH: Final = 64
MAX_MISMATCHES: Final = 20

_MAX_REGEX_BYTES: Final = 2**20
_MAX_OPTIONS_SHOWN: Final = 10
_MAX_NAMES_SHOWN: Final = 3
_CACHED_SCHEMAS: Final = 512
_FIRST_SAMPLED: Final = 8
_MAX_SAMPLED: Final = 1_000
_MAX_SAMPLED_DEPTH: Final = 12
_QUICK_S: Final = 0.02

Path = tuple[str | int, ...]

_KINDS: Final[Mapping[str, str]] = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "text",
}


class CompiledSchema:
    """A schema that is ready to check values. Threads may share it."""

    def __init__(self, validator: jsonschema_rs.Validator, cost: SchemaCost) -> None:
        self._validator = validator
        self._cost = cost

    def find_mismatches(self, value: Any, limit: int = MAX_MISMATCHES) -> "list[Mismatch]":
        """Return what does not fit, at most `limit` mismatches; an empty list where the value fits.

        Of a large or deep value only mismatches of its first scalars are told, or where there are none of these, that
        the value does not fit. The library collects every error of every branch before it gives the first one, which
        can take minutes for a large value, and for a deep one where the schema has alternatives within alternatives.
        A value that would take too long to check does not fit.
        """
        if excess := self._cost.find_excess(value):
            return [Mismatch((), (), "", excess)]
        try:
            if self._validator.is_valid(value):
                return []
            return self._look_deeper(value, limit) or [Mismatch((), (), "", "does not fit the schema")]
        except UnicodeEncodeError:
            return [Mismatch((), (), "", "holds half a character (a lone surrogate)")]
        except (ValueError, TypeError, OverflowError):
            return [Mismatch((), (), "", "is no JSON value")]

    def _look_deeper(self, value: Any, limit: int) -> "list[Mismatch]":
        """Return the mismatches of the value's upper levels: of as many as can be looked at in a moment.

        A level more, and twice as many values, may take many times as long. So they are looked at only where what came
        before was quick.
        """
        found: list[Mismatch] = []
        for depth in range(1, _MAX_SAMPLED_DEPTH + 1):
            started_s = time.thread_time()
            sample, is_whole = _sample(value, min(_FIRST_SAMPLED << depth, _MAX_SAMPLED), depth)
            errors = (
                error
                for error in self._validator.iter_errors(sample)
                if is_whole or not isinstance(error.instance, dict | list)
            )
            found = [_explain(error) for error in islice(errors, limit)] or found
            if is_whole or time.thread_time() - started_s > _QUICK_S:
                break
        return found


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """Why a schema can't be used; `path` leads to the place in it."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that does not fit: `path` leads to it in the value, and `rule` to the rule in the schema.

    `unexpected` are the names of properties that the schema does not allow.
    """

    path: Path
    rule: Path
    keyword: str
    message: str
    suggestion: str = ""
    unexpected: tuple[str, ...] = ()


def find_schema_problem(schema: Mapping[str, Any]) -> SchemaProblem | None:
    """Return why the schema can't be used, or None where it can. Size, depth and references are bounded."""
    problem = _find_unbounded(schema)
    if problem is None:
        try:
            _compile(dict(schema))
        except ValueError as error:
            problem = _explain_refusal(error)
    return problem


def compile_schema(schema: Mapping[str, Any]) -> CompiledSchema:
    """Return the schema ready for use. The same schema is taken from a cache the next time.

    Raises ActionDefinitionError for a schema in which `find_schema_problem` finds a problem.
    """
    try:
        text = json.dumps(schema)
    except (ValueError, TypeError, RecursionError):
        raise ActionDefinitionError("the schema is no JSON value") from None
    return _compile_text(text)


@lru_cache(maxsize=_CACHED_SCHEMAS)
def _compile_text(text: str) -> CompiledSchema:
    schema = json.loads(text)
    if problem := _find_unbounded(schema):
        raise ActionDefinitionError(f"the schema {problem.message}")
    try:
        return CompiledSchema(_compile(schema), SchemaCost(schema))
    except ValueError as error:
        raise ActionDefinitionError(f"the schema {_explain_refusal(error).message}") from None


def _compile(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    # RegexOptions chooses the engine without backtracking. `offline` refuses http, https and file references.
    return jsonschema_rs.validator_for(
        schema,
        offline=True,
        validate_formats=False,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=_MAX_REGEX_BYTES),
    )


def _find_unbounded(schema: Mapping[str, Any]) -> SchemaProblem | None:
    level: list[Any] = [dict(schema)]
    for _ in range(MAX_SCHEMA_DEPTH):
        level = [child for value in level for child in children(value)]
        if not level:
            break
    else:
        return SchemaProblem((), f"is nested deeper than {MAX_SCHEMA_DEPTH} levels")
    try:
        size = len(json.dumps(schema, allow_nan=False).encode())
    except ValueError:
        return SchemaProblem((), "holds a number that JSON does not have")
    if size > MAX_SCHEMA_BYTES:
        return SchemaProblem((), f"has {size} bytes of JSON, and at most {MAX_SCHEMA_BYTES} are allowed")
    expansion = count_expanded(schema)
    if expansion.at_once > MAX_EXPANDED:
        return SchemaProblem((), f"has references that multiply to more than {MAX_EXPANDED} schemas for one value")
    if expansion.below > MAX_EXPANDED_BELOW:
        why = f"has parts that multiply, level by level, to more than {MAX_EXPANDED_BELOW} schemas for one value"
        return SchemaProblem((), why)
    return None


def _explain_refusal(error: ValueError) -> SchemaProblem:
    if not isinstance(error, jsonschema_rs.ValidationError):
        return SchemaProblem((), "is no JSON Schema: it holds half a character (a lone surrogate)")
    path: Path = tuple(error.instance_path)
    facts = error.kind.as_dict()
    if error.kind.name == "format" and facts.get("format") == "regex":
        why = (
            "is a regular expression that can't be used; look-around and back-references are not allowed, "
            "and neither are repetitions of repetitions that grow large"
        )
        return SchemaProblem(path, why)
    if error.kind.name == "$ref":
        return SchemaProblem(path, f"has a reference that can't be followed: {_shorten(error.message)}")
    if error.kind.name in ("anyOf", "enum") and path and path[-1] == "type":
        return SchemaProblem(path, f"is no type; the types are {', '.join(_KINDS)}")
    if message := _describe_keyword(error):
        return SchemaProblem(path, message)
    return SchemaProblem(path, f"is no JSON Schema: {_shorten(error.message)}")


def _shorten(message: str) -> str:
    why = message.replace("is not present in a registry and retrieving it failed: ", "is not in the schema; ")
    return shown(why.partition("\n")[0].rpartition("; Retrieval is disabled")[0] or why.partition("\n")[0])


def _sample(value: Any, count: int, levels: int) -> tuple[Any, bool]:
    """Return a copy of so many values of so many levels, taken level by level, and whether these are all."""
    top: list[Any] = [None]
    is_whole, left = True, count
    pending: deque[tuple[Any, int, Any, Any]] = deque([(value, 0, top, 0)])
    while pending:
        source, depth, parent, key = pending.popleft()
        if not isinstance(source, dict | list):
            parent[key] = source
            continue
        size = min(len(source), left if depth < levels else 0)
        is_whole = is_whole and size == len(source)
        left -= size
        entries: Any = islice(source.items() if isinstance(source, dict) else enumerate(source), size)
        parent[key] = copied = {} if isinstance(source, dict) else [None] * size
        pending.extend((child, depth + 1, copied, name) for name, child in entries)
    return top[0], is_whole


# --- What does not fit ------------------------------------------------------------------------------------------


def _explain(error: jsonschema_rs.ValidationError) -> Mismatch:
    keyword = error.kind.name
    suggestion = ""
    if keyword == "enum" and isinstance(error.instance, str):
        suggestion = did_you_mean(error.instance, [text for text in _options(error) if isinstance(text, str)])
    message = _describe_keyword(error) or f"does not fit the keyword '{keyword}' of the schema"
    # `evaluation_path` has all keywords on the way, also those behind a reference.
    unexpected = tuple(sorted(map(str, error.kind.as_dict().get("unexpected", ()))))
    return Mismatch(tuple(error.instance_path), tuple(error.evaluation_path), keyword, message, suggestion, unexpected)


def _describe_keyword(error: jsonschema_rs.ValidationError) -> str | None:
    describe_one = _DESCRIPTIONS.get(error.kind.name)
    return None if describe_one is None else describe_one(error)


def name_types(types: Sequence[str]) -> str:
    """Return JSON Schema's types in words: `an integer or null`."""
    return " or ".join(_KINDS.get(name, name) for name in types)


def _options(error: jsonschema_rs.ValidationError) -> list[Any]:
    options: list[Any] = error.kind.as_dict()["options"]
    return options


def _describe_type(error: jsonschema_rs.ValidationError) -> str:
    return f"must be {name_types(error.kind.as_dict()['types'])}, not {describe(error.instance)}"


def _describe_enum(error: jsonschema_rs.ValidationError) -> str:
    options = _options(error)
    listed = ", ".join(shown(json.dumps(option, ensure_ascii=False)) for option in options[:_MAX_OPTIONS_SHOWN])
    more = f" or {len(options) - _MAX_OPTIONS_SHOWN} others" if len(options) > _MAX_OPTIONS_SHOWN else ""
    return f"must be one of {listed}{more}"


def _describe_unexpected(error: jsonschema_rs.ValidationError) -> str:
    unexpected = sorted(map(str, error.kind.as_dict()["unexpected"]))
    names = ", ".join(f"'{shown(name)}'" for name in unexpected[:_MAX_NAMES_SHOWN])
    more = f" and {len(unexpected) - _MAX_NAMES_SHOWN} more" if len(unexpected) > _MAX_NAMES_SHOWN else ""
    return f"has no place for {names}{more}"


def _describe_choice(error: jsonschema_rs.ValidationError) -> str:
    context: list[list[jsonschema_rs.ValidationError]] = error.kind.as_dict()["context"]
    reasons = [_describe_keyword(branch[0]) for branch in context if branch]
    told = " / ".join(dict.fromkeys(reason for reason in reasons[:_MAX_NAMES_SHOWN] if reason))
    return f"fits none of the {len(context)} forms that are allowed" + (f" ({told})" if told else "")


def _limit(error: jsonschema_rs.ValidationError) -> Any:
    return error.kind.as_dict()["limit"]


_DESCRIPTIONS: Final[Mapping[str, Callable[[jsonschema_rs.ValidationError], str]]] = {
    "additionalProperties": _describe_unexpected,
    "unevaluatedProperties": _describe_unexpected,
    "anyOf": _describe_choice,
    "const": lambda error: f"must be {shown(json.dumps(error.kind.as_dict()['expected_value'], ensure_ascii=False))}",
    "enum": _describe_enum,
    "exclusiveMaximum": lambda error: f"must be below {_limit(error)}",
    "exclusiveMinimum": lambda error: f"must be above {_limit(error)}",
    "falseSchema": lambda _: "must not be there",
    "maxItems": lambda error: f"must have at most {_limit(error)} entries",
    "maxLength": lambda error: f"must have at most {_limit(error)} characters",
    "maximum": lambda error: f"must be at most {_limit(error)}",
    "minItems": lambda error: f"must have at least {_limit(error)} entries",
    "minLength": lambda error: f"must have at least {_limit(error)} characters",
    "minimum": lambda error: f"must be at least {_limit(error)}",
    "multipleOf": lambda error: f"must be a multiple of {error.kind.as_dict()['multiple_of']}",
    "oneOf": _describe_choice,
    "pattern": lambda error: f"must match the pattern {shown(error.kind.as_dict()['pattern'])}",
    "required": lambda error: f"lacks '{shown(error.kind.as_dict()['property'])}'",
    "type": _describe_type,
    "uniqueItems": lambda _: "must not have an entry twice",
}
