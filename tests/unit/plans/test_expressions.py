"""Conditions compute as JSON does: checked against a small interpreter of the same expressions, in Python."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.errors import ConditionError, ReferenceResolutionError, WorkflowStateError
from workflow_state.plans.conditions import check_condition, evaluate_condition
from workflow_state.plans.expressions import rewrite

VALUES = {
    "n": 5,
    "price": 20,
    "exact": 2**53 + 1,
    "near": 2**53,
    "unsigned": 2**64 - 1,
    "decimal": 19.99,
    "name": "Zoë",
    "list": [1, 2.0, 2**53 + 1],
    "emoji": "👩‍🚀",
    "two": 2.0,
}


def holds(condition, **inputs):
    """Return whether a condition over these plan inputs holds."""
    return evaluate_condition(condition, {"inputs": {**VALUES, **inputs}, "a": {"status": "failed", "result": {}}})


@pytest.mark.parametrize(
    "text",
    [
        "size('Zoë') == 3",
        "size(${inputs.name}) == 3 && ${inputs.name}.size() == 3 && '${inputs.name}'.size() == 3",
        "['Zoë'].all(x, size(x) == 3 && x.size() == 3)",
        "size(b'Zo\\xc3') == 3",
        "size(${inputs.list}) == 3 && ${inputs.list}.size() < 3.5",
        "${inputs.price} * 2 > 30",
        "${inputs.decimal} * 2 > 30",
        "${inputs.price} > 19.99 && ${inputs.decimal} < 20",
        "${inputs.n} / 2 == 2.5",
        "${inputs.n} / 5 == 1",
        "1 / 2 + 1 / 2 == 1",
        "7 % 4 == 3 && -7 % 4 == -3 && 7.5 % 2 == 1.5",
        "${inputs.n} + 0.5 == 5.5 && 0.5 + ${inputs.n} == 5.5 && ${inputs.n} - 0.5 == 4.5",
        "size(${inputs.list}) * 1.5 == 4.5",
        "-${inputs.n} + 5 == 0 && - -5 == 5 && --5 == 5",
        "${inputs.exact} == ${inputs.exact} && ${inputs.exact} != ${inputs.near}",
        "${inputs.exact} == 9007199254740993 && ${inputs.exact} > 9007199254740992",
        "${inputs.exact} != 9007199254740992.0 && ${inputs.exact} > 9007199254740992.0",
        "${inputs.exact} - 1 == ${inputs.near} && ${inputs.exact} % 2 == 1",
        "!(${inputs.near} in ${inputs.list}) && ${inputs.exact} in ${inputs.list}",
        "${inputs.unsigned} == ${inputs.unsigned} && ${inputs.unsigned} > 18446744073709551614.0 == false",
        "2 in ${inputs.list} && 1.0 in ${inputs.list} && !(true in ${inputs.list})",
        "[1, [2.0]] == [1.0, [2]] && {'a': 1} == {'a': 1.0} && {'a': [1]} != {'a': [true]}",
        "true != 1 && !(1 == true)",
        "${inputs.list}[${inputs.two}] == ${inputs.exact} && ${inputs.list}[4 / 2] == ${inputs.list}[2.0]",
        "${inputs.list}.map(x, x * 1.5)[0] == 1.5",
        "${inputs.list}.exists(x, x / 2 == 0.5)",
        "1 < 2 == true && 1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 4 - 3 == 3 && 16 / 4 / 2 == 2",
        "'a' + 'b' == 'ab' && [1] + [2] == [1, 2] && 'a' < 'b' && b'a' + b'b' == b'ab' && false < true",
        "timestamp('2020-01-01T00:00:00Z') + duration('36h') > timestamp('2020-01-02T00:00:00Z')",
        "timestamp('2020-01-02T00:00:00Z') - timestamp('2020-01-01T00:00:00Z') == duration('24h')",
        "type(1) == int && type(1.5) == double && type('') == string && type(5 / 2) == double",
        "true ? (false ? false : true) : false",
        "false ? false : false ? false : true",
        "'+-*/%' == '+' + '-*/%' && '==' != '!=' && r'a\\b' == 'a\\\\b' && '''it's''' == \"it's\"",
        "{'a b': {'c': 2}}['a b'].c * 2 == 4 && [[1, 2], [3]][1][0] == 3 && 0x10 == 16 && 1u + 1 == 2 && .5 == 0.5",
    ],
)
def test_json_has_one_kind_of_number_and_texts_have_characters(text):
    """In lists, maps and macros too; integers of 64 bits stay exact."""
    check_condition(text)
    assert holds(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "${a.status} == 'completed' && ${a.output.x}",
        "${a.status} == 'completed' && ${a.output.x} > 3",
        "${a.status} != 'failed' && size('${a.output.x}') > 3",
        "!(${a.status} == 'failed' || ${inputs.gone} == 1)",
        "${a.status} == 'failed' ? false : ${a.output.x} == 1",
        "false && (true || ${inputs.gone})",
        "${inputs.n} > 5 && ${inputs.n} / 0 > 1",
        "[1, 2].exists(x, x > 2 && x == ${inputs.gone})",
    ],
)
def test_a_guard_guards(text):
    """What stands behind it may point at nothing."""
    check_condition(text)
    assert holds(text) is False


@pytest.mark.parametrize("value", [0, "", [], {}, None, False, 1, "0", [0], {"a": None}, True])
def test_a_reference_by_itself_counts_by_its_truth_value(value):
    """Beside an operator as alone."""
    for text in (
        "${inputs.v}",
        "true && ${inputs.v}",
        "${inputs.v} || false",
        "!!${inputs.v}",
        "!(!(${inputs.v}))",
        "(${inputs.v}) && true",
        "${inputs.v} ? true : false",
        "false ? true : ${inputs.v} ? true : false",
    ):
        assert holds(text, v=value) is bool(value), text
    with pytest.raises(ConditionError, match="types"):
        holds("true && 1")


@pytest.mark.parametrize(
    "text",
    [
        "${a.status} == 'failed' && ${a.output.x} == 1",
        "${inputs.gone} == 1 && false",
        "${inputs.gone} == 1 || true",
        "true ? ${inputs.gone} == 1 : true",
        "[1].exists(x, x == 1 && ${inputs.gone} == 1)",
        "has(${inputs.gone}.x) || true",
    ],
)
def test_a_reference_to_nothing_fails_once_it_is_reached(text):
    """Also where the other side of an operator could decide without it: a misspelt field must not."""
    with pytest.raises(ReferenceResolutionError, match=r"gone|has no output"):
        holds(text)


def test_what_fails_on_one_side_of_an_or_is_made_up_for_by_the_other():
    """As CEL has it: an error is no answer, true is one."""
    assert holds("1 / 0 == 1 || true") is True
    assert holds("'a' < 1 && false") is False
    with pytest.raises(ConditionError, match="divides by zero"):
        holds("1 / 0 == 1 || false")


def test_nothing_is_printed_where_an_operation_fails(capfd):
    """The library would write to the worker's standard error."""
    for text in ("1 / 0 == 1", "'a' < 1", "${inputs.gone} == 1", "[1][7] == 1"):
        with pytest.raises(WorkflowStateError):
            holds(text)
    assert capfd.readouterr() == ("", "")


