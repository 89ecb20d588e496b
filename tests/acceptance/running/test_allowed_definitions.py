"""Which definitions an execution may use: what its submission says, and what a worker says."""

import json
from functools import partial
from uuid import uuid4

import pytest
from celery import group
from helpers.http_service import Service
from helpers.plans import action, asking, plan
from helpers.waiting import wait_for_question, wait_until
from helpers.workers import forked_worker

from workflow_state import (
    ExecutionConflictError,
    ExecutionNotFoundError,
    PlanValidationError,
    WorkflowStateError,
    confirm_action,
    execute_plan,
    get_execution_state,
    resume_execution,
)
from workflow_state.celery import app
from workflow_state.engine.local import local_redis
from workflow_state.store.execution import open_store

TIMEOUT_S = 30


def posting(name: str, action_id: str = "send", **fields) -> dict:
    return action(action_id, actionDefinitionId="post", inputs={"name": name}, **fields)


@pytest.mark.parametrize("allowed", [["echo"], ["po"], ["*t.*"], []])
def test_a_plan_that_uses_another_definition_is_refused_before_anything_is_queued(worker, allowed):
    execution_id = f"refused-{uuid4()}"
    document = plan(posting("x"), b=[])
    for submit in (
        partial(execute_plan.delay, document, definitions=allowed),
        execute_plan.s(document, definitions=allowed).apply_async,
        execute_plan.s(document).set(definitions=allowed).apply_async,
        group([execute_plan.s(document, definitions=allowed)]).apply_async,
    ):
        with pytest.raises(PlanValidationError, match="definition_not_allowed"):
            submit()
    with pytest.raises(PlanValidationError) as caught:
        execute_plan.apply_async((document,), task_id=execution_id, definitions=allowed)
    first = caught.value.errors[0]
    assert (first["code"], first["path"]) == ("definition_not_allowed", "/actions/0/actionDefinitionId")
    assert f"it was submitted for {', '.join(allowed) or 'none'}" in first["message"]
    with pytest.raises(ExecutionNotFoundError):
        get_execution_state(execution_id)


def test_a_plan_that_uses_only_what_it_may_runs(worker):
    handle = execute_plan.apply_async((plan(posting("x"), b=[]),), definitions=["p*t", "echo"])
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"


@pytest.mark.parametrize("wrong", ["crm.*", {"echo": 1}, [1], [""], ["x" * 300], ["x" * 200] * 100])
def test_what_is_no_list_of_patterns_is_refused(worker, wrong):
    """Rather than taken for no restriction."""
    with pytest.raises(WorkflowStateError, match="definitions"):
        execute_plan.apply_async((plan(a=[]),), definitions=wrong)


def test_the_same_id_with_other_definitions_is_another_submission(worker):
    execution_id = f"twice-{uuid4()}"
    submit = {"task_id": execution_id, "definitions": ["echo", "post"]}
    execute_plan.apply_async((plan(a=[]),), **submit)
    execute_plan.apply_async((plan(a=[]),), **submit)
    with pytest.raises(ExecutionConflictError, match="other definitions"):
        execute_plan.apply_async((plan(a=[]),), task_id=execution_id)


@pytest.mark.parametrize("where", ["arguments", "options"])
def test_a_plan_that_is_sent_by_name_is_held_to_it_too(worker, service: Service, where):
    """A chain of another application does that; it makes a property of the message of an option."""
    name = uuid4().hex
    allowed = {"definitions": ["echo"]}
    options = {"kwargs": allowed} if where == "arguments" else allowed
    handle = app.send_task("workflow_state.execute_plan", [plan(posting(name))], **options)
    wait_until(lambda: app.backend.client.exists(f"celery-task-meta-{handle.id}"), "it has ended")
    state = get_execution_state(handle.id)
    assert state.status == "failed"
    assert "definition_not_allowed" in state.error.message
    assert service.requests_to(f"/echo/{name}") == []


