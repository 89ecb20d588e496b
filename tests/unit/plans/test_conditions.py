from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.errors import ConditionError, ReferenceParseError, ReferenceResolutionError, WorkflowStateError
from workflow_state.plans.conditions import check_condition, evaluate_condition, evaluate_validation
from workflow_state.schema import ActionExecutionState, OutcomeValidation

INPUTS = {
    "text": "x'y",
    "quoted": 'a"b',
    "five": 5,
    "half": 0.5,
    "one": 1.0,
    "huge": 2**70,
    "yes": True,
    "nothing": None,
    "list": [1, 2, 3],
    "object": {"a": 1, "a-b": 2},
    "premium": "premium",
    "injection": "' || true || '",
    "reference": "${inputs.premium}",
}
RESULTS = {
    "inputs": INPUTS,
    "check": {"status": "completed", "output": {"type": "premium", "age": 18, "my key": 1}},
    "skipped": {"status": "skipped", "result": {"status": "skipped", "reason": "its condition"}},
}
# What would take seconds is refused at once.
AT_ONCE_S = 2


# --- What holds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "${check.output.type} == 'premium' && ${check.output.age} >= 18",
        "${check.output.type} === 'premium'",
        '${check.output.type} !== "basic"',
        "${check.status} == 'completed'",
        "${check.output.age} == 18.0",
        "${check.output.age} > 17.5",
        "${inputs.one} == 1",
        "1 == 1.0",
        "${inputs.half} < 1",
        "${inputs.huge} > 5",
        "${inputs.huge} == 1180591620717411303424.0",
        "${inputs.nothing} == null",
        "${skipped.output.any.path} == null",
        "!(${inputs.nothing} == 1)",
        "${inputs.text} != 5",
        '${check.output["my key"]} == 1',
        "'a' in ${inputs.object}",
        "2 in ${inputs.list}",
        "size(${inputs.list}) == 3",
        "${inputs.object}.a == 1",
        "${inputs.object}['a-b'] == 2",
        "!has(${inputs.object}.missing)",
        "${inputs.list}.exists(x, x == 2)",
        "${inputs.list}.filter(x, x > 1).exists(x, x == 3)",
        "${inputs.list}.all(x, x > 0) && ${inputs.list}.exists_one(x, x == 1)",
        "${inputs.premium}.matches(r'^pre\\w+$')",
        "type(${inputs.five}) == int",
        "${inputs.yes} ? true : false",
        "true // it's a remark, with '${' in it",
        "'''it's''' == \"it's\"",
        "timestamp('2020-01-01T00:00:00Z') < timestamp('2021-01-01T00:00:00Z')",
    ],
)
def test_an_expression_holds(text):
    """What plans say, and what the dialects of CEL and JavaScript allow."""
    assert evaluate_condition(text, RESULTS) is True


@pytest.mark.parametrize(
    "text",
    [
        "'${check.output.type}' == 'premium'",
        '"${check.output.type}" == "premium"',
        "'${check.output.age}' == 18",
        "'${check.output.type}-${check.output.age}' == 'premium-18'",
        "'it\\'s ${inputs.five}' == \"it's 5\"",
        '"${check.output[\\"my key\\"]}" == 1',
        "'${check.output[\"my key\"]}' == 1",
        "r'${check.output.type}' == 'premium'",
    ],
)
def test_references_in_a_string_literal_are_read(text):
    """A literal that is one reference is its value, with its type; one with text around is text."""
    assert evaluate_condition(text, RESULTS) is True


@pytest.mark.parametrize("text", ["'$${x}' == '$' + '{x}'", "'a===b' == 'a=' + '==b'", "'!==' == '!' + '=='"])
def test_what_is_escaped_or_quoted_stays_text(text):
    """`$${` is a literal `${`; an operator in a literal is none."""
    assert evaluate_condition(text, RESULTS) is True


@pytest.mark.parametrize("name", ["text", "quoted", "injection", "reference"])
def test_a_value_is_never_part_of_the_expression(name):
    """Not its quotes, not its operators, not the references that it looks like."""
    assert evaluate_condition(f"${{inputs.{name}}} == 'premium'", RESULTS) is False
    assert evaluate_condition(f"'${{inputs.{name}}}' == 'premium'", RESULTS) is False


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_equals_itself(text):
    """Bound as a variable, it arrives as it is."""
    results = {"inputs": {"a": text, "b": text}}
    assert evaluate_condition("${inputs.a} == ${inputs.b}", results)
    assert evaluate_condition("'<${inputs.a}>' == '<' + ${inputs.b} + '>'", results)


