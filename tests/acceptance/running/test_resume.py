"""Running a failed or cancelled execution again."""

from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.plans import action, plan

from workflow_state import ExecutionConflictError, ExecutionNotFoundError, execute_plan, resume_execution

pytestmark = pytest.mark.usefixtures("worker")

TIMEOUT_S = 30


def failed_at_c(name):
    """Return a plan of a → b → c → d whose c fails, with a name for its requests."""
    return plan(
        action("a", inputs={"name": f"{name}-a"}),
        action("b", ["a"], inputs={"name": "b-${a.output.name}"}),
        action("c", ["b"], actionDefinitionId="status", inputs={"code": 422, "name": f"{name}-c"}),
        action("d", ["b", "c"], inputs={"name": f"{name}-d"}),
    )


def test_a_repaired_plan_keeps_what_is_the_same(service: Service):
    """Completed actions are not sent again, the report says why, and the plan completes."""
    name = uuid4().hex
    first = execute_plan.delay(failed_at_c(name))
    assert first.get(timeout=TIMEOUT_S)["status"] == "failed"

    repaired = failed_at_c(name)
    repaired["actions"][2] = action("c", ["b"], inputs={"name": f"{name}-c"})
    handle = resume_execution(first.id, repaired)
    state = handle.get(timeout=TIMEOUT_S)
    assert (state["id"] == first.id, state["status"]) == (False, "completed")
    assert state["resumed"]["executionId"] == first.id
    decided = {key: (item["kept"], item["reason"]) for key, item in state["resumed"]["actions"].items()}
    assert decided == {
        "a": (True, "it completed, with the same inputs"),
        "b": (True, "it completed, with the same inputs"),
        "c": (False, "it was failed"),
        "d": (False, "it was skipped"),
    }
    for path in (f"{name}-a", f"b-{name}-a", f"{name}-c", f"{name}-d"):
        assert len(service.requests_to(f"/echo/{path}")) == 1


def test_what_reads_a_changed_action_runs_again(service: Service):
    """Its inputs can't be known before."""
    name = uuid4().hex
    first = execute_plan.delay(failed_at_c(name))
    first.get(timeout=TIMEOUT_S)
    changed = failed_at_c(name)
    changed["actions"][0]["inputs"] = {"name": f"{name}-other"}
    state = resume_execution(first.id, changed).get(timeout=TIMEOUT_S)
    reasons = {key: item["reason"] for key, item in state["resumed"]["actions"].items()}
    assert reasons["a"] == "its inputs are different"
    assert reasons["b"] == "it reads a, which runs again"
    assert len(service.requests_to(f"/echo/{name}-other")) == 1
    assert len(service.requests_to(f"/echo/b-{name}-other")) == 1


def test_only_what_failed_or_was_cancelled_can_be_resumed():
    """And only what there is."""
    done = execute_plan.delay(plan(a=[]))
    done.get(timeout=TIMEOUT_S)
    with pytest.raises(ExecutionConflictError, match="completed"):
        resume_execution(done.id)
    with pytest.raises(ExecutionNotFoundError):
        resume_execution("no-such-id")


def test_resuming_unchanged_tries_the_failed_action_again(service: Service):
    """The same plan: what had completed is kept, the failed request is sent once more."""
    name = uuid4().hex
    first = execute_plan.delay(failed_at_c(name))
    first.get(timeout=TIMEOUT_S)
    state = resume_execution(first.id).get(timeout=TIMEOUT_S)
    assert state["status"] == "failed"
    assert len(service.requests_to(f"/echo/{name}-a")) == 1
    assert len(service.requests_to(f"/status/422/{name}-c")) == 2


def over_a_list(name, codes, gate=None):
    """Return a plan that calls /status for each of the codes, after an action of its own."""
    items = [{"code": code, "name": f"{name}-{number}"} for number, code in enumerate(codes)]
    each = action(
        "each",
        ["gate"],
        actionDefinitionId="status",
        forEach="${inputs.items}",
        inputs={"code": "${item.code}", "name": "${item.name}"},
    )
    return {**plan(gate or action("gate"), each), "inputs": {"items": items}}


def test_a_list_that_completed_is_not_sent_again(service: Service):
    """None of its elements is; the list is handed over as it was."""
    name = uuid4().hex
    document = over_a_list(name, [200, 201])
    document["actions"].append(
        action("last", ["each"], actionDefinitionId="status", inputs={"code": 422, "name": "last"})
    )
    first = execute_plan.delay(document)
    before = first.get(timeout=TIMEOUT_S)["actionStates"]["each"]
    state = resume_execution(first.id).get(timeout=TIMEOUT_S)
    assert state["resumed"]["actions"]["each"] == {"kept": True, "reason": "it completed, with the same inputs"}
    assert state["actionStates"]["each"] == before
    assert [len(service.requests_to(f"/status/{200 + n}/{name}-{n}")) for n in range(2)] == [1, 1]


def test_of_a_list_that_failed_only_the_failed_element_is_sent_again(service: Service):
    """Also where the execution was resumed between, and never came to the list."""
    name = uuid4().hex
    codes = [200, 422, 201]
    document = over_a_list(name, codes)
    first = execute_plan.delay(document)
    assert first.get(timeout=TIMEOUT_S)["status"] == "failed"

    stopped = action("gate", actionDefinitionId="status", inputs={"code": 422, "name": "gate"})
    second = resume_execution(first.id, over_a_list(name, codes, stopped))
    assert second.get(timeout=TIMEOUT_S)["actionStates"]["each"]["status"] == "skipped"

    state = resume_execution(second.id, document).get(timeout=TIMEOUT_S)
    each = state["resumed"]["actions"]["each"]
    assert (each["kept"], each["reason"]) == (False, "2 of 3 elements are kept")
    assert [(item["index"], item["kept"]) for item in each["elements"]] == [(0, True), (1, False), (2, True)]
    arrived = [len(service.requests_to(f"/status/{code}/{name}-{number}")) for number, code in enumerate(codes)]
    assert arrived == [1, 2, 1]
    assert [item["status"] for item in state["actionStates"]["each"]["elements"]] == [
        "completed",
        "failed",
        "completed",
    ]
