"""What makes up for a failure: continueOnFailure, fallback values and alternatives, on the real engine."""

import json
from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.plans import action, plan, statuses
from helpers.waiting import wait_until

from workflow_state import execute_plan
from workflow_state.actions.definitions import catalog
from workflow_state.actions.definitions.catalog import load_action_definition

pytestmark = pytest.mark.usefixtures("worker")

TIMEOUT_S = 30

# The primary always fails. A stand-in that `fails` has no fallback of its own, one that `has fallback` fails and has.
# Outputs are told by their name: `own` is the primary's fallback, `alt` the alternative's answer, `alt-own` the
# alternative's fallback. What depends on the primary: `plain` reads its output; `tolerant` continues on failure;
# `reader` runs only where the primary's status is failed.
TABLE = """
continue fallback alternative  | primary   output  stand_in  plain     tolerant  reader    | plan
no       no       none         | failed    -       -         skipped   skipped   skipped   | failed
no       no       ok           | completed alt     completed completed completed skipped   | completed
no       no       fails        | failed    -       failed    skipped   skipped   skipped   | failed
no       no       has-fallback | completed alt-own completed completed completed skipped   | completed
no       yes      none         | completed own     -         completed completed skipped   | completed
no       yes      ok           | completed alt     completed completed completed skipped   | completed
no       yes      fails        | completed own     failed    completed completed skipped   | completed
no       yes      has-fallback | completed alt-own completed completed completed skipped   | completed
yes      no       none         | failed    -       -         skipped   completed completed | completed
yes      no       ok           | completed alt     completed completed completed skipped   | completed
yes      no       fails        | failed    -       failed    skipped   completed completed | completed
yes      no       has-fallback | completed alt-own completed completed completed skipped   | completed
yes      yes      none         | completed own     -         completed completed skipped   | completed
yes      yes      ok           | completed alt     completed completed completed skipped   | completed
yes      yes      fails        | completed own     failed    completed completed skipped   | completed
yes      yes      has-fallback | completed alt-own completed completed completed skipped   | completed
"""
HEADER, *ROWS = (tuple(line.replace("|", "").split()) for line in TABLE.strip().splitlines())


def run(document):
    """Run a plan to its end and return the final state."""
    return execute_plan.delay(document).get(timeout=TIMEOUT_S)


def failing(action_id, dependencies=None, *, name=None, code=422, **fields):
    """Return an action whose request is answered by that status."""
    inputs = {"code": code, "name": name or action_id}
    return action(action_id, dependencies, actionDefinitionId="status", inputs=inputs, **fields)


def plan_of(row):
    """Return the plan that a row of the table is about."""
    case = dict(zip(HEADER, row, strict=True))
    handling = {"continueOnFailure": case["continue"] == "yes"}
    if case["fallback"] == "yes":
        handling["fallbackValue"] = {"name": "own"}
    stand_ins = {
        "none": [],
        "ok": [action("stand_in", inputs={"name": "alt"})],
        "fails": [failing("stand_in")],
        "has-fallback": [failing("stand_in", errorHandling={"fallbackValue": {"name": "alt-own"}})],
    }[case["alternative"]]
    if stand_ins:
        handling["alternativeActionId"] = "stand_in"
    return plan(
        failing("primary", errorHandling=handling),
        *stand_ins,
        action("plain", ["primary"], inputs={"name": "plain", "query.seen": "${primary.output.name}"}),
        action("tolerant", ["primary"], errorHandling={"continueOnFailure": True}),
        action("reader", ["primary"], condition={"if": "${primary.status} == 'failed'"}),
    )


@pytest.fixture(scope="module")
def final_states(worker):
    """Run the plans of all rows at once, and return their final states."""
    handles = {row: execute_plan.delay(plan_of(row)) for row in ROWS}
    return {row: handle.get(timeout=TIMEOUT_S) for row, handle in handles.items()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:3]))
def test_a_failure_is_made_up_for(row, final_states):
    """The alternative comes first, then the fallback value; what is still failed stops the plan or its dependents."""
    state = final_states[row]
    actual = dict(zip(HEADER[:3], row, strict=False)) | dict.fromkeys(HEADER[3:], "-")
    actual |= statuses(state) | {"plan": state["status"]}
    if actual["primary"] == "completed":
        actual["output"] = state["actionStates"]["primary"]["result"]["output"]["name"]
    assert actual == dict(zip(HEADER, row, strict=True))
    if actual["plain"] == "completed":
        seen = state["actionStates"]["plain"]["result"]["output"]["query"]["seen"]
        assert seen == actual["output"]
    elif actual["plan"] == "completed":
        assert state["actionStates"]["plain"]["result"]["blockedBy"] == "primary"