@pytest.mark.parametrize("value", [None, False, 0, 0.0, "", [], {}])
def test_one_reference_does_not_hold_for_nothing(value):
    """Also with blanks around it."""
    assert evaluate_condition(" ${inputs.v} ", {"inputs": {"v": value}}) is False


@pytest.mark.parametrize("value", [True, 1, -0.5, "false", "0", [0], {"a": None}])
def test_one_reference_holds_for_something(value):
    """A text holds whatever it says."""
    assert evaluate_condition("${inputs.v}", {"inputs": {"v": value}}) is True


def test_results_may_be_models():
    """As the engine has them."""
    model = ActionExecutionState.model_validate(
        {"actionId": "a", "status": "completed", "result": {"status": "success", "output": {"n": 1}}}
    )
    assert evaluate_condition("${a.output.n} == 1 && ${a.status} == 'completed'", {"a": model})


# --- What is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${inputs.five} + 1", "neither true nor false, but 6"),
        ("'x'", "neither true nor false"),
        ("null", "neither true nor false"),
        ("${inputs.nothing} > 3", r"\$\{inputs.nothing\} is null"),
        ("1 < 'a'", "types of its values"),
        ("${inputs.yes} && 1", "types of its values"),
        ("1 / 0 == 1", "divides by zero"),
        ("5 % 0 == 1", "divides by zero"),
        ("9223372036854775807 + 1 > 0", "beyond 64 bits"),
        ("-9223372036854775808 / -1 == 1", "beyond 64 bits"),
        ("${inputs.list}[7] == 1", "no index 7"),
        ("${inputs.list}[-1] == 1", "no index -1"),
        ("${inputs.object}.missing == 1", "'missing', which is not there"),
        ("${inputs.object}.size > 1", r"'size', which is not there; size\(VALUE\) is how many there are"),
        ("[${inputs.object}].exists(x, x.length > 1)", r"'length', which is not there; size\(VALUE\)"),
        ("${inputs.list}.contains(2)", "for a list write VALUE in LIST"),
        ("${inputs.five}.startsWith('5')", r"startsWith\(\) can't take"),
        ("size(${inputs.five}) == 1", "types of its values"),
        ("int('zz') == 5", r"int\(\) can't take"),
        ("'abc'.substring(1) == 'bc'", "no function or variable 'substring'"),
        ("${inputs.text}.matches('(') ", "no regular expression"),
        ("${inputs.text}.matches('(?=x)')", "no regular expression"),
    ],
)
def test_what_does_not_fit_its_values_is_told(text, words):
    """In our words: the library's name its insides."""
    with pytest.raises(ConditionError, match=words) as caught:
        evaluate_condition(text, RESULTS)
    for jargon in ("overload", "Undefined", "Function '", "reference_", "CEL"):
        assert jargon not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("  // nothing but a remark", "is empty"),
        ("${inputs.yes} &&", "the end"),
        ("(${inputs.yes}", "missing '\\)'"),
        ("not ${inputs.yes}", r"\$\{inputs.yes\}.*write ! instead of not"),
        ("${inputs.yes} and true", "'and'.*write && instead"),
        ("${inputs.yes} OR true", r"'OR'.*write \|\| instead"),
        ("${inputs.five} = 5", "'='.*write == instead"),
        ("${inputs.five} =~ 'x'", r"'=~'.*write .matches\('pattern'\)"),
        ("${inputs.five} <> 5", "'>'.*write != instead of <>"),
        ("== 5", "'==' can't stand where it does$"),
        ("&& ${inputs.yes}", "'&&' can't stand where it does$"),
        ("${inputs.five} ='x'", "write == instead"),
        ("${inputs.yes} & true", "write && instead"),
        ("${inputs.five} 5", "'5' can't stand where it does"),
        ("${inputs.yes} ? true", "all three parts"),
        ("[1].all(1, true)", "a plain name first"),
        ("'Recursion limit' ==", "something is missing at the end"),
        ("'invalid int literal' == 'a' 'b'", "''b'' can't stand where it does"),
        ("'<input>:1:1: x' ==", "something is missing at the end"),
        ("${check.output.type} == premium", "or 'premium' for a text"),
        ("reference_0 == 1", "'reference_0', which is nothing"),
        ("${inputs.text} == 'x", "without its pair"),
        ("1 == 1180591620717411303424", "decimal point"),
        ("'\\ud83d' == 'a'", "escape"),
        ("has(${inputs.object}['a-b'])", r"has\(\) takes a field"),
        ("b'${inputs.text}' == b'x'", "in bytes"),
        ("len(${inputs.list}) > 2", r"'len' here; write size\(\$\{inputs.list\}\)$"),
        (
            "${inputs.text}.includes('x')",
            r"write \$\{inputs.text\}.contains\('x'\) for a text or 'x' in \$\{inputs.text\} for a list",
        ),
        ("${inputs.list}.indexOf(2) >= 0", r"or 2 in \$\{inputs.list\} for a list"),
        ("${inputs.list}.length > 2", r"no .length; write size\(\$\{inputs.list\}\), or \$\{inputs.list\}\['length'\]"),
        ("${inputs.list}.length() > 2", r"write size\(\$\{inputs.list\}\)$"),
        ("'${inputs.text}'.length == 1", "no .length"),
        ("${inputs.text}.toLowerCase() == 'x'", r"matches\('\(\?i\)\^the text\$'\) to compare in any case"),
        ("startsWith(${inputs.text}, 'x')", r"write \$\{inputs.text\}.startsWith\('x'\)"),
        ("${inputs.text}.startswith('x')", r"write \$\{inputs.text\}.startsWith\('x'\)"),
        ("contains('x')", r"write VALUE.contains\(TEXT\)"),
        ("len(len(${inputs.text})) > 0", r"write size\(VALUE\)"),
        ("${inputs.list}.exist(x, x > 1)", r"did you mean '\$\{inputs.list\}.exists\(x, x > 1\)'"),
        ("${inputs.five}.toFixed(2) == '5.00'", "let an action prepare such a value. What there is: contains, "),
        ("abs(${inputs.five}) > 2", "What there is: size, int"),
        ("size(1, 2) == 2", r"size\(\) takes 1 value, not 2"),
        ("${inputs.text}.contains() == true", r"contains\(\) takes 1 value, not 0"),
        ("${inputs.list}.size(1) == 1", r"size\(\) takes nothing, not 1"),
        ("bool(${inputs.five})", r"write \$\{inputs.five\} == true"),
        ("true" + " " * 1_000, "at most 1000"),
    ],
)
def test_what_is_no_expression_is_told(text, words):
    """Already when the plan is checked, in words for the author, and never misled by what the condition says."""
    with pytest.raises(ConditionError, match=words) as caught:
        check_condition(text)
    for jargon in ("mismatched", "extraneous", "token recognition", "viable", "ExprContext", "<EOF>", "<input>"):
        assert jargon not in str(caught.value).replace(text, "")
    with pytest.raises(ConditionError, match=words):
        evaluate_condition(text, RESULTS)


