"""Expressions in inputs are told when a plan is validated; text is text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.errors import PlanValidationError, ReferenceParseError
from workflow_state.plans.conditions import check_condition
from workflow_state.plans.references import parse_reference
from workflow_state.plans.validation.misplaced import find_misplaced
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ActionDefinition

LIST = ActionDefinition.model_validate(
    {
        "id": "list",
        "name": "List",
        "description": "d",
        "endpoint": {"url": "https://api.test/", "method": "GET"},
        "outputSchema": {
            "type": "object",
            "properties": {
                "orders": {"type": "array", "items": {"type": "object"}},
                "owner": {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": False},
                "total": {"type": "number"},
                "name": {"type": "string"},
            },
            "additionalProperties": False,
        },
    }
)
SEND = ActionDefinition.model_validate(
    {"id": "send", "name": "Send", "description": "d", "endpoint": {"url": "https://api.test/", "method": "POST"}}
)


def problems(text, definition="list", **inputs):
    """Return the problems of a plan whose second action has this text among its inputs."""
    plan = {
        "name": "n",
        "inputs": {"customer": {"name": "Ada"}, "tenant": "shop", "count": 3, **inputs},
        "actions": [
            {"id": "a", "actionDefinitionId": definition},
            {
                "id": "b",
                "actionDefinitionId": "send",
                "dependencies": ["a"],
                "inputs": {"body.x": {"deep": [text]}},
            },
        ],
    }
    try:
        validate_plan_with({"list": LIST, "send": SEND}, plan)
    except PlanValidationError as error:
        return error.errors
    return []


@pytest.mark.parametrize(
    "text",
    [
        "${a.output}.size()",
        "${a.output.orders}.size()",
        "${a.output.orders}.length",
        "${a.output.orders}.length()",
        "Total: ${a.output.orders}.size() orders",
        "${a.output.name}.toUpperCase()",
        "${a.output.name}.custom()",
        "${a.output.orders}[0].get('x')",
        "${a.output.name}.contains('x') ? 'a' : 'b'",
        "${a.output.total} == 3",
        "${a.output.total}>=3",
        "${a.output.name} === 'x'",
        "${a.output.name} && ${a.output.total}",
        "${a.output.name} || 'nobody'",
        "${a.output.name} == premium",
        "${a.output.name} ?? 'nobody'",
        "${a.output.name} ? 'yes' : 'no'",
        "${a.output.total} > 3",
        "${a.output.total} * 2",
        "${a.output.total} - 1",
        "${a.output.total}/100",
        "${inputs.count} + 1",
        "${inputs.count}+1",
        "${a.output.name} + ' and ' + ${a.output.total}",
        "size(${a.output.orders})",
        "len(${a.output.orders})",
        "string(${a.output.total})",
    ],
)
def test_an_expression_in_an_input_is_told(text):
    """It would be sent as text; what is advised for a condition can be read there."""
    [problem] = problems(text)
    assert (problem["code"], problem["path"]) == ("bad_reference", "/actions/1/inputs/body.x/deep/0")
    assert "would be sent as text" in problem["message"]
    assert problem["suggestion"].startswith("refer to a field that has the value, or let an action compute it")
    _, is_there, advised = problem["suggestion"].partition("; condition.if could have ")
    if is_there:
        check_condition(advised)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("${a.output}.name", "${a.output.name}"),
        ("${a.output}.owner.name", "${a.output.owner.name}"),
        ("${a.output.owner}.name", "${a.output.owner.name}"),
        ("${a.output.orders}[0].id", "${a.output.orders[0].id}"),
        ("${inputs.customer}.name", "${inputs.customer.name}"),
        ("${a.output.owner}.json", ""),
        ("${inputs.customer}.email", ""),
        ("${a.output}.nmae", ""),
    ],
)
def test_a_path_that_goes_on_outside_of_the_braces_is_told(text, instead):
    """What to write instead is told where it is valid."""
    [problem] = problems(text)
    assert "goes on inside of its braces" in problem["message"]
    assert problem.get("suggestion", "") == (f"write {instead}" if instead else "")
    assert not instead or problems(instead) == []


@pytest.mark.parametrize(
    "text",
    [
        "${a.output.name}",
        "Dear ${a.output.name}. Your order is on its way.",
        "${a.output.name}. Your order is on its way.",
        "${a.output.name}.Your order",
        "${a.output.name}.json",
        "${a.output.name}.tar.gz",
        "report-${a.output.name}.final(2).pdf",
        "${a.output.name}.final(2)",
        "${inputs.tenant}.example.com",
        "${inputs.tenant}.shop.internal/orders",
        "https://${inputs.tenant}.example.com/${a.output.name}?page=2&size=3",
        "${a.output.name}?page=2",
        "${a.output.name}/${a.output.total}",
        "${a.output.name}-${a.output.total}",
        "${a.output.name} - ${a.output.total}",
        "${a.output.name} + ${a.output.total}",
        "${a.output.name}+1",
        "${a.output.name}+tag@example.com",
        "${a.output.name}: ${a.output.total}",
        "${a.output.name} (${a.output.total})",
        "${a.output.name}*",
        "${a.output.total}%",
        "${a.output.total} % of ${inputs.count}",
        "${a.output.total} of ${inputs.count}",
        "${a.output.name}!",
        "${a.output.name} && Sons",
        "${a.output.name} || exit 1",
        "${a.output.total} >= 3 items",
        "${a.output.name}? Yes: we can!",
        "${a.output.name} = ${a.output.total}",
        "${a.output.name}=${a.output.total}",
        "<b>${a.output.name}</b>",
        "${a.output.name}<br>",
        "${a.output.name} > Products > Shoes",
        "${a.output.name} | ${a.output.total}",
        "${a.output.name}, ${a.output.total}",
        "${a.output.name}[1]",
        "${a.output.name}... and so on",
        "size(s): ${a.output.total}",
        "status == 'open' && total > ${inputs.count}",
        "2024-${inputs.count}-01T00:00:00Z",
        "$${a.output}.size()",
        '{"id": ${a.output.total}, "name": "${a.output.name}"}',
        "SELECT * FROM t WHERE id = ${inputs.count}",
    ],
)
def test_text_is_text(text):
    """Sentences, names of files and hosts, URLs, other languages."""
    assert problems(text) == []


def test_the_name_of_a_file_is_told_only_where_it_can_be_none():
    """Without an outputSchema an output may be a text."""
    assert find_misplaced("${a.output}.json") is None
    assert find_misplaced("${a.output}.name").instead == "${a.output.name}"
    assert find_misplaced("${a.output.x}.name") is None
    assert find_misplaced("${a.output.x}.name", holds_parts=True).instead == "${a.output.x.name}"


@given(st.text(alphabet="${}a.output()[]'\" +-*/%<>=!&|?:sizelength0", max_size=40))
def test_any_text_has_an_answer(text):
    """In no time, and what is advised is a reference."""
    found = find_misplaced(text)
    if found and found.instead:
        try:
            assert parse_reference(found.instead) is not None
        except ReferenceParseError:
            pytest.fail(found.instead)
