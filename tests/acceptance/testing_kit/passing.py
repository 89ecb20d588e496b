"""What teams do with the test kit, beside the examples; test_testing_kit.py runs it in a project of its own."""

import pytest

from workflow_state import ExecutionPlan, PlanValidationError, execute_plan, read_output, resume_execution
from workflow_state.errors import ActionDefinitionError
from workflow_state.testing import assert_completed, assert_failed, assert_skipped, output_of

GET = {"id": "get", "endpoint": {"url": "https://api.example/things/{id}"}}
ENV = {**GET, "authentication": {"type": "bearer", "token": "${env.CRM_TOKEN}"}}
LEFT = []


def plan(**fields):
    return {"name": "p", "actions": [{"id": "a", "actionDefinitionId": "get", "inputs": {"id": "1"}, **fields}]}


def test_the_machines_own_secret_is_not_used(workflow):
    workflow.definitions(ENV)
    workflow.answer("get", {})
    assert_completed(workflow.run(plan()))
    assert workflow.requests()[0].headers["authorization"] == "Bearer dummy-CRM_TOKEN"


def test_a_secret_can_be_given(workflow):
    workflow.definitions(ENV, environment={"CRM_TOKEN": "mine"})
    workflow.answer("get", {})
    workflow.run(plan())
    assert workflow.requests()[0].headers["authorization"] == "Bearer mine"
    assert workflow.requests()[0].headers["host"] == "api.example"


def test_one_id_may_be_another_definition_in_the_next_test(workflow):
    workflow.definitions({"id": "get", "endpoint": {"url": "https://other.example/{id}", "method": "DELETE"}})
    workflow.answer("get", status=204)
    assert_completed(workflow.run(ExecutionPlan.model_validate(plan())))
    assert [(item.method, item.url) for item in workflow.requests()] == [("DELETE", "https://other.example/1")]


def test_definitions_may_be_loaded_in_parts(workflow):
    workflow.definitions(GET)
    workflow.answer("get", {"is": "old"})
    workflow.definitions({**GET, "id": "more"})
    workflow.answer("more", {"is": "new"})
    state = workflow.run(
        {
            "name": "p",
            "actions": [
                {"id": "a", "actionDefinitionId": "get", "inputs": {"id": "1"}},
                {"id": "b", "actionDefinitionId": "more", "inputs": {"id": "1"}},
            ],
        }
    )
    assert (output_of(state, "a"), output_of(state, "b")) == ({"is": "old"}, {"is": "new"})


def test_wrong_definitions_and_plans_are_told_as_in_production(workflow, tmp_path):
    (tmp_path / "wrong.yaml").write_text("id: x\nendpoint: {url: nowhere}")
    with pytest.raises(ActionDefinitionError, match=r"wrong\.yaml:2"):
        workflow.definitions(tmp_path)
    with pytest.raises(ActionDefinitionError, match="methud"):
        workflow.definitions({"id": "x", "endpoint": {"url": "https://x.example/", "methud": "GET"}})
    workflow.definitions(GET)
    with pytest.raises(PlanValidationError, match="unknown_action_definition"):
        workflow.run({"name": "p", "actions": [{"id": "a", "actionDefinitionId": "got"}]})


def test_redirects_are_followed_and_lead_to_no_other_host(workflow):
    workflow.definitions({"id": "get", "endpoint": {"url": "https://api.example/{id}", "followRedirects": True}})
    workflow.answer("get", status=302, headers={"Location": "/moved"}, times=1)
    workflow.answer("get", {"is": "there"})
    assert output_of(workflow.run(plan()), "a") == {"is": "there"}
    assert [item.url for item in workflow.requests("get")] == ["https://api.example/1", "https://api.example/moved"]
    workflow.answer("get", status=302, headers={"Location": "https://192.0.2.1/"})
    assert_failed(workflow.run(plan()), "a", code="egress_refused")


def test_a_binary_output_is_stored_and_can_be_read(workflow):
    workflow.definitions(GET)
    workflow.answer("get", content=bytes(range(256)), headers={"Content-Type": "image/png"})
    state = workflow.run(plan())
    assert read_output(state.id, "a") == bytes(range(256))


def test_code_that_submits_by_itself_is_tested_too(workflow):
    workflow.definitions(GET)
    workflow.answer("get", status=404)
    failed = workflow.wait(execute_plan.delay(plan()).id)
    assert_failed(failed, "a")
    workflow.answer("get", {"ok": True})
    assert_completed(workflow.wait(resume_execution(failed.id).id))


def test_answers_by_a_function(workflow):
    workflow.definitions({"id": "post", "endpoint": {"url": "https://api.example/", "method": "POST"}})
    workflow.answer("post", lambda request: {"twice": 2 * request.json["n"]}, status=201)
    state = workflow.run(
        {
            "name": "p",
            "inputs": {"all": [1, 2, 3]},
            "actions": [
                {"id": "a", "actionDefinitionId": "post", "forEach": "${inputs.all}", "inputs": {"body.n": "${item}"}}
            ],
        }
    )
    assert output_of(state, "a") == [{"twice": 2}, {"twice": 4}, {"twice": 6}]


def test_an_alternative_and_its_standby(workflow):
    workflow.definitions(GET, {**GET, "id": "spare"})
    workflow.answer("get", status=500)
    workflow.answer("spare", {"is": "spare"})
    both = plan(errorHandling={"alternativeActionId": "b"})
    both["actions"].append({"id": "b", "actionDefinitionId": "spare", "inputs": {"id": "1"}})
    assert output_of(assert_completed(workflow.run(both)), "a") == {"is": "spare"}
    workflow.answer("get", {})
    assert assert_skipped(workflow.run(both), "b")


def test_a_pause_that_a_server_asks_for_is_of_its_test_only(workflow):
    workflow.definitions(GET)
    workflow.answer("get", status=503, headers={"Retry-After": "200"})
    workflow.start(plan())
    workflow.wait_for_request("get")


def test_after_the_pause(workflow):
    workflow.definitions(GET)
    workflow.answer("get", {})
    workflow.run(plan(), timeout_s=10)


def test_what_is_left_running_is_cancelled(workflow):
    workflow.definitions(GET)
    workflow.answer("get", {}, delay_ms=60_000)
    LEFT.append(workflow.start(plan()))
    workflow.wait_for_request("get")


def test_and_it_is_in_no_journal(workflow):
    workflow.definitions(GET)
    workflow.answer("get", {})
    left = workflow.wait(LEFT[0])
    assert (left.status, workflow.requests()) == ("cancelled", [])


def test_a_question_may_be_left_until_its_time_is_over(workflow):
    workflow.definitions(GET)
    asking = {"required": True, "title": "t", "message": "m", "timeout": 100}
    execution = workflow.start(plan(userConfirmation=asking))
    workflow.wait_for_confirmation(execution, "a")
    assert_failed(workflow.wait(execution), "a", category="user_cancelled")
