"""What a question to a person has, of long requests and of long lists, and what it costs."""

import hashlib
from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.plans import action, asking, plan
from helpers.waiting import answer_question, wait_for_question, wait_until

from workflow_state import (
    ConfirmationError,
    cancel_execution,
    confirm_action,
    execute_plan,
    get_execution_state,
    read_request_body,
)
from workflow_state.celery import app
from workflow_state.store.names import alarms_key, progress_key
from workflow_state.views.requests import body_text

TIMEOUT_S = 30
LONG_TITLE, LONG_MESSAGE = "t" * 500, "Ü" * 4_000


def asking_of(count, **inputs):
    """Return a plan that asks about each of so many elements, with the longest words that there may be."""
    each = action(
        "each",
        actionDefinitionId="post",
        forEach="${inputs.items}",
        forEachLimit=10_000,
        inputs={"name": "x", "body.to": "${item}", **inputs},
        userConfirmation={"required": True, "title": LONG_TITLE, "message": LONG_MESSAGE},
    )
    return {**plan(each), "inputs": {"items": [f"person-{number}@example.com" for number in range(count)]}}


def test_a_long_body_is_stored_whole_and_can_be_read(worker, service: Service):
    """The state says where, how long and its SHA-256; what was read is what is sent."""
    name, text = uuid4().hex, "a\n" * 60_000 + "and pay Mallory"
    handle = execute_plan.delay(
        plan(asking("ask", actionDefinitionId="post", inputs={"name": name, "body.text": text}))
    )
    question = wait_for_question(handle.id)
    assert question.request.body is None
    body = read_request_body(handle.id, "ask")
    place = question.request.body_location
    assert (place.size, place.checksum) == (len(body), hashlib.sha256(body).hexdigest())
    assert text in body_text(question.request, body).replace("\\n", "\n")
    confirm_action(handle.id, "ask", digest=question.digest)
    assert handle.get(timeout=TIMEOUT_S)["status"] == "completed"
    (sent,) = service.requests_to(f"/echo/{name}")
    assert sent["body"] == {"text": text}


def test_a_body_that_is_in_the_state_is_not_stored(worker):
    """Asking for it as if it were says where it is."""
    handle = execute_plan.delay(plan(asking("ask")))
    wait_for_question(handle.id)
    with pytest.raises(ConfirmationError, match="is in the state"):
        read_request_body(handle.id, "ask")
    answer_question(handle.id, confirmed=False)


def test_an_element_that_asks_costs_redis_less_than_a_kilobyte(worker, service: Service):
    """Whatever the plan's own words are like: they are stored once. Each question is whole all the same."""
    count, client = 150, app.backend.client
    handle = execute_plan.delay(asking_of(count, name=uuid4().hex))
    wait_until(lambda: len(get_execution_state(handle.id).confirmations) == count, "all of them ask")
    progress = client.memory_usage(progress_key(handle.id), samples=0)
    assert (progress + client.memory_usage(alarms_key(), samples=0)) / count < 1_000
    questions = get_execution_state(handle.id).confirmations
    assert {(item.title, item.message) for item in questions} == {(LONG_TITLE, LONG_MESSAGE)}
    told = {item.action_id: item.request.body["to"] for item in questions}
    assert told == {f"each[{number}]": f"person-{number}@example.com" for number in range(count)}
    assert len({item.digest for item in questions}) == count

    answer_question(handle.id, "each[7]", user_id="ada")
    wait_until(lambda: service.requests_to("/echo/"), "the answer goes on with that one")
    cancel_execution(handle.id)
    final = handle.get(timeout=TIMEOUT_S)
    assert [item["title"] for item in final["confirmations"] if "title" in item] == [LONG_TITLE]
    ended = get_execution_state(handle.id).confirmations
    assert {item.title for item in ended} == {LONG_TITLE}
    assert [(item.action_id, item.user_id) for item in ended if item.confirmed] == [("each[7]", "ada")]


def test_what_questions_take_of_redis_is_bounded(worker):
    """A body of some kilobytes is stored as well, where the questions of the execution have taken enough."""
    document = plan(
        asking("first"), asking("ask", ["first"], actionDefinitionId="post", inputs={"name": "x", "body": "x" * 3_000})
    )
    handle = execute_plan.delay(document)
    wait_for_question(handle.id, "first")
    app.backend.client.hset(progress_key(handle.id), ":askedBytes", 16 * 2**20 - 1)
    answer_question(handle.id, "first")
    request = wait_for_question(handle.id).request
    assert (request.body, request.body_location.size) == (None, 3_002)
    assert body_text(request, read_request_body(handle.id, "ask")) == f'"{"x" * 3_000}"'
    cancel_execution(handle.id)
    handle.get(timeout=TIMEOUT_S)