def test_null_and_false_are_fallback_values():
    """A fallback value is one because it is given, whatever it is."""
    document = plan(
        failing("nothing", errorHandling={"fallbackValue": None}),
        failing("no", errorHandling={"fallbackValue": False}),
    )
    state = run(document)
    assert state["status"] == "completed"
    assert state["actionStates"]["nothing"]["result"] == {"status": "success", "output": None, "usedFallback": True}
    assert state["actionStates"]["no"]["result"] == {"status": "success", "output": False, "usedFallback": True}


def test_a_failed_primary_shows_who_stood_in_for_it_and_its_own_requests():
    """Its result is the alternative's output and names it; the trace and attempts are its own, retries included."""
    document = plan(failing("primary", code=503, errorHandling={"alternativeActionId": "stand_in"}), stand_in=[])
    state = run(document)
    primary, stand_in = state["actionStates"]["primary"], state["actionStates"]["stand_in"]
    assert primary["result"] == {
        "status": "success",
        "output": stand_in["result"]["output"],
        "alternativeActionId": "stand_in",
    }
    assert [entry["response"]["status"] for entry in primary["httpTrace"]] == [503, 503]
    assert primary["attempts"] == 2
    assert [entry["response"]["status"] for entry in stand_in["httpTrace"]] == [200]
    assert "alternativeActionId" not in stand_in["result"]


def test_a_primary_whose_alternative_fails_too_shows_its_own_fallback_and_requests():
    """It used its fallback, no alternative is named, and its trace is that of its own request."""
    handling = {"alternativeActionId": "stand_in", "fallbackValue": {"name": "own"}}
    state = run(plan(failing("primary", errorHandling=handling), failing("stand_in", code=404)))
    primary, stand_in = state["actionStates"]["primary"], state["actionStates"]["stand_in"]
    assert primary["result"] == {"status": "success", "output": {"name": "own"}, "usedFallback": True}
    assert [entry["response"]["status"] for entry in primary["httpTrace"]] == [422]
    assert [entry["response"]["status"] for entry in stand_in["httpTrace"]] == [404]


def test_a_primary_whose_alternative_fails_too_fails_with_its_own_error():
    """The plan's error is the primary's as well: the alternative only stood in for it."""
    state = run(
        plan(failing("primary", errorHandling={"alternativeActionId": "stand_in"}), failing("stand_in", code=404))
    )
    assert state["status"] == "failed"
    assert state["actionStates"]["primary"]["result"]["error"]["statusCode"] == 422
    assert state["actionStates"]["stand_in"]["result"]["error"]["statusCode"] == 404
    assert state["error"]["statusCode"] == 422
    assert state["error"]["context"]["actionId"] == "primary"


def test_an_alternative_may_have_an_alternative():
    """The output of the last one goes up the chain; each names the next."""
    document = plan(
        failing("first", errorHandling={"alternativeActionId": "second"}),
        failing("second", errorHandling={"alternativeActionId": "third"}),
        action("third"),
        action("after", ["first"], inputs={"name": "${first.output.name}"}),
    )
    state = run(document)
    assert state["status"] == "completed"
    assert set(statuses(state).values()) == {"completed"}
    results = {name: action_state["result"] for name, action_state in state["actionStates"].items()}
    assert [results[name]["output"]["name"] for name in ("first", "second", "third", "after")] == ["third"] * 4
    assert results["first"]["alternativeActionId"] == "second"
    assert results["second"]["alternativeActionId"] == "third"


def test_in_a_chain_that_fails_each_fallback_makes_up_for_its_own_action():
    """The second's fallback is an end that completes it, and so the first; the third stays failed."""
    document = plan(
        failing("first", errorHandling={"alternativeActionId": "second", "fallbackValue": {"name": "of first"}}),
        failing("second", errorHandling={"alternativeActionId": "third", "fallbackValue": {"name": "of second"}}),
        failing("third"),
    )
    state = run(document)
    assert statuses(state) == {"first": "completed", "second": "completed", "third": "failed"}
    assert state["actionStates"]["first"]["result"]["output"] == {"name": "of second"}
    assert state["status"] == "completed"


