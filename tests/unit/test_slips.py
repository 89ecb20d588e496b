"""The slips of a newcomer's first hour: each is one readable message that says what, where and what to do.

A slip is a plan, a definition, a command's option or a variable as somebody wrote it who has read the tutorial once.
"""

import click
import pytest

from workflow_state.actions.definitions.files import read_definition_files
from workflow_state.actions.http.failures import describe_status
from workflow_state.cli import plan_file
from workflow_state.cli.plan_file import read_plan
from workflow_state.errors import ActionDefinitionError, PlanValidationError, SettingsError
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ActionDefinition
from workflow_state.settings import Settings, find_unknown_variables, get_settings

CHARGE = {
    "id": "shop.charge",
    "endpoint": {"url": "https://shop.test/orders/{orderId}/charges", "method": "POST"},
    "inputSchema": {"type": "object", "properties": {"body.amount": {"type": "integer"}}},
}
LIST = {
    "id": "shop.orders",
    "endpoint": {"url": "https://shop.test/orders"},
    "outputSchema": {
        "type": "object",
        "properties": {"orders": {"type": "array"}, "count": {"type": "integer"}},
        "additionalProperties": False,
    },
}
DEFINITIONS = {data["id"]: ActionDefinition.model_validate(data) for data in (CHARGE, LIST)}


def charge(fields="", inputs='"orderId": "o-1"', definition="shop.charge", head='"inputs": {"order": "o-1"},'):
    """Return a plan of two actions, as text; what can be wrong is in line 4."""
    return (
        f'{{"name": "Charge", {head}\n "actions": [\n  {{"id": "list", "actionDefinitionId": "shop.orders"}},\n'
        f'  {{"id": "pay", "actionDefinitionId": "{definition}", "inputs": {{{inputs}}}{fields}}}\n]}}'
    )


def after_list(fields):
    """Return the plan with the second action after the first one."""
    return charge(f', "dependencies": ["list"], {fields}')


PAY = "action 'pay', line 4"
TWO = ("a misspelt `actions`", "a misspelt field that is required")
PLANS = {
    "a misspelt definition": (
        charge(definition="shop.chrage"),
        ("'shop.chrage'", PAY, "did you mean 'shop.charge'?"),
    ),
    "a misspelt field": (charge(', "dependancies": []'), ("'dependancies'", PAY, "did you mean 'dependencies'?")),
    "another product's word for a field": (
        charge(', "dependsOn": ["list"]'),
        ("'dependsOn'", PAY, "did you mean 'dependencies'?"),
    ),
    "a misspelt `actions`": (
        charge(definition="shop.chrage").replace('"actions"', '"actons"'),
        ("/actons (line 2)", "did you mean 'actions'?", f"/actons/1/actionDefinitionId ({PAY})"),
    ),
    "a misspelt field that is required": (
        charge().replace("actionDefinitionId", "actionDefinition"),
        ("'actionDefinition'", "action 'list', line 3", "did you mean 'actionDefinitionId'?"),
    ),
    "a dependency that is not there": (charge(', "dependencies": ["lst"]'), ("'lst'", PAY, "did you mean 'list'?")),
    "an action that depends on itself": (charge(', "dependencies": ["pay"]'), ("pay", PAY, "")),
    "a forgotten dependency": (
        charge(inputs='"orderId": "${list.output.count}"'),
        ("'list' is not among the dependencies", PAY, "add 'list' to the dependencies of 'pay'"),
    ),
    "`result` in place of `output`": (
        charge(', "dependencies": ["list"]', inputs='"orderId": "${list.result.count}"'),
        ("${list.result.count}", PAY, "write ${list.output.count}"),
    ),
    "`input` in place of `inputs`": (
        charge(inputs='"orderId": "${input.order}"'),
        ("${input.order}", PAY, "write ${inputs.order}"),
    ),
    "a reference without its brace": (
        charge(inputs='"orderId": "${inputs.order"'),
        ("the reference is not closed", PAY, "add the missing }"),
    ),
    "a misspelt key of an output": (
        charge(', "dependencies": ["list"]', inputs='"orderId": "${list.output.cuont}"'),
        ("no key 'cuont'", PAY, "did you mean 'count'?"),
    ),
    "a plan input that nobody gave": (
        charge(inputs='"orderId": "${inputs.customerId}"'),
        ('no key "customerId"', PAY, "--input customerId=VALUE"),
    ),
    "an input of the URL that is missing": (
        charge(inputs='"body.amount": 1'),
        ("needs the input 'orderId' in its URL", PAY, "add 'orderId' to the inputs"),
    ),
    "an input without a place": (
        charge(inputs='"orderId": "o-1", "amount": 1'),
        ("'amount' has no place in the request", PAY, "body.amount"),
    ),
    "a number in words": (
        charge(inputs='"orderId": "o-1", "body.amount": "five"'),
        ("'body.amount' must be an integer, not text", PAY, "inputSchema of 'shop.charge'"),
    ),
    "forEach over what is no list": (
        after_list('"forEach": "${list.output}"'),
        ("forEach needs a list, and ${list.output} is an object", PAY, "did you mean ${list.output.orders}?"),
    ),
    "a reference in a question": (
        after_list('"userConfirmation": {"required": true, "title": "${list.output.count}?", "message": "m"}'),
        ("${list.output.count} would be shown as it is written", PAY, "leave it out"),
    ),
    "a function of another language": (
        after_list('"condition": {"if": "len(${list.output.orders}) > 0"}'),
        ("len", PAY, "size"),
    ),
    "a comma after the last entry": (
        charge().replace("}\n]}", "},\n]}"),
        ("there is a comma at line 4, column 83", "", "remove the comma"),
    ),
    "single quotes": (charge().replace('"id"', "'id'"), ("a single quote at line 3, column 4", "", "double quotes")),
    "an answer of a model with its fence": (
        f"```json\n{charge()}\n```",
        ("a backquote at line 1, column 1", "", "send the JSON by itself"),
    ),
}
HEAD = "id: a\nendpoint: {url: https://shop.test/}\n"
FILES = {
    "Bearer": (
        HEAD + "authentication: {type: Bearer, token: x}",
        ("authentication.type", "a.yaml:3: a:", "not 'Bearer'; did you mean 'bearer'?"),
    ),
    "a variable as a shell writes it": (
        HEAD + "authentication: {type: bearer, token: $SHOP_TOKEN}",
        ("authentication.token would be sent as it is written", "a.yaml:3: a:", "write ${env.SHOP_TOKEN}"),
    ),
    "a variable as templates write it": (
        HEAD + "authentication: {type: bearer, token: '${SHOP_TOKEN}'}",
        ("authentication.token", "a.yaml:3: a:", "write ${env.SHOP_TOKEN}"),
    ),
    "a reference without quotes between braces": (
        HEAD + "authentication: {type: bearer, token: ${env.SHOP_TOKEN}}",
        ("is not YAML", "a.yaml:3:", "quote the reference: '${env.SHOP_TOKEN}'"),
    ),
    "a tab": ("id: a\nendpoint:\n\turl: https://h", ("is not YAML", "a.yaml:3:", "with spaces, not with tabs")),
    "a duration with its unit": (
        "id: a\nendpoint:\n  url: https://shop.test/\n  timeout: 30s",
        ("a whole number of milliseconds, not '30s'", "a.yaml:4: a: endpoint.timeout", "write 30000"),
    ),
    "a method in small letters": (
        "id: a\nendpoint:\n  url: https://shop.test/\n  method: post",
        ("not 'post'", "a.yaml:4: a: endpoint.method", "did you mean 'POST'?"),
    ),
    "a misspelt field": ("id: a\nendpoit: {url: https://h}", ("endpoit", "a.yaml:2: a:", "did you mean 'endpoint'?")),
    "a URL without its scheme": (
        "id: a\nendpoint: {url: shop.test/orders}",
        ("endpoint.url", "a.yaml:2: a:", "must start with a literal http:// or https://"),
    ),
}


