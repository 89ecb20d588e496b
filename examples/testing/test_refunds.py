"""The plan refunds.json: a list, OAuth 2, and a confirmation."""

from pathlib import Path

from workflow_state.testing import Workflow, assert_completed, assert_failed, output_of

PLAN = Path(__file__).with_name("refunds.json")


def test_every_order_is_refunded(shop: Workflow) -> None:
    """One request for each, with a token; the three go side by side, in no order."""
    state = shop.run(PLAN, confirm={"tell": True})
    assert_completed(state)
    assert output_of(state, "refund") == [{"refundId": "r-1"}] * 3
    refunds = shop.requests("bank.refund")
    assert sorted(request.json["order"] for request in refunds) == ["o-1", "o-2", "o-3"]
    assert {request.headers["authorization"] for request in refunds} == {"Bearer token-of-the-tests"}
    (asked,) = shop.token_requests("bank.refund")
    assert asked.url == "https://login.bank.example/token"
    assert asked.form == {"grant_type": ["client_credentials"]}


def test_the_mail_waits_for_a_person_who_sees_it(shop: Workflow) -> None:
    """And is not sent where the person says no."""
    execution = shop.start(PLAN)
    asked = shop.confirm(execution, "tell", confirmed=False, user_id="ada")
    assert asked.request
    assert asked.request.url == "https://mail.example/messages"
    state = shop.wait(execution)
    assert_failed(state, "tell", category="user_cancelled")
    assert not shop.requests("mail.send")


def test_no_money_moves_without_a_token(shop: Workflow) -> None:
    """The bank does not know us."""
    shop.answer_token("bank.refund", {"error": "invalid_client"}, status=401)
    assert_failed(shop.run(PLAN), category="auth_invalid")
    assert not shop.requests("bank.refund")