@pytest.mark.parametrize("text", ["${", "${check.output.type", "'${check}' == 1", "${a.output} && ${}"])
def test_a_malformed_reference_is_told_as_one(text):
    """Inside a literal and outside."""
    with pytest.raises(ReferenceParseError):
        check_condition(text)


@pytest.mark.parametrize("text", ["${check.output.missing}", "${check.output.missing} == 1", "'${gone.output}' == 'x'"])
def test_a_reference_to_nothing_is_no_empty_text(text):
    """A misspelt field must not decide silently."""
    with pytest.raises(ReferenceResolutionError):
        evaluate_condition(text, RESULTS)


def test_a_reference_is_read_once_the_evaluation_gets_to_it():
    """What a guard keeps from being evaluated may point at nothing."""
    assert evaluate_condition("false && ${check.output.missing} == 1", RESULTS) is False
    with pytest.raises(ReferenceResolutionError):
        evaluate_condition("${check.output.missing} == 1 && false", RESULTS)


def test_the_references_of_a_condition_are_returned():
    """Those in literals too, each text once."""
    found = check_condition("'${a.output.x} ${b.status}' == 'y' && ${c.output} == ${c.output} && '$${d.output}' == ''")
    assert [reference.text for reference in found] == ["${a.output.x}", "${b.status}", "${c.output}"]
    assert [reference.action_id for reference in check_condition(" ${a.output} ")] == ["a"]