def test_what_is_stored_is_looked_at_when_it_is_sent(worker, service: Service):
    """Of an alternative too, and whatever the first look has said."""
    name = uuid4().hex
    failing = asking("first", actionDefinitionId="status", inputs={"code": 422, "name": name})
    failing["errorHandling"] = {"alternativeActionId": "send"}
    document = plan(failing, posting(name), after=["first"])
    handle = execute_plan.apply_async((document,), definitions=["status", "post", "echo"])
    question = wait_for_question(handle.id, "first")
    store = open_store(app.backend, handle.id)
    assert json.loads(store.client.hget(store.record, "definitions")) == ["status", "post", "echo"]
    store.client.hset(store.record, "definitions", json.dumps(["status", "echo"]))
    confirm_action(handle.id, "first", True, digest=question.digest)
    state = handle.get(timeout=TIMEOUT_S)
    assert state["status"] == "failed"
    error = state["actionStates"]["send"]["result"]["error"]
    assert (error["category"], error["code"]) == ("validation_failed", "definition_not_allowed")
    assert (
        "may not use the action definition 'post': it was submitted for status, echo; nothing was sent"
        in error["message"]
    )
    assert service.requests_to(f"/echo/{name}") == []


def test_what_resumes_an_execution_is_held_to_the_same(worker, service: Service):
    """Also where the plan has been changed, and where it is resumed again."""
    name = uuid4().hex
    failing = action("a", actionDefinitionId="status", inputs={"code": 422, "name": name})
    first = execute_plan.apply_async((plan(failing),), definitions=["echo", "status"])
    assert first.get(timeout=TIMEOUT_S)["status"] == "failed"
    again = resume_execution(first.id)
    assert again.get(timeout=TIMEOUT_S)["status"] == "failed"
    for earlier in (first, again):
        with pytest.raises(PlanValidationError, match="definition_not_allowed"):
            resume_execution(earlier.id, plan(posting(name, "a")))
    assert service.requests_to(f"/echo/{name}") == []
    assert resume_execution(again.id, plan(a=[])).get(timeout=TIMEOUT_S)["status"] == "completed"


def test_a_worker_sends_only_what_it_allows(service: Service, cli, plan_file, redis_url, tmp_path):
    """Whatever the submission allows; what it allows goes on."""
    name = uuid4().hex
    sending = posting(name, errorHandling={"continueOnFailure": True})
    document = plan(sending, action("fetch", inputs={"name": f"{name}-get"}))
    allowed = {"WORKFLOW_STATE_ALLOWED_DEFINITIONS": "e*o,fetch.*"}
    with local_redis() as own_redis, forked_worker(own_redis, log_file=tmp_path / "log", environment=allowed):
        submitted = cli(
            "submit", plan_file(document), "--definitions", "post", "--definitions", "echo", redis_url=own_redis
        )
        assert submitted.returncode == 0, submitted.stderr
        done = cli("status", submitted.stdout.strip(), "--watch", redis_url=own_redis)
        state = json.loads(cli("status", submitted.stdout.strip(), "--json", redis_url=own_redis).stdout)
        assert (state["status"], done.returncode) == ("completed", 0)
        error = state["actionStates"]["send"]["result"]["error"]
        assert error["code"] == "definition_not_allowed"
        assert (
            "not in WORKFLOW_STATE_ALLOWED_DEFINITIONS, which allows e*o, fetch.*; nothing was sent" in error["message"]
        )
        assert "add it to WORKFLOW_STATE_ALLOWED_DEFINITIONS" in error["suggestion"]
    [sent] = service.requests_to(f"/echo/{name}")
    assert sent["path"] == f"/echo/{name}-get"


def test_the_command_refuses_a_plan_that_uses_another_definition(cli, plan_file, redis_url):
    refused = cli("submit", plan_file(plan(posting("x"))), "--definitions", "e*", redis_url=redis_url)
    assert refused.returncode == 2
    assert "definition_not_allowed at /actions/0/actionDefinitionId" in refused.stderr
    assert "it was submitted for e* (use one of these, or submit the plan for it as well:" in refused.stderr