def test_a_sum_of_texts_has_a_bound():
    """Thousands of copies of a megabyte would take the memory."""
    with pytest.raises(ConditionError, match="too long"):
        holds(" + ".join(["${inputs.text}"] * 50) + " == ''", text="x" * 100_000)


def test_a_long_chain_is_read():
    """Of every operator, within the bound of a thousand characters."""
    assert holds("+".join(["1"] * 490) + " == 490")
    assert holds("||".join(["false"] * 140) + "||true")
    assert holds("false?false:" * 80 + "true")
    assert holds("(" * 20 + "true" + ")" * 20)


# --- Against an interpreter ----------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-(2**31), 2**31), st.sampled_from([0, 1, 2**53, 2**53 + 1]), st.sampled_from([0.5, 2.0])
)


def number_expressions():
    """Return trees: a number, the name of an input, or (operator, left, right)."""
    leaves = st.one_of(NUMBERS, st.sampled_from(["n", "price", "exact", "two"]))
    return st.recursive(
        leaves, lambda inner: st.tuples(st.sampled_from(["+", "-", "*", "/", "%"]), inner, inner), max_leaves=6
    )


PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2}


def write(tree, above=0):
    """Write a tree with as few brackets as it takes."""
    if not isinstance(tree, tuple):
        text = f"${{inputs.{tree}}}" if isinstance(tree, str) else repr(tree)
        return f"({text})" if text.startswith("-") else text
    operator, left, right = tree
    own = PRECEDENCE[operator]
    text = f"{write(left, own)} {operator} {write(right, own + 1)}"
    return f"({text})" if own < above else text


