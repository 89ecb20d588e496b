"""The JSON Schema (2020-12) of a plan, for tools and for language models that write plans. Pure.

It is made from the models of the contract. There are two of it. The *whole* one says everything that a JSON Schema can
say about a plan. The *strict* one keeps within what the structured outputs of both OpenAI and Anthropic take, so that a
model can be held to it. There every property is required, null stands for what is left out, and there are no bounds and
no references. A value that may be any JSON is JSON *text* there; `read_strict_plan` reads it. Neither schema knows what
refers to what: only validation does.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from workflow_state.schema import ActionDefinition, ExecutionPlan

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ANY_JSON: Final = "#/$defs/JsonValue"
_DEFINITION_FIELD: Final = "actionDefinitionId"
# A model can make neither a UUID nor a time, and its guess of a duration helps nobody.
_NOT_FOR_MODELS: Final = frozenset({"id", "metadata"})
# Anthropic refuses bounds, OpenAI the lengths of text, and neither fills in a default. Validation checks the bounds.
_NOT_STRICT: Final = frozenset(
    {"title", "default", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"minLength", "maxLength", "maxItems"}
)
_JSON_FIELDS: Final = frozenset({"inputs", "fallbackValue", "value"})


def make_plan_json_schema(
    definitions: Mapping[str, ActionDefinition] | None = None, *, strict: bool = False
) -> dict[str, Any]:
    """Return the whole schema or the strict one; with `definitions`, only their ids are an `actionDefinitionId`."""
    whole = ExecutionPlan.model_json_schema(by_alias=True)
    action = whole["$defs"]["PlannedAction"]["properties"]
    action[_DEFINITION_FIELD] = _definition_field(action[_DEFINITION_FIELD], definitions or {})
    if strict:
        return _strict(_without(whole, _NOT_FOR_MODELS), whole["$defs"])
    return {"$schema": _DIALECT, **_untitled(whole), "title": "Execution plan"}


def read_strict_plan(answer: Mapping[str, Any] | str | bytes) -> Any:
    """Return the plan in a language model's answer to the strict schema, as JSON data.

    >>> read_strict_plan('{"name": "Hello", "description": null, "actions": [{"id": "a", "inputs": "{}"}]}')
    {'name': 'Hello', 'actions': [{'id': 'a', 'inputs': {}}]}

    Give the result to `validate_execution_plan` or `execute_plan`. `answer` is the model's JSON text, or the data in
    it. Fields that are null are left out, and JSON text in `inputs`, `fallbackValue` and `value` is read; text there
    that is not JSON stays text. An answer that is not a JSON object is returned as it is, for validation to refuse.
    Raises nothing.
    """
    if isinstance(answer, (str, bytes)):
        try:
            answer = json.loads(answer)
        except ValueError:
            return answer
    return _loosened(answer)


def _definition_field(field: Mapping[str, Any], definitions: Mapping[str, ActionDefinition]) -> dict[str, Any]:
    if not definitions:
        return dict(field)
    known = [
        f"{name}: {item.name or item.description}"
        for name, item in definitions.items()
        if item.name or item.description
    ]
    description = " ".join([field["description"], *(f"{text.rstrip('.')}." for text in known)])
    return {"type": "string", "enum": sorted(definitions), "description": description}


def _without(schema: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {**schema, "properties": {key: item for key, item in schema["properties"].items() if key not in names}}


def _untitled(schema: Any) -> Any:
    """Leave out the titles that pydantic makes of names, but not a property that is called `title`."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(item) for name, item in value.items()}
        if key in ("properties", "$defs")
        else _untitled(value)
        for key, value in schema.items()
        if key != "title"
    }


def _strict(schema: Mapping[str, Any], models: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema within what both providers take, its references resolved: there are no cycles among ours."""
    if reference := schema.get("$ref"):
        # Beside a reference OpenAI takes no description.
        resolved = _strict(models[reference.rpartition("/")[2]], models)
        return {**resolved, **{key: text for key, text in schema.items() if key == "description"}}
    kept = {key: item for key, item in schema.items() if key not in _NOT_STRICT | {"$defs"}}
    if "anyOf" in kept:
        kept["anyOf"] = [_strict(item, models) for item in kept["anyOf"]]
    if "items" in kept:
        kept["items"] = _strict(kept["items"], models)
    if "pattern" in kept:
        # A large {0,127} is too much for Anthropic's grammars; validation counts.
        kept["pattern"] = kept["pattern"].replace("{0,127}", "*")
    if "properties" in kept:
        kept["properties"] = {name: _strict_property(name, item, models) for name, item in kept["properties"].items()}
        kept["required"] = list(kept["properties"])
        kept["additionalProperties"] = False
    return kept


def _strict_property(name: str, field: Mapping[str, Any], models: Mapping[str, Any]) -> dict[str, Any]:
    if name == "inputs":
        return {"type": "string", "description": f"A JSON object as text, {{}} for none. {field['description']}"}
    if field.get("$ref") == _ANY_JSON:
        text = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        return {**text, "description": f"JSON as text, null for none. {field['description']}"}
    return _strict(field, models)


def _loosened(data: Any) -> Any:
    if isinstance(data, list):
        return [_loosened(item) for item in data]
    if not isinstance(data, Mapping):
        return data
    return {
        name: _read_json(value) if name in _JSON_FIELDS else _loosened(value)
        for name, value in data.items()
        if value is not None
    }


def _read_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
