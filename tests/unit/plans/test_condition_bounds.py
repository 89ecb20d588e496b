import time

import pytest

from workflow_state.errors import ConditionError
from workflow_state.plans import expected_outcomes
from workflow_state.plans.conditions import check_condition, evaluate_condition, evaluate_validation
from workflow_state.schema import ExpectedOutcome, OutcomeValidation

# What would take seconds is refused at once.
AT_ONCE_S = 2


@pytest.mark.parametrize(
    "text",
    [
        "[1].all(x, [2].all(y, x < y))",
        "[1].map(x, [2].filter(y, y > x).size() > 0) == []",
        "r'\\' == '' || [1].all(x, [2].all(y, x < y)) || '' == ''",
        "'''\n''' == '' || [1].all(x, [2].all(y, x < y)) || '' == ''",
        "[1]. // remark\n all(x, [2]. // remark\n all(y, x < y))",
    ],
    ids=["all", "map", "behind a raw literal", "behind a long literal", "behind remarks"],
)
def test_nested_macros_are_refused_wherever_they_hide(text):
    """A literal that was read otherwise than CEL reads it hid them once."""
    with pytest.raises(ConditionError, match="nests"):
        check_condition(text)


def test_a_map_after_a_map_is_refused():
    """Seventy of them double a text seventy times: the process was aborted when its memory was gone."""
    with pytest.raises(ConditionError, match="more than one map"):
        evaluate_condition("size(['aaaaaaaa']" + ".map(x,x+x)" * 70 + ") > 0", {})


@pytest.mark.parametrize(
    "text",
    [
        "(" * 400 + "1" + ")" * 400,
        "[" * 30 + "]" * 30,
        "!" * 900 + "true",
        "-!" * 30 + "1",
        "{1:" * 40 + "1" + "}" * 40,
    ],
)
def test_deep_nesting_is_refused(text):
    """Before it gets to the parser."""
    with pytest.raises(ConditionError, match="more than 24"):
        check_condition(text)


NUMBERS = {
    "inputs": {
        "l": list(range(10_000)),
        "s": "ab" * 200_000,
        "p": "(.{0,200}){0,50}y",
        "few": [1] * 4_000,
        "many": ["ab"] * 150_000,
    }
}


@pytest.mark.parametrize(
    "text",
    [
        "${inputs.l}.all(x, x in ${inputs.l})",
        "size(${inputs.l}.map(x, ${inputs.l} + ${inputs.l})) > 0",
        "size(${inputs.l}.map(x, x)) > 0",
        "size((${inputs.l} + ${inputs.l}).filter(x, true)) > 0",
        "size(${inputs.few}.filter(x, true)) > 0",
        "size(${inputs.few}.map(x, x)) > 0",
        "${inputs.many}.exists(x, x.contains('zz') || x.startsWith('yy') || x.endsWith('xx'))",
        "${inputs.s}.matches('(?:a[ab]{1,60}){1,9}[0-9]')",
        "[${inputs.s}].exists(x, x == " + "+".join("x" * 100) + ")",
        "${inputs.s}.matches('(?:[ab]{1,400}[abc]){1,20}[0-9]')",
        "${inputs.s}.matches(${inputs.p})",
        "${inputs.l}.exists(x, 'a'.matches('(.{0,200}){0,50}y'))",
        "${inputs.s}.matches('(?:[ab]\\x7b1,400}[abc])\\u007b1,20}[0-9]')",
        "${inputs.s}.matches('(?x)(?:[ab]{1, 400 }[abc]){ 1,20}[0-9]')",
        "matches(${inputs.s}, '(?:[ab]{1,400}[abc]){1,20}[0-9]')",
    ],
)
def test_what_would_hold_the_interpreter_for_long_is_refused(text):
    """One of these took two minutes, in which no other thread of the worker ran."""
    started = time.process_time()
    with pytest.raises(ConditionError):
        evaluate_condition(text, NUMBERS)
    assert time.process_time() - started < AT_ONCE_S


def test_operators_for_each_of_very_many_elements_are_refused():
    """Each of them costs microseconds; comparing once is allowed."""
    results = {"inputs": {"l": [1] * 150_000}}
    started = time.process_time()
    with pytest.raises(ConditionError, match="computes 1200016 times"):
        evaluate_condition("${inputs.l}.all(x, x + 1 + 1 + 1 + 1 > 0 && x / 2 == x * 0.5)", results)
    assert time.process_time() - started < AT_ONCE_S
    assert evaluate_condition("${inputs.l}.all(x, x >= 0)", results)


def test_a_condition_over_a_long_list_of_objects_is_no_attack():
    """A page of results is what conditions are for."""
    items = [{"id": number, "status": "closed", "note": "x" * 50} for number in range(5_000)]
    results = {"inputs": {"items": items, "kinds": ["open", "new"]}}
    assert evaluate_condition("${inputs.items}.all(i, !(i.status in ${inputs.kinds}))", results)
    assert not evaluate_condition("${inputs.items}.exists(i, i.status.matches('^o'))", results)


def test_an_evil_pattern_is_matched_in_linear_time():
    """`(a+)+$` never ends in a backtracking engine."""
    started = time.process_time()
    assert not evaluate_condition("${inputs.s}.matches('^(a+)+$')", {"inputs": {"s": "a" * 50_000 + "b"}})
    assert time.process_time() - started < AT_ONCE_S


def test_a_pattern_too_large_for_its_text_does_not_pass():
    """A text of 400 kB and thousands of states: minutes."""
    validation = OutcomeValidation(
        name="v", reference="${inputs.s}", operator="matches", value="(?:[ab]{1,400}[abc]){1,20}[0-9]"
    )
    started = time.process_time()
    result = evaluate_validation(validation, NUMBERS)
    assert (result.passed, time.process_time() - started < AT_ONCE_S) == (False, True)
    assert "too large" in result.message


def test_an_outcome_without_a_reference_does_not_pass():
    """A text would be a value, and every value exists."""
    validation = OutcomeValidation(name="v", reference="check.output", operator="exists")
    assert not evaluate_validation(validation, {"check": {"status": "completed", "output": 1}}).passed


def test_what_was_found_is_in_the_state_up_to_a_kibibyte():
    """A hundred validations of one large value would put it a hundred times into the state."""
    for size, is_there in ((1_022, True), (1_023, False)):
        result = evaluate_validation(
            OutcomeValidation(name="v", reference="${inputs.s}", operator="exists"), {"inputs": {"s": "x" * size}}
        )
        assert (result.passed, "actual" in result.to_json_data()) == (True, is_there)
        assert "xxx" in result.message


def test_the_validations_of_an_outcome_have_a_time_together(monkeypatch):
    """Whose turn comes later does not pass, and says why."""
    monkeypatch.setattr(expected_outcomes, "MAX_CPU_S", 0.002)
    slow = {"name": "slow", "reference": "${inputs.rows}", "operator": "exists"}
    outcome = ExpectedOutcome.model_validate({"description": "slow", "validations": [slow] * 100})
    results = expected_outcomes.evaluate_outcome(outcome, {"inputs": {"rows": [1] * 20_000}})
    assert len(results) == 100
    assert (results[0].passed, results[-1].passed) == (True, False)
    assert "not looked at" in results[-1].message
