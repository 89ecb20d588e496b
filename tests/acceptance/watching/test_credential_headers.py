"""A plan that sets a header with credentials: refused before anything is stored or sent, by whatever way it comes."""

import json
from uuid import uuid4

import pytest
from celery.result import AsyncResult
from helpers.other_process import DUMP, ask_in_another_process
from helpers.plans import action, plan

from workflow_state import execute_plan
from workflow_state.celery import app
from workflow_state.errors import PlanValidationError

TOKEN = "t0ken-of-a-plan"


@pytest.mark.parametrize("definition", ["echo", "secret"])
def test_a_plans_own_credentials_are_nowhere(redis_url, worker, service, definition):
    """Submitted, and put on the queue by a producer that skipped validation."""
    name = uuid4().hex
    inputs = {"name": name, "header.authorization": f"Bearer {TOKEN}"}
    document = plan(action("a", actionDefinitionId=definition, inputs=inputs))
    with pytest.raises(PlanValidationError) as caught:
        execute_plan.delay(document)
    assert [problem["code"] for problem in caught.value.errors] == ["bad_input"]
    execution_id = str(uuid4())
    app.send_task("workflow_state.execute_plan", (document,), task_id=execution_id)
    state = AsyncResult(execution_id, app=app).get(timeout=20)
    assert (state["status"], state["error"]["category"]) == ("failed", "validation_failed")
    assert "the header authorization carries credentials" in json.dumps(state)
    assert service.requests_to(f"/echo/{name}") == []
    for told in (*ask_in_another_process(redis_url, DUMP), json.dumps(state), worker.read_text(), str(caught.value)):
        assert TOKEN not in told