def test_alternatives_that_are_not_needed_are_skipped_and_never_sent(service: Service):
    """Neither the primary that completes nor the alternative that does needs the next one."""
    name = uuid4().hex
    document = plan(
        action("good", errorHandling={"alternativeActionId": "idle"}),
        action("idle", inputs={"name": name}),
        failing("bad", errorHandling={"alternativeActionId": "second"}),
        action("second", errorHandling={"alternativeActionId": "third"}),
        action("third", inputs={"name": name}),
    )
    state = run(document)
    assert state["status"] == "completed"
    assert statuses(state) == {
        "good": "completed",
        "idle": "skipped",
        "bad": "completed",
        "second": "completed",
        "third": "skipped",
    }
    assert service.requests_to(f"/echo/{name}") == []


def test_what_depends_on_an_alternative_that_was_not_needed_runs_and_sees_null():
    """It is skipped, and that is no failure."""
    document = plan(
        action("primary", errorHandling={"alternativeActionId": "stand_in"}),
        action("stand_in"),
        action(
            "after",
            ["stand_in"],
            actionDefinitionId="post",
            inputs={"name": "x", "body.seen": "${stand_in.output.name}"},
        ),
    )
    state = run(document)
    assert statuses(state) == {"primary": "completed", "stand_in": "skipped", "after": "completed"}
    assert state["actionStates"]["after"]["result"]["output"]["body"] == {"seen": None}


def test_a_shared_alternative_runs_once(service: Service):
    """Primaries of one level and of a later one all have its one output."""
    name = uuid4().hex
    handling = {"alternativeActionId": "shared"}
    document = plan(
        *(failing(f"primary{number}", errorHandling=handling) for number in range(4)),
        action("between", ["primary0"]),
        failing("late", ["between"], errorHandling=handling),
        action("shared", inputs={"name": name, "query.delay_ms": 50}),
    )
    state = run(document)
    assert set(statuses(state).values()) == {"completed"}
    assert len(service.requests_to(f"/echo/{name}")) == 1
    primaries = [f"primary{number}" for number in range(4)] + ["late"]
    results = [state["actionStates"][primary]["result"] for primary in primaries]
    assert [(result["output"]["name"], result["alternativeActionId"]) for result in results] == [(name, "shared")] * 5


def test_a_shared_alternative_that_fails_runs_once(service: Service):
    """Each primary then bears its own failure: one by its fallback, one by going on."""
    name = uuid4().hex
    document = plan(
        failing("covered", errorHandling={"alternativeActionId": "shared", "fallbackValue": 1}),
        failing("tolerated", errorHandling={"alternativeActionId": "shared", "continueOnFailure": True}),
        failing("shared", name=name),
    )
    state = run(document)
    assert statuses(state) == {"covered": "completed", "tolerated": "failed", "shared": "failed"}
    assert state["status"] == "completed"
    assert len(service.requests_to(f"/status/422/{name}")) == 1


def test_an_alternative_may_depend_on_its_primary_and_read_its_status():
    """It does not wait for the one in whose place it runs, and sees that it failed."""
    document = plan(
        failing("primary", errorHandling={"alternativeActionId": "stand_in"}),
        action("stand_in", ["primary"], inputs={"name": "because-${primary.status}"}),
    )
    state = run(document)
    assert statuses(state) == {"primary": "completed", "stand_in": "completed"}
    assert state["actionStates"]["primary"]["result"]["output"]["name"] == "because-failed"


def test_an_alternative_that_its_own_condition_skips_makes_up_for_nothing():
    """The primary has its fallback, or fails with its own error."""
    unwilling = {"if": "${primary.status} == 'completed'"}
    for fallback, status in [({"fallbackValue": 7}, "completed"), ({}, "failed")]:
        document = plan(
            failing("primary", errorHandling={"alternativeActionId": "stand_in", **fallback}),
            action("stand_in", ["primary"], condition=unwilling),
        )
        state = run(document)
        assert statuses(state) == {"primary": status, "stand_in": "skipped"}
        assert state["status"] == status
    assert state["error"]["statusCode"] == 422


def test_an_alternative_takes_over_from_an_action_that_was_never_sent():
    """A condition that fails it, or a reference to nothing, is a failure like any other."""
    document = plan(
        action("start"),
        action(
            "refused",
            ["start"],
            condition={"if": "${start.output.name} == 'other'", "else": "fail"},
            errorHandling={"alternativeActionId": "instead"},
        ),
        action("unresolved", ["start"], inputs={"name": "${start.output.nothing}"}, errorHandling={"fallbackValue": 0}),
        action("instead", ["start"], inputs={"name": "in-place-of-${start.output.name}"}),
    )
    state = run(document)
    assert state["status"] == "completed"
    assert set(statuses(state).values()) == {"completed"}
    assert state["actionStates"]["refused"]["result"]["output"]["name"] == "in-place-of-start"
    assert (state["actionStates"]["refused"]["attempts"], state["actionStates"]["refused"]["httpTrace"]) == (0, [])
    assert state["actionStates"]["unresolved"]["result"]["output"] == 0