def check(message, fragments):
    """Require a message for people: each problem is a line, and nothing in it is Python's."""
    for fragment in fragments:
        assert fragment in message
    assert all(len(line) < 500 for line in message.splitlines())
    for word in ("Input should", "pydantic", "Traceback", "Expecting", "NoneType", "<class"):
        assert word not in message


def test_there_are_thirty():
    """And some more, below."""
    assert len(PLANS) + len(FILES) >= 30


@pytest.mark.parametrize("slip", PLANS)
def test_a_slip_in_a_plan(slip):
    """One problem, but where each action has it, or where it has hidden another one so far."""
    text, fragments = PLANS[slip]
    with pytest.raises(PlanValidationError) as caught:
        validate_plan_with(DEFINITIONS, text)
    assert len(caught.value.errors) == (2 if slip in TWO else 1), str(caught.value)
    check(str(caught.value), fragments)


@pytest.mark.parametrize("slip", FILES)
def test_a_slip_in_a_definition(slip, tmp_path):
    """One problem, with its file and its line."""
    text, fragments = FILES[slip]
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ActionDefinitionError) as caught:
        read_definition_files([path])
    assert str(caught.value).startswith("the action definitions have 1 problem\n")
    check(str(caught.value), fragments)


def test_a_slip_on_the_command_line(tmp_path, monkeypatch):
    """The name of an input."""
    # Another test of this process may have configured some.
    monkeypatch.setattr(plan_file, "list_action_definitions", list)
    path = tmp_path / "plan.json"
    path.write_text(charge(inputs='"orderId": "${inputs.order}"'))
    with pytest.raises(click.UsageError) as caught:
        read_plan(str(path), (), ["ordr=o-2"], needs_definitions=False)
    check(caught.value.message, ("--input ordr", "reads no input of this name", "did you mean 'order'?"))


def test_a_slip_in_a_variable(monkeypatch):
    """Its name, or its value."""
    [warning] = find_unknown_variables({"WORKFLOW_STATE_REDIS": "redis://x"})
    check(warning, ("WORKFLOW_STATE_REDIS is no setting", "changes nothing", "WORKFLOW_STATE_REDIS_URL"))
    monkeypatch.setenv("WORKFLOW_STATE_REDIS_URL", "127.0.0.1:6379")
    get_settings.cache_clear()
    try:
        with pytest.raises(SettingsError) as caught:
            get_settings()
    finally:
        get_settings.cache_clear()
    check(str(caught.value), ("WORKFLOW_STATE_REDIS_URL: must start with redis://",))
    assert "redis_url" in Settings.model_fields


def test_a_slip_that_only_the_server_notices():
    """An id that it does not know: the endpoint is there."""
    detail = describe_status(DEFINITIONS["shop.charge"], 404, retry_after_ms=None, location=None, has_key=False)
    check(f"{detail.message} ({detail.suggestion})", ("404 Not Found", "'orderId'", "check the value of 'orderId'"))
    assert "removed" not in f"{detail.message} {detail.suggestion}"
