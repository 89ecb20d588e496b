"""Tests that fail, to be looked at: `pytest how_failures_read.py`. Its name hides it from pytest otherwise."""

from pathlib import Path

from workflow_state.testing import Workflow, assert_completed

HERE = Path(__file__).parent
GREETING = HERE / "greeting.json"


def test_a_plan_that_failed(shop: Workflow) -> None:
    """Which action, what was sent, what was answered."""
    shop.answer("mail.send", {"error": "no such mailbox"}, status=422)
    assert_completed(shop.run(GREETING))


def test_a_request_without_an_answer(workflow: Workflow) -> None:
    """Which definition, which request, and what to add."""
    workflow.definitions(HERE / "actions")
    workflow.answer("crm.customer", {"email": "ada@example.com", "name": "Ada"})
    workflow.run(GREETING)


def test_an_answer_for_nobody(shop: Workflow) -> None:
    """What it may have meant."""
    shop.answer("mail.sent", {"id": "m-1"})


def test_a_question_that_nobody_answers(shop: Workflow) -> None:
    """How to answer it."""
    shop.run(HERE / "refunds.json")


def test_an_execution_that_takes_too_long(shop: Workflow) -> None:
    """Where it is."""
    shop.answer("crm.customer", {}, delay_ms=3_000)
    shop.run(GREETING, timeout_s=0.5)