def test_alternatives_still_run_in_the_level_in_which_the_plan_stops():
    """The rest of the level finishes, with all that belongs to it; the next level does not begin."""
    document = plan(
        failing("culprit"),
        failing("primary", code=503, errorHandling={"alternativeActionId": "stand_in"}),
        stand_in=[],
        after=["primary"],
    )
    state = run(document)
    assert statuses(state) == {
        "culprit": "failed",
        "primary": "completed",
        "stand_in": "completed",
        "after": "skipped",
    }
    assert state["error"]["context"]["actionId"] == "culprit"


def test_the_log_tells_what_took_the_place_of_a_failed_action(worker):
    """Of an action, of an element, of an alternative, and how many there were at the end."""
    elements = failing("each", forEach="${inputs.codes}", errorHandling={"fallbackValue": 0})
    elements["inputs"]["code"] = "${item}"
    document = plan(
        failing("alone", errorHandling={"fallbackValue": 1}),
        failing("primary", errorHandling={"alternativeActionId": "stand_in"}),
        elements,
        stand_in=[],
    )
    state = run({**document, "inputs": {"codes": [200, 422]}})

    def lines():
        told = [json.loads(line) for line in worker.read_text().splitlines() if line.startswith("{")]
        mine = [line for line in told if line["execution_id"] == state["id"]]
        return mine if any(line.get("message") == "execution ended" for line in mine) else None

    told = wait_until(lines, "the end is logged")
    assert {line.get("plan_id") for line in told} == {state["planId"]}
    replaced = {line["action_id"]: line for line in told if "by its" in line.get("message", "")}
    assert {name: line["message"] for name, line in replaced.items()} == {
        "alone": "action completed by its fallback value",
        "each[1]": "action completed by its fallback value",
        "primary": "action completed by its alternative",
    }
    assert replaced["primary"]["alternative_action_id"] == "stand_in"
    assert next(line["by_fallback"] for line in told if line.get("message") == "execution ended") == 2


@pytest.mark.parametrize(
    "handling", [{"fallbackValue": 1}, {"alternativeActionId": "stand_in"}], ids=["value", "other"]
)
@pytest.mark.parametrize("for_each", [False, True], ids=["once", "list"])
def test_nothing_hides_a_definition_that_the_worker_does_not_have(monkeypatch, handling, for_each):
    """It is a mistake in the plan or the worker's set-up. A fallback is for a server that fails."""
    # Known where plans are submitted, in this process only.
    known = load_action_definition("echo").model_copy(update={"id": "not.at.the.worker"})
    monkeypatch.setitem(catalog._registered, known.id, known)  # noqa: SLF001 - there is no verb to forget one
    fields = {"forEach": "${inputs.names}", "inputs": {"name": "${item}"}} if for_each else {"inputs": {"name": "a"}}
    lacking = action("lacking", actionDefinitionId=known.id, errorHandling=handling, **fields)
    others = {"stand_in": []} if "alternativeActionId" in handling else {}
    state = run({**plan(lacking, **others), "inputs": {"names": ["a", "b"]}})
    error = state["actionStates"]["lacking"]["result"]["error"]
    assert (state["status"], error["code"]) == ("failed", "definition_unusable")
    assert "nothing was sent: there is no action definition 'not.at.the.worker'" in error["message"]
    assert [state["actionStates"][name]["status"] for name in others] == ["skipped"] * len(others)


def test_an_alternative_without_a_definition_is_not_hidden_by_a_fallback_value(monkeypatch):
    """The action fails as it did, and says what is wrong with its alternative."""
    known = load_action_definition("echo").model_copy(update={"id": "not.at.the.worker"})
    monkeypatch.setitem(catalog._registered, known.id, known)  # noqa: SLF001 - likewise
    handling = {"alternativeActionId": "stand_in", "fallbackValue": 1}
    stand_in = action("stand_in", actionDefinitionId=known.id, inputs={"name": "a"})
    state = run(plan(failing("primary", errorHandling=handling), stand_in))
    error = state["actionStates"]["primary"]["result"]["error"]
    assert (state["status"], error["code"]) == ("failed", "http_422")
    assert "its alternative stand_in could not run: nothing was sent: there is no action" in error["suggestion"]
