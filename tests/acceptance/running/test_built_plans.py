"""The plan-building helpers, on the real engine."""

from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.plans import action, statuses

from workflow_state import (
    create_batch_processing,
    create_conditional_branch,
    create_fan_out_fan_in_pattern,
    create_retry_with_fallback,
    create_sequential_pipeline,
    execute_plan,
)

pytestmark = pytest.mark.usefixtures("worker")


def run(actions):
    """Run a plan of these actions to the end and return the final state."""
    document = {"name": "built", "actions": [item.to_json_data() for item in actions]}
    return execute_plan.delay(document).get(timeout=30)


def test_a_pipeline_runs_one_after_the_other(service: Service):
    """In the order of the list."""
    name = uuid4().hex
    state = run(create_sequential_pipeline([action(key, inputs={"name": f"{name}-{key}"}) for key in "abc"]))
    assert set(statuses(state).values()) == {"completed"}
    paths = [entry["path"] for entry in service.requests_to(f"/echo/{name}")]
    assert paths == [f"/echo/{name}-{key}" for key in "abc"]


def test_a_fan_out_meets_in_the_fan_in(service: Service):
    """The source is first and the fan-in last."""
    name = uuid4().hex

    def named(key):
        return action(key, inputs={"name": f"{name}-{key}"})

    state = run(create_fan_out_fan_in_pattern([named("b"), named("c")], named("d"), named("a")))
    assert state["status"] == "completed"
    paths = [entry["path"][-1] for entry in service.requests_to(f"/echo/{name}")]
    assert (paths[0], paths[-1], sorted(paths)) == ("a", "d", ["a", "b", "c", "d"])


@pytest.mark.parametrize(("kind", "chosen"), [("premium", "gift"), ("or'di\"nary ${x}", "card"), ("other", None)])
def test_the_branch_with_the_value_runs(kind, chosen):
    """Each branch compares with its own value."""
    # `$${` in a plan is a literal `${`.
    check = action("check", actionDefinitionId="post", inputs={"name": "x", "body.kind": kind.replace("${", "$${")})
    branches = [
        {"value": "premium", "action_ids": ["gift"]},
        {"value": "or'di\"nary ${x}", "action_ids": ["card"]},
    ]
    state = run(
        create_conditional_branch(check, "${check.output.body.kind}", branches, [action("gift"), action("card")])
    )
    assert state["status"] == "completed"
    ran = [name for name in ("gift", "card") if statuses(state)[name] == "completed"]
    assert ran == ([chosen] if chosen else [])


@pytest.mark.parametrize(("code", "fallback"), [(201, "skipped"), (422, "completed")])
def test_the_fallback_runs_where_the_primary_fails(code, fallback):
    """And only there."""
    primary = action("primary", actionDefinitionId="status", inputs={"code": code, "name": "x"})
    state = run(create_retry_with_fallback(primary, action("fallback")))
    assert state["status"] == "completed"
    assert statuses(state) == {"primary": "completed", "fallback": fallback}


def test_a_batch_waits_for_the_one_before(service: Service):
    """Five items, two at a time."""
    name = uuid4().hex
    items = [{"name": f"{name}-{number}"} for number in range(5)]
    state = run(create_batch_processing(items, action("item"), 2))
    assert statuses(state) == {f"item_{number}": "completed" for number in range(5)}
    arrived = [int(entry["path"][-1]) for entry in service.requests_to(f"/echo/{name}")]
    assert [set(arrived[:2]), set(arrived[2:4]), set(arrived[4:])] == [{0, 1}, {2, 3}, {4}]
