"""Conditions and expected outcomes."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_state.conditions import check_condition, evaluate_condition, evaluate_validation
from workflow_state.errors import ConditionError, ReferenceParseError, ReferenceResolutionError
from workflow_state.schema import OutcomeValidation

RESULTS = {
    "check": {
        "status": "completed",
        "output": {
            "type": "premium",
            "age": 34,
            "ratio": 0.5,
            "tags": ["a", "b"],
            "nothing": None,
            "huge": 2**70,
            "evil": "' || true || '",
            "long": "a" * 1_000 + "b",
        },
    },
    "inputs": {"flag": True},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("${check.output.type} == 'premium' && ${check.output.age} >= 18", True),
        ("${check.output.type} === 'premium'", True),
        ("${check.output.type} !== 'premium'", False),
        ("'${check.output.type}' == \"premium\"", True),
        ("'a ${check.output.type} b' == 'a premium b'", True),
        ("'a === b' == 'a === b'", True),
        ("'$${x}' == '$${' + 'x}'", True),
        ("${check.status} == 'completed'", True),
        ("${inputs.flag} ? ${check.output.ratio} < 1 : false", True),
        ("${check.output.nothing} == null", True),
        ("${check.output.age} > 33.5", True),
        ("${check.output.huge} > 5", True),
        ("'b' in ${check.output.tags} && size(${check.output.tags}) == 2", True),
        ("${check.output.tags}.exists(tag, tag == 'a')", True),
        ("${check.output.evil} == 'x'", False),
        ("'${check.output.evil}' == 'x'", False),
        ("${check.output.long}.matches('(a+)+$')", False),
        ("  ${check.output.age}  ", True),
    ],
)
def test_conditions_hold_or_not(text, holds):
    """References are values, never text; JavaScript's operators are read as CEL's."""
    assert evaluate_condition(text, RESULTS) is holds


@pytest.mark.parametrize("value", [None, False, 0, 0.0, "", [], {}])
def test_one_reference_is_its_truth_value(value):
    """Empty values do not hold, others do."""
    assert evaluate_condition("${a.output}", {"a": {"status": "completed", "output": value}}) is False
    assert evaluate_condition("${a.output}", {"a": {"status": "completed", "output": [value]}}) is True


@pytest.mark.parametrize(
    "text",
    [
        "1 +",
        "${check.output.age",
        "(" * 100 + "true" + ")" * 100,
        "!" * 200 + "true",
        "true || " * 200 + "true",
        "[1].map(x, [2].map(y, y)) == []",
        "unknown == 1",
        "'open",
    ],
)
def test_what_is_no_condition_is_found_before_it_runs(text):
    """Syntax, length, nesting and names."""
    with pytest.raises((ConditionError, ReferenceParseError)):
        check_condition(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("${check.output.type} > 3", ConditionError),
        ("${check.output.age} + 1", ConditionError),
        ("${check.output.missing} == 1", ReferenceResolutionError),
        ("1 / 0 == 1", ConditionError),
        ("${check.output.type}.matches('(')", ConditionError),
    ],
)
def test_what_does_not_fit_is_a_clear_error(text, error):
    """Wrong types, missing fields, and what is neither true nor false."""
    with pytest.raises(error) as caught:
        evaluate_condition(text, RESULTS)
    assert "overload" not in str(caught.value)


@given(st.text(max_size=60))
@settings(max_examples=200)
def test_any_text_is_a_condition_or_a_clear_error(text):
    """Nothing else comes out of it."""
    with suppress(ConditionError, ReferenceParseError, ReferenceResolutionError):
        assert evaluate_condition(text, RESULTS) in {True, False}


@pytest.mark.parametrize(
    ("operator", "reference", "value", "passed"),
    [
        ("exists", "${check.output.type}", None, True),
        ("exists", "${check.output.nothing}", None, False),
        ("exists", "${check.output.missing}", None, False),
        ("equals", "${check.output.age}", 34, True),
        ("equals", "${inputs.flag}", 1, False),
        ("contains", "${check.output.type}", "rem", True),
        ("contains", "${check.output.tags}", "b", True),
        ("contains", "${check.output}", "age", True),
        ("contains", "${check.output.age}", "3", False),
        ("matches", "${check.output.type}", "^prem", True),
        ("matches", "${check.output.type}", "(", False),
        ("matches", "${check.output.age}", "3", False),
    ],
)
def test_expected_outcomes_say_what_was_found(operator, reference, value, passed):
    """Passed or not, and never an exception."""
    given_value = {} if value is None else {"value": value}
    validation = OutcomeValidation.model_validate(
        {"name": "n", "reference": reference, "operator": operator, **given_value}
    )
    result = evaluate_validation(validation, RESULTS)
    assert result.passed is passed
    assert result.message
