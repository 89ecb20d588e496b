"""The cost of a check against a JSON Schema is known before it is made, and bounded."""

import time

import pytest

from workflow_state.json_schema.compiled import compile_schema

AT_ONCE_S = 2


def twice_at_each_level(levels, keyword):
    """Return a schema that looks at each level twice, so at the innermost value 2**levels times."""
    schemas = {"level0": {"type": "string"}}
    for level in range(1, levels + 1):
        below = {"type": "array", "items": {"$ref": f"#/$defs/level{level - 1}"}}
        schemas[f"level{level}"] = {keyword: [below, {**below, "minItems": 1}]}
    return {"$defs": schemas, "$ref": f"#/$defs/level{levels}"}


def nested(value, depth):
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_alternatives_within_alternatives_do_not_multiply(keyword):
    """Each level more would take twice as long."""
    schema = compile_schema(twice_at_each_level(18, keyword))
    started = time.process_time()
    [found] = schema.find_mismatches(nested(True, 18))
    assert time.process_time() - started < AT_ONCE_S
    assert "too many for a schema with so many alternatives" in found.message
    assert schema.find_mismatches(nested("x", 3)) != []


def test_many_values_with_many_alternatives_are_refused():
    schema = compile_schema({"items": {"oneOf": [{"const": number} for number in range(1_000)]}})
    started = time.process_time()
    assert "5001 values" in schema.find_mismatches([5] * 5_000)[0].message
    assert schema.find_mismatches([5] * 500) == []
    assert "1000 forms" in schema.find_mismatches([-5] * 500)[0].message
    assert time.process_time() - started < AT_ONCE_S


def test_a_large_pattern_for_a_long_text_is_refused():
    schema = compile_schema({"pattern": "(?:[ab]{1,400}[abc]){1,20}[0-9]"})
    started = time.process_time()
    assert "too many for a pattern" in schema.find_mismatches("ab" * 100_000)[0].message
    assert schema.find_mismatches("ab" * 50 + "c0") == []
    assert time.process_time() - started < AT_ONCE_S


def test_usual_schemas_take_large_values():
    record = {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
            "next": {"anyOf": [{"$ref": "#/$defs/record"}, {"type": "null"}]},
            "kind": {"enum": [f"kind {number}" for number in range(250)]},
        },
    }
    schema = compile_schema({"$defs": {"record": record}, "type": "array", "items": {"$ref": "#/$defs/record"}})
    one = {"id": "01234567-89ab-cdef-0123-456789abcdef", "kind": "kind 249", "next": None}
    started = time.process_time()
    assert schema.find_mismatches([{**one, "next": one}] * 20_000) == []
    assert time.process_time() - started < AT_ONCE_S


def test_a_value_as_large_as_any_fits_a_schema_without_alternatives():
    schema = compile_schema({"items": {"type": "object", "properties": {"a": {"type": "integer"}}}})
    assert schema.find_mismatches([{"a": 1}] * 300_000) == []