# --- What would take too long --------------------------------------------------------------------------------------


NUMBERS = {"inputs": {"l": list(range(10_000)), "s": "ab" * 200_000, "p": "(.{0,200}){0,50}y"}}


PIECES = [f"${{inputs.{name}}}" for name in INPUTS] + [
    "==", "&&", "||", "!", "-", "+", "*", "/", "%", "(", ")", "[", "]", "{", "}", ",", ":", "?", ".", " in ", "1", "0",
    "9223372036854775807", "1u", "'a'", "r'\\'", "'''", '"', "b'x'", "null", "true", "size(", "int(", "string(",
    "timestamp(", "duration(", "'1h'", ".matches(", ".all(x,", ".map(x,", "x", "//", "\n", "$${", "${", "\\", "\0",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_text_gets_past_our_own_errors(text):
    """Whatever a model writes ends as true, false or an error that says why."""
    with suppress(WorkflowStateError):
        assert evaluate_condition(text, RESULTS) in (True, False)


# --- Expected outcomes ---------------------------------------------------------------------------------------------


def validate(operator, reference, **value):
    validation = OutcomeValidation.model_validate({"name": "v", "reference": reference, "operator": operator, **value})
    return evaluate_validation(validation, RESULTS)


@pytest.mark.parametrize(
    ("operator", "reference", "value", "passed"),
    [
        ("exists", "${inputs.five}", None, True),
        ("exists", "${inputs.nothing}", None, False),
        ("equals", "${inputs.five}", 5, True),
        ("equals", "${inputs.five}", 5.0, True),
        ("equals", "${inputs.five}", "5", False),
        ("equals", "${inputs.one}", True, False),
        ("equals", "${inputs.nothing}", None, True),
        ("equals", "${inputs.list}", [1, 2, 3], True),
        ("equals", "${inputs.list}", [True, 2, 3], False),
        ("equals", "${inputs.object}", {"a-b": 2, "a": 1}, True),
        ("equals", "${inputs.object}", {"a-b": 2, "a": True}, False),
        ("contains", "${inputs.premium}", "rem", True),
        ("contains", "${inputs.list}", 2, True),
        ("contains", "${inputs.list}", True, False),
        ("contains", "${inputs.object}", "a", True),
        ("contains", "${inputs.object}", 1, False),
        ("contains", "${inputs.five}", "5", False),
        ("matches", "${inputs.premium}", "^prem", True),
        ("matches", "${inputs.premium}", "^rem", False),
        ("matches", "${inputs.five}", "5", False),
    ],
)
def test_an_outcome_is_compared_as_json(operator, reference, value, passed):
    """The result says what was found, whether it passed or not."""
    result = validate(operator, reference, value=value)
    assert result.passed is passed
    assert result.actual == INPUTS[reference[9:-1]]
    assert reference in result.message
    assert "found" in result.message


def test_a_missing_path_does_not_pass_and_says_what_is_there():
    """Whatever is asked about it; nothing is raised."""
    for operator in ("exists", "equals", "contains", "matches"):
        result = validate(operator, "${check.output.tpye}", value="x")
        assert not result.passed
        assert "tpye" in result.message
        assert "did you mean 'type'?" in result.message


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("(", "no regular expression"), (5, "takes a pattern"), ("a" * 1_001, "at most 1000"), ("(?=x)", "RE2")],
)
def test_a_bad_pattern_does_not_pass_and_says_so(pattern, words):
    """It is the plan's mistake, not the output's."""
    result = validate("matches", "${inputs.premium}", value=pattern)
    assert not result.passed
    assert words in result.message


def test_a_number_too_long_to_write_is_no_exception():
    """Python refuses to write integers of more than 4,300 digits; a plan made in Python may have one."""
    result = validate("equals", "${inputs.five}", value=10**5_000)
    assert not result.passed
    assert "too long to show" in result.message


def test_a_malformed_reference_does_not_pass():
    """A plan that skipped validation ends with a result as well."""
    assert not validate("exists", "check.output").passed
