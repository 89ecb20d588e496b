"""Loads the plugin, and sets up what most tests need."""

from pathlib import Path

import pytest

from workflow_state.testing import Workflow

pytest_plugins = ["workflow_state.testing"]

HERE = Path(__file__).parent


@pytest.fixture
def shop(workflow: Workflow) -> Workflow:
    """Load the team's definitions, with servers that are well; a test says what is different."""
    workflow.definitions(HERE / "actions")
    workflow.answer("crm.customer", {"email": "ada@example.com", "name": "Ada"})
    workflow.answer("crm.orders", {"orders": [{"id": "o-1"}, {"id": "o-2"}, {"id": "o-3"}]})
    workflow.answer("mail.send", {"id": "m-1"})
    workflow.answer("bank.refund", {"refundId": "r-1"})
    return workflow
