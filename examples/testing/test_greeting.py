"""The plan greeting.json: what it sends, and what becomes of it when a server is not well."""

from pathlib import Path

from workflow_state.testing import (
    ReceivedRequest,
    Workflow,
    assert_cancelled,
    assert_completed,
    assert_failed,
    assert_skipped,
    output_of,
)

PLAN = Path(__file__).with_name("greeting.json")


def test_the_customer_is_greeted_by_name(shop: Workflow) -> None:
    """What left, as the real servers would have received it."""
    state = shop.run(PLAN, inputs={"customerId": "c-18"})
    assert_completed(state)
    assert output_of(state, "greet") == {"id": "m-1"}
    (asked,) = shop.requests("crm.customer")
    assert asked.url == "https://crm.example/customers/c-18"
    assert asked.headers["authorization"] == "Bearer dummy-CRM_TOKEN"
    (sent,) = shop.requests("mail.send")
    assert sent.json == {"to": "ada@example.com", "text": "Hello Ada!"}


def test_a_mail_server_that_is_busy_is_asked_again(shop: Workflow) -> None:
    """Once is not for all: after it, the fixture's answer."""
    shop.answer("mail.send", status=503, times=1)
    state = assert_completed(shop.run(PLAN))
    assert state.action_states["greet"].attempts == 2


def test_an_unknown_customer_gets_no_mail(shop: Workflow) -> None:
    """The plan stops."""
    shop.answer("crm.customer", {"error": "no such customer"}, status=404)
    state = shop.run(PLAN)
    error = assert_failed(state, "customer", category="api_endpoint_removed")
    assert error.status_code == 404
    assert_skipped(state, "greet")
    assert not shop.requests("mail.send")


def test_a_mail_whose_sending_may_have_worked_is_not_sent_twice(shop: Workflow) -> None:
    """A POST is unsafe: it is not repeated after an answer that never came."""
    shop.answer("mail.send", disconnects=True)
    state = shop.run(PLAN)
    assert_failed(state, "greet")
    assert len(shop.requests("mail.send")) == 1


def test_each_customer_has_their_name(shop: Workflow) -> None:
    """An answer may be a function of the request."""

    def find_customer(request: ReceivedRequest) -> dict[str, str]:
        name = request.path.rpartition("/")[2].title()
        return {"name": name, "email": f"{name}@example.com"}

    shop.answer("crm.customer", find_customer)
    assert_completed(shop.run(PLAN, inputs={"customerId": "grace"}))
    assert shop.requests("mail.send")[0].json["text"] == "Hello Grace!"


def test_cancelling_keeps_the_mail_back(shop: Workflow) -> None:
    """Cancelled while the first request is under way."""
    shop.answer("crm.customer", {}, delay_ms=200)
    execution = shop.start(PLAN)
    shop.wait_for_request("crm.customer")
    assert_cancelled(shop.cancel(execution))
    assert not shop.requests("mail.send")
