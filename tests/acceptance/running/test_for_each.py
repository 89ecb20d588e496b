"""An action that runs once for each element of a list."""

from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.plans import action, plan
from helpers.waiting import wait_until

from workflow_state import execute_plan, get_execution_state

pytestmark = pytest.mark.usefixtures("worker")

TIMEOUT_S = 30


def run(*actions, inputs):
    """Run the actions with these plan inputs to the end."""
    return execute_plan.delay({**plan(*actions), "inputs": inputs}).get(timeout=TIMEOUT_S)


def test_each_element_runs_once_and_outputs_keep_their_order(service: Service):
    """The output is the list of outputs; a later action reads it like any other."""
    name = uuid4().hex
    items = [{"name": f"{name}-{number}", "delay": 100 - 25 * number} for number in range(4)]
    state = run(
        action("list", actionDefinitionId="post", inputs={"name": "list", "body.items": "${inputs.items}"}),
        action(
            "each",
            ["list"],
            forEach="${list.output.body.items}",
            inputs={"name": "${item.name}", "query.at": "${itemIndex}", "query.delay_ms": "${item.delay}"},
        ),
        action(
            "last", ["each"], actionDefinitionId="post", inputs={"name": "x", "body.third": "${each.output[2].name}"}
        ),
        inputs={"items": items},
    )
    each = state["actionStates"]["each"]
    assert state["status"] == "completed"
    assert [output["name"] for output in each["result"]["output"]] == [item["name"] for item in items]
    assert [output["query"]["at"] for output in each["result"]["output"]] == ["0", "1", "2", "3"]
    assert [(item["index"], item["status"], item["attempts"]) for item in each["elements"]] == [
        (number, "completed", 1) for number in range(4)
    ]
    assert state["actionStates"]["last"]["result"]["output"]["body"] == {"third": f"{name}-2"}
    assert len(service.requests_to(f"/echo/{name}")) == 4


@pytest.mark.parametrize(
    ("items", "status", "output", "message"),
    [
        ([], "completed", [], ""),
        ("text", "failed", None, "needs a list"),
        (None, "failed", None, "needs a list"),
        ([1, 2, 3], "failed", None, "3 elements; at most 2"),
    ],
)
def test_lists_that_are_empty_too_long_or_none(items, status, output, message):
    """An empty list completes with []; what is no list, or too long a one, fails the action."""
    # Of a plan's own input it is known before; of an answer it is not.
    first = action("first", actionDefinitionId="post", inputs={"name": "x", "body": {"items": items}})
    each = action("each", ["first"], forEach="${first.output.body.items}", forEachLimit=2, inputs={"name": "x"})
    state = run(first, each, inputs={})["actionStates"]["each"]
    assert state["status"] == status
    assert state["result"].get("output") == output
    assert message in state["result"].get("error", {}).get("message", "")


def failing_at_one(**error_handling):
    """Return an action whose second element of three fails."""
    return action(
        "each",
        forEach="${inputs.codes}",
        actionDefinitionId="status",
        inputs={"code": "${item}", "name": "x"},
        errorHandling=error_handling,
    )


CODES = {"codes": [201, 422, 202]}


def test_a_failed_element_fails_the_action():
    """The state says which one, has the others' outputs, and the plan stops."""
    state = run(failing_at_one(), action("after", ["each"]), inputs=CODES)
    each = state["actionStates"]["each"]
    assert (state["status"], each["status"]) == ("failed", "failed")
    assert "1 of 3 elements failed, the first at index 1" in each["result"]["error"]["message"]
    assert [output and output["error"] for output in each["result"]["partialOutput"]] == [
        "as asked for: 201",
        None,
        "as asked for: 202",
    ]
    assert [element["status"] for element in each["elements"]] == ["completed", "failed", "completed"]
    assert each["elements"][1]["error"]["statusCode"] == 422
    assert state["actionStates"]["after"]["status"] == "skipped"


def test_a_fallback_is_for_the_element():
    """Its place in the output has the fallback value."""
    state = run(failing_at_one(fallbackValue="instead"), inputs=CODES)
    assert state["status"] == "completed"
    assert state["actionStates"]["each"]["result"]["output"][1] == "instead"


def test_an_alternative_is_for_the_whole_list():
    """It runs once the elements have ended, and its output is the action's."""
    state = run(failing_at_one(alternativeActionId="plan_b"), action("plan_b"), action("last", ["each"]), inputs=CODES)
    each = state["actionStates"]["each"]
    assert (state["status"], each["status"]) == ("completed", "completed")
    assert each["result"]["alternativeActionId"] == "plan_b"
    assert state["actionStates"]["plan_b"]["status"] == "completed"
    assert state["actionStates"]["last"]["status"] == "completed"


def test_continue_on_failure_goes_on_after_the_list():
    """What does not depend on it runs."""
    state = run(failing_at_one(continueOnFailure=True), action("beside"), action("later", ["beside"]), inputs=CODES)
    assert state["status"] == "completed"
    assert state["actionStates"]["later"]["status"] == "completed"


def test_a_condition_is_asked_once_for_the_list():
    """Where it does not hold, no element runs."""
    each = action("each", ["a"], forEach="${inputs.items}", condition={"if": "${a.status} == 'failed'"})
    state = run(action("a"), {**each, "inputs": {"name": "x"}}, inputs={"items": [1, 2]})
    assert state["actionStates"]["each"]["status"] == "skipped"


def test_the_state_shows_each_element_while_it_runs():
    """Those that are done and those that are not."""
    each = action("each", forEach="${inputs.delays}", inputs={"name": "x", "query.delay_ms": "${item}"})
    handle = execute_plan.delay({**plan(each), "inputs": {"delays": [0, 1500]}})

    def half_done():
        elements = get_execution_state(handle.id).action_states["each"].elements or []
        return [element.status for element in elements] == ["completed", "running"]

    wait_until(half_done, "one element is done and one runs")
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"
    assert get_execution_state(handle.id).status == "completed"


def test_a_thousand_elements():
    """The default limit is reached, not passed."""
    each = action("each", forEach="${inputs.items}", inputs={"name": "${itemIndex}"})
    state = run(each, inputs={"items": list(range(1_000))})
    assert [output["name"] for output in state["actionStates"]["each"]["result"]["output"]] == [
        str(number) for number in range(1_000)
    ]


def test_an_execution_has_a_budget_of_retries(service: Service):
    """Of 100 elements that a server refuses 19 times each, all fail, and not after 1,900 requests."""
    name = uuid4().hex
    inputs = {"failures": 99, "name": f"{name}-${{item}}"}
    each = action("each", actionDefinitionId="stubborn", inputs=inputs, forEach="${inputs.numbers}")
    document = {**plan(each), "inputs": {"numbers": list(range(100))}}
    state = execute_plan.delay(document).get(timeout=60)
    assert state["status"] == "failed"
    assert "used up its retries" in state["error"]["suggestion"]
    # A hundred first attempts, and 100 + 2 x 100 retries; some elements begin after others have used them up.
    assert 300 < len(service.requests_to(f"/flaky/99/{name}")) <= 400
