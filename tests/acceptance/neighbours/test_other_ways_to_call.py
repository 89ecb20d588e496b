"""Ways to call `execute_plan` that are not `delay` and `apply_async`: they work, or are refused with nothing left."""

from datetime import timedelta
from uuid import uuid4

import pytest
from celery import group
from helpers.plans import asking, plan
from helpers.waiting import answer_question, wait_for_question, wait_until

from workflow_state import (
    WorkflowStateError,
    cancel_execution,
    execute_plan,
    get_execution_state,
    list_executions,
    resume_execution,
)
from workflow_state.celery import app
from workflow_state.client.executions import exists

TIMEOUT_S = 30
PLAN = plan(a=[])


@pytest.mark.parametrize(
    "call",
    [
        lambda: execute_plan(PLAN),
        lambda: execute_plan.run(PLAN),
        lambda: execute_plan.apply((PLAN,)),
        lambda: execute_plan.apply((PLAN,), task_id="eager"),
        execute_plan.s(PLAN),
        execute_plan.s(PLAN).apply,
    ],
    ids=["call", "run", "apply", "apply with an id", "signature called", "signature applied"],
)
def test_a_plan_is_not_run_in_the_callers_own_process(worker, call):
    before = {summary.id for summary in list_executions(limit=1000)}
    with pytest.raises(WorkflowStateError, match=r"execute_plan\.delay"):
        call()
    assert {summary.id for summary in list_executions(limit=1000)} == before


def test_eager_mode_is_refused_before_anything_is_registered(worker, monkeypatch):
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    execution_id = f"eager-{uuid4()}"
    with pytest.raises(WorkflowStateError, match="task_always_eager"):
        execute_plan.apply_async((PLAN,), task_id=execution_id)
    monkeypatch.undo()
    assert execution_id not in {summary.id for summary in list_executions(limit=1000)}


def test_send_task_by_name_works(worker):
    handle = app.send_task("workflow_state.execute_plan", [PLAN])
    wait_until(lambda: app.backend.client.exists(f"celery-task-meta-{handle.id}"), "a worker has taken it")
    wait_until(lambda: get_execution_state(handle.id).status == "completed", "it has completed")
    assert handle.id in {summary.id for summary in list_executions(limit=1000)}


def test_a_plan_sent_by_name_under_an_id_that_is_taken_changes_nothing(worker):
    """Neither a good one nor a bad one: the execution that has the id goes on, and its end is its own."""
    handle = execute_plan.delay(plan(asking("ask")))
    wait_for_question(handle.id)
    app.send_task("workflow_state.execute_plan", [PLAN], task_id=handle.id)
    app.send_task("workflow_state.execute_plan", ["no plan"], task_id=handle.id)
    marker = execute_plan.delay(PLAN)
    assert marker.get(timeout=TIMEOUT_S)["status"] == "completed"
    assert get_execution_state(handle.id).status == "paused_for_confirmation"
    answer_question(handle.id)
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"


def test_a_refused_execution_can_be_looked_at_and_is_no_plan_to_resume(worker, cli, redis_url):
    handle = app.send_task("workflow_state.execute_plan", [{"name": "bad", "actions": []}])
    wait_until(lambda: app.backend.client.exists(f"celery-task-meta-{handle.id}"), "it has ended")
    shown = cli("status", handle.id, redis_url=redis_url)
    assert shown.returncode == 1, shown.stderr
    assert "failed" in shown.stdout
    with pytest.raises(WorkflowStateError):
        resume_execution(handle.id)
    assert cancel_execution(handle.id).status == "failed"


@pytest.mark.parametrize("document", [{"name": "bad", "actions": []}, "no plan", None, [1], {"actions": [{"id": "a"}]}])
def test_a_bad_plan_that_a_producer_sent_past_validation_is_listed(worker, document):
    handle = app.send_task("workflow_state.execute_plan", [document])
    wait_until(lambda: app.backend.client.exists(f"celery-task-meta-{handle.id}"), "it has ended")
    state = get_execution_state(handle.id)
    assert state.status == "failed"
    assert state.error.context
    listed = {summary.id: summary for summary in list_executions(limit=1000, status="failed")}
    assert handle.id in listed
    assert handle.id in {summary.id for summary in list_executions(limit=1000)}


OF_THEIR_OWN_TASKS = {
    "queue": "team",
    "exchange": "team",
    "routing_key": "team.x",
    "serializer": "pickle",
    "compression": "gzip",
    "ignore_result": True,
}


def test_options_that_would_lose_a_plan_are_not_followed(worker):
    """They go with a group to each of its tasks, also to ours. Nobody would read the message, or store the end."""
    handle = execute_plan.apply_async((plan(a=[], b=["a"]),), **OF_THEIR_OWN_TASKS)
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"
    [handle] = group(execute_plan.s(PLAN)).apply_async(queue="team", serializer="pickle")
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"


def test_an_end_is_stored_for_a_producer_that_wants_no_results(worker):
    handle = app.send_task("workflow_state.execute_plan", [plan(a=[], b=["a"])], ignore_result=True)
    wait_until(lambda: app.backend.client.exists(f"celery-task-meta-{handle.id}"), "a worker has taken it")
    wait_until(lambda: get_execution_state(handle.id).status == "completed", "it has completed")


@pytest.mark.parametrize(
    "options",
    [
        {"eta": 5},
        {"eta": "tomorrow"},
        {"countdown": "5"},
        {"countdown": timedelta(seconds=5)},
        {"countdown": float("nan")},
        {"expires": timedelta(seconds=5)},
        {"expires": 1e12},
    ],
    ids=str,
)
def test_what_is_no_time_is_refused_before_anything_is_registered(worker, options):
    execution_id = f"no-time-{uuid4()}"
    with pytest.raises(WorkflowStateError, match=f"^{next(iter(options))}=.* is no time"):
        execute_plan.apply_async((PLAN,), task_id=execution_id, **options)
    assert not exists(execution_id)


@pytest.mark.parametrize("task_id", [5, b"bytes", ["a"]])
def test_an_id_that_is_no_text_is_refused(worker, task_id):
    with pytest.raises(WorkflowStateError, match="execution id"):
        execute_plan.apply_async((PLAN,), task_id=task_id)
