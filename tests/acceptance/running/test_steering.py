"""A person steers an execution while it is under way: confirmations and cancelling."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.plans import action, asking, plan
from helpers.waiting import answer_question, wait_for_question, wait_until

from workflow_state import (
    ConfirmationError,
    ExecutionNotFoundError,
    cancel_execution,
    confirm_action,
    execute_plan,
    get_execution_state,
    list_executions,
)
from workflow_state.celery import app
from workflow_state.engine.sweep import look_after_execution
from workflow_state.engine.waiting import look_after
from workflow_state.store.execution import open_store
from workflow_state.store.names import alarms_key

TIMEOUT_S = 30


def test_a_confirmation_shows_what_will_be_sent_and_lets_it_go(worker, service: Service):
    """Nothing is sent before the answer; method, URL and body are shown with references resolved."""
    name = uuid4().hex
    document = plan(
        asking(
            "ask",
            ["first"],
            actionDefinitionId="secret",
            inputs={"name": name, "body.to": "${first.output.name}", "body.api_key": "hunter2"},
        ),
        beside=["first"],
        first=[],
        last=["ask"],
    )
    handle = execute_plan.delay(document)
    question = wait_for_question(handle.id)
    wait_until(lambda: get_execution_state(handle.id).action_states["beside"].status == "completed", "the others go on")
    state = get_execution_state(handle.id)
    assert state.status == "paused_for_confirmation"
    assert state.action_states["last"].status == "pending"
    assert service.requests_to(f"/echo/{name}") == []
    assert (question.title, question.request.method) == ("Send ask?", "POST")
    assert question.request.url.endswith(f"/echo/{name}")
    # What the plan itself says is shown, whatever it calls it; what the definition keeps is not.
    assert question.request.body == {"to": "first", "api_key": "hunter2"}
    assert "s3cr3t" not in str(question)

    answered = confirm_action(handle.id, "ask", True, "ada", digest=question.digest)
    assert (answered.confirmed, answered.user_id) == (True, "ada")
    final = handle.get(timeout=TIMEOUT_S)
    assert final["status"] == "completed"
    assert [(item["actionId"], item["confirmed"]) for item in final["confirmations"]] == [("ask", True)]
    assert len(service.requests_to(f"/echo/{name}")) == 1


def test_a_rejection_fails_the_action(worker):
    """With user_cancelled, and who it was."""
    handle = execute_plan.delay(plan(asking("ask"), after=["ask"]))
    answer_question(handle.id, confirmed=False, user_id="ada")
    final = handle.get(timeout=TIMEOUT_S)
    error = final["actionStates"]["ask"]["result"]["error"]
    assert (final["status"], error["category"]) == ("failed", "user_cancelled")
    assert "ada" in error["message"]
    assert final["actionStates"]["after"]["status"] == "skipped"


def test_nobody_answers_in_time(worker):
    """The timeout fails the action, without a timer message; a late answer is refused."""
    handle = execute_plan.delay(plan(asking("ask", timeout=1000)))
    wait_for_question(handle.id)
    final = handle.get(timeout=TIMEOUT_S)
    assert final["actionStates"]["ask"]["result"]["error"]["category"] == "user_cancelled"
    assert final["confirmations"][0]["timedOut"] is True
    with pytest.raises(ConfirmationError, match="not answered in time"):
        confirm_action(handle.id, "ask", True)


def test_one_of_many_racing_answers_counts(worker, service: Service):
    """The others are told so, and change nothing."""
    name = uuid4().hex
    handle = execute_plan.delay(plan(asking("ask", inputs={"name": name})))
    digest = wait_for_question(handle.id).digest

    def answer(number):
        try:
            return confirm_action(handle.id, "ask", True, f"user-{number}", digest=digest).user_id
        except ConfirmationError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, range(8)))
    final = handle.get(timeout=TIMEOUT_S)
    winner = final["confirmations"][0]["userId"]
    assert answers.count(winner) == 1
    assert sum("already" in text for text in answers) == 7
    assert len(service.requests_to(f"/echo/{name}")) == 1


@pytest.mark.parametrize("confirmed", [True, False])
def test_an_answer_without_a_digest_is_refused(worker, service: Service, confirmed):
    """Whoever answers says what was seen: neither nothing nor an empty text stands for it."""
    name = uuid4().hex
    handle = execute_plan.delay(plan(asking("ask", inputs={"name": name})))
    digest = wait_for_question(handle.id).digest
    for missing in ({}, {"digest": None}, {"digest": ""}):
        with pytest.raises(ConfirmationError, match="needs the digest"):
            confirm_action(handle.id, "ask", confirmed, "ada", **missing)
    with pytest.raises(ConfirmationError, match="has changed since"):
        confirm_action(handle.id, "ask", confirmed, "ada", digest=digest[:-1])
    (still_open,) = get_execution_state(handle.id).confirmations
    assert (still_open.confirmed, still_open.digest) == (None, digest)
    assert service.requests_to(f"/echo/{name}") == []
    confirm_action(handle.id, "ask", confirmed, digest=digest)
    assert handle.get(timeout=TIMEOUT_S)["confirmations"][0]["confirmed"] is confirmed


def test_answers_that_have_no_question(worker):
    """Each is an error that says why."""
    handle = execute_plan.delay(plan(a=[]))
    handle.get(timeout=TIMEOUT_S)
    with pytest.raises(ConfirmationError, match="does not wait"):
        confirm_action(handle.id, "a")
    with pytest.raises(ConfirmationError, match="no action 'b'"):
        confirm_action(handle.id, "b")
    with pytest.raises(ExecutionNotFoundError):
        confirm_action("no-such-id", "a")


def test_an_answer_is_bound_to_what_was_shown(worker):
    """Another digest is refused, and the question stays open."""
    handle = execute_plan.delay(plan(asking("ask")))
    question = wait_for_question(handle.id)
    with pytest.raises(ConfirmationError, match="changed"):
        confirm_action(handle.id, "ask", True, digest="0" * 64)
    confirm_action(handle.id, "ask", True, digest=question.digest)
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"


def test_cancel_lets_a_request_end_and_starts_no_other(worker, service: Service):
    """The state is cancelled as soon as the request has ended, the rest is skipped."""
    name = uuid4().hex
    document = plan(action("slow", inputs={"name": name, "query.delay_ms": 1500}), after=["slow"])
    handle = execute_plan.delay(document)
    wait_until(lambda: service.requests_to(f"/echo/{name}"), "the request is under way")
    cancel_execution(handle.id)
    final = handle.get(timeout=TIMEOUT_S)
    assert final["status"] == "cancelled"
    assert final["error"]["category"] == "user_cancelled"
    assert final["actionStates"]["slow"]["status"] == "completed"
    assert final["actionStates"]["after"]["status"] == "skipped"
    [entry] = service.requests_to(f"/echo/{name}")
    ended_s = datetime.fromisoformat(final["completedAt"]).timestamp()
    # Whatever looks after executions would come ten seconds later, at the soonest.
    assert entry["endedAt"] - 0.01 < ended_s < entry["endedAt"] + 5
    assert cancel_execution(handle.id).status == "cancelled"


def test_cancel_ends_a_long_wait_for_a_retry(worker, service: Service):
    """An action that would be tried again in minutes ends at once, and is not sent."""
    name = uuid4().hex
    document = plan(action("a", actionDefinitionId="very_patient", inputs={"name": name}), after=["a"])
    handle = execute_plan.delay(document)
    wait_until(lambda: get_execution_state(handle.id).action_states["a"].next_attempt_at, "it waits for its retry")
    cancel_execution(handle.id)
    # Its retry was due in 280 s.
    final = handle.get(timeout=TIMEOUT_S)
    assert final["status"] == "cancelled"
    assert final["actionStates"]["a"]["status"] == "skipped"
    assert final["actionStates"]["a"]["attempts"] == 1
    assert len(service.requests_to("/unavailable/")) >= 1


def test_cancel_ends_a_question(worker):
    """What waits for an answer is skipped; answering it then is an error."""
    handle = execute_plan.delay(plan(asking("ask")))
    wait_for_question(handle.id)
    cancel_execution(handle.id)
    final = handle.get(timeout=TIMEOUT_S)
    assert (final["status"], final["actionStates"]["ask"]["status"]) == ("cancelled", "skipped")
    with pytest.raises(ConfirmationError):
        confirm_action(handle.id, "ask")


def test_cancelling_nothing_is_an_error(redis_url):
    """An unknown id is told."""
    with pytest.raises(ExecutionNotFoundError, match="no-such-id"):
        cancel_execution("no-such-id")


def test_what_waits_long_is_kept_alive(worker):
    """A sign of life, long before the retention is over, renews everything of the execution."""
    handle = execute_plan.delay(plan(asking("ask"), beside=[], last=["ask"]))
    wait_for_question(handle.id)
    wait_until(lambda: get_execution_state(handle.id).action_states["beside"].status == "completed", "the others")
    client = app.backend.client
    keys = [key for key in client.scan_iter(f"*{handle.id}*") if client.ttl(key) > 0]
    assert len(keys) >= 5
    for key in keys:
        client.expire(key, 1_000)
    look_after(app, open_store(app.backend, handle.id), "ask")
    assert [key for key in keys if client.ttl(key) <= 1_000] == []
    assert client.zscore(alarms_key(), f"{handle.id} ask") > time.time() + 1_000
    answer_question(handle.id)
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"


def test_what_runs_long_is_kept_alive(worker):
    """An execution that is looked after when half of its retention has passed keeps all that it has."""
    document = plan(
        action("slow", ["first"], inputs={"name": "slow", "query.delay_ms": 1_500}), first=[], last=["slow"]
    )
    handle = execute_plan.delay(document)
    wait_until(lambda: get_execution_state(handle.id).action_states["slow"].status == "running", "the long one runs")
    client = app.backend.client
    keys = [key for key in client.scan_iter(f"*{handle.id}*") if client.ttl(key) > 0]
    assert len(keys) >= 4
    for key in keys:
        client.expire(key, 1_000)
    look_after_execution(app, open_store(app.backend, handle.id))
    assert [key for key in keys if 0 < client.ttl(key) <= 1_000] == []
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"


def test_lists_find_what_waits_and_what_was_cancelled(worker):
    """An execution is listed by the status that it reads as, each way of its life."""

    def listed(status):
        return handle.id in {summary.id for summary in list_executions(limit=1_000, status=status)}

    handle = execute_plan.delay(plan(asking("ask")))
    wait_for_question(handle.id)
    assert listed("paused_for_confirmation")
    assert not listed("running")
    assert next(item for item in list_executions() if item.id == handle.id).status == "paused_for_confirmation"
    cancel_execution(handle.id)
    assert handle.get(timeout=TIMEOUT_S)["status"] == "cancelled"
    assert [listed(status) for status in ("paused_for_confirmation", "running", "failed", "cancelled")] == [
        False,
        False,
        False,
        True,
    ]


def test_a_list_of_the_few_does_not_read_the_many(worker):
    """What runs, failed or was cancelled is found without a look at all that completed."""
    handles = [execute_plan.delay(plan(a=[])) for _ in range(120)]
    for handle in handles:
        handle.get(timeout=TIMEOUT_S)
    client = app.backend.client
    for status in ("running", "failed", "cancelled"):
        found = len(list_executions(limit=1_000, status=status))
        client.config_resetstat()
        list_executions(limit=1_000, status=status)
        # A few that the worker's own timers read may be among them.
        assert client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"] <= found + 20