def compute(tree):
    """Compute a tree in fractions: its value, and whether that is a float; None where it is not exact in 64 bits."""
    if not isinstance(tree, tuple):
        number = VALUES[tree] if isinstance(tree, str) else tree
        return Fraction(number), isinstance(number, float)
    operator, left, right = tree
    parts = [compute(left), compute(right)]
    if None in parts or (operator in "/%" and parts[1][0] == 0):
        return None
    one, other = parts[0][0], parts[1][0]
    value = {
        "+": lambda: one + other,
        "-": lambda: one - other,
        "*": lambda: one * other,
        "/": lambda: one / other,
        "%": lambda: (abs(one) % abs(other)) * (-1 if one < 0 else 1),
    }[operator]()
    if value.denominator == 1 and not (parts[0][1] or parts[1][1]):
        return (value, False) if -(2**63) <= value < 2**63 else None
    return (value, True) if all(Fraction(float(number)) == number for number in (one, other, value)) else None


@given(number_expressions(), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), NUMBERS)
def test_arithmetic_is_that_of_fractions(tree, comparison, other):
    """Wherever each step has an exact value; elsewhere there is some value, or an error of ours."""
    computed = compute(tree)
    text = f"{write(tree)} {comparison} {write(other)}"
    try:
        found = holds(text)
    except ConditionError:
        assert computed is None
        return
    assert isinstance(found, bool)
    if computed is None:
        return
    one, two = computed[0], Fraction(other)
    expected = {
        "==": one == two,
        "!=": one != two,
        "<": one < two,
        "<=": one <= two,
        ">": one > two,
        ">=": one >= two,
    }[comparison]
    assert found is expected


BOOLEANS = st.recursive(
    st.sampled_from([True, False, "gone"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["&&", "||"]), inner, inner),
        st.tuples(st.just("?"), inner, inner, inner),
        st.tuples(st.just("!"), inner),
    ),
    max_leaves=8,
)


def write_boolean(tree):
    """Write a tree of conditions with all brackets."""
    if isinstance(tree, bool):
        return str(tree).lower()
    if isinstance(tree, str):
        return f"${{inputs.{tree}}}"
    if tree[0] == "!":
        return f"!({write_boolean(tree[1])})"
    if tree[0] == "?":
        return "({} ? {} : {})".format(*map(write_boolean, tree[1:]))
    return f"({write_boolean(tree[1])} {tree[0]} {write_boolean(tree[2])})"


def decide(tree):
    """Evaluate it from left to right; LookupError where a reference is reached, as all of them point at nothing."""
    if isinstance(tree, bool):
        return tree
    if isinstance(tree, str):
        raise LookupError(tree)  # noqa: TRY004 - what it points at is not there
    if tree[0] == "!":
        return not decide(tree[1])
    if tree[0] == "?":
        return decide(tree[2]) if decide(tree[1]) else decide(tree[3])
    if tree[0] == "&&":
        return decide(tree[1]) and decide(tree[2])
    return decide(tree[1]) or decide(tree[2])


@given(BOOLEANS)
def test_references_are_resolved_where_the_evaluation_gets_to_them(tree):
    """From left to right, as everybody reads a guard."""
    text = f"true && {write_boolean(tree)}"
    try:
        expected = decide(tree)
    except LookupError:
        with pytest.raises(ReferenceResolutionError):
            holds(text)
        return
    assert holds(text) is expected


@given(st.text(alphabet="ab1.()[]{}+-*/%<>=!&|?:,' \"in", max_size=30))
def test_what_cel_reads_is_rewritten(text):
    """Both readers take the same texts for expressions, or there is an error of ours."""
    try:
        check_condition(text)
    except WorkflowStateError:
        return
    assert rewrite(text).cel
