"""The wire contract: spellings, what is left out, what is refused."""

import json
import re

import pytest
from pydantic import ValidationError

from workflow_state.schema import (
    ActionDefinition,
    ActionExecutionState,
    Effect,
    ErrorHandling,
    ExecutionPlan,
    ExecutionState,
    PlannedAction,
)

SNAKE = {"id": "a", "action_definition_id": "d", "error_handling": {"continue_on_failure": True}}
CAMEL = {"id": "a", "actionDefinitionId": "d", "errorHandling": {"continueOnFailure": True}}


@pytest.mark.parametrize("data", [SNAKE, CAMEL])
def test_both_spellings_are_read_and_camel_case_is_written(data):
    """Other languages share the documents; Python may write its own way."""
    written = PlannedAction.model_validate(data).to_json_data()
    assert written == {**CAMEL, "inputs": {}, "dependencies": []}


def test_what_was_never_given_is_left_out():
    """A missing description is no null in the JSON, in any way of dumping."""
    plan = ExecutionPlan.model_validate({"name": "x", "actions": [CAMEL]})
    for written in (plan.to_json_data(), plan.model_dump(), json.loads(plan.model_dump_json())):
        assert "description" not in written
        assert "expectedOutcome" not in written


def test_a_null_fallback_is_a_fallback():
    """Null that was given is kept, and differs from nothing."""
    given = ErrorHandling.model_validate({"fallbackValue": None})
    assert given.has_fallback
    assert given.to_json_data() == {"continueOnFailure": False, "fallbackValue": None}
    assert not ErrorHandling().has_fallback


def test_a_written_plan_reads_back_the_same():
    """Writing and reading change nothing."""
    plan = ExecutionPlan.model_validate({"name": "x", "inputs": {"n": [1, None]}, "actions": [CAMEL]})
    assert ExecutionPlan.model_validate(plan.to_json_data()) == plan


@pytest.mark.parametrize("action_id", ["1a", "a b", "", "ä", "a" * 129, "inputs", "../x"])
def test_wrong_action_ids_are_refused(action_id):
    """Ids are safe in keys, paths and references."""
    with pytest.raises(ValidationError):
        PlannedAction.model_validate({**CAMEL, "id": action_id})


def test_unknown_fields_are_refused():
    """A typo is caught."""
    with pytest.raises(ValidationError, match="dependancies"):
        PlannedAction.model_validate({**CAMEL, "dependancies": []})


@pytest.mark.parametrize(
    ("method", "effect"),
    [
        ("GET", Effect.SAFE),
        ("PUT", Effect.IDEMPOTENT),
        ("DELETE", Effect.IDEMPOTENT),
        ("POST", Effect.UNSAFE),
        ("PATCH", Effect.UNSAFE),
    ],
)
def test_the_method_implies_the_effect(method, effect):
    """Unless the operator says otherwise."""
    definition = {"id": "d", "endpoint": {"url": "http://x", "method": method}}
    assert ActionDefinition.model_validate(definition).effective_effect is effect
    assert ActionDefinition.model_validate({**definition, "effect": "keyed"}).effective_effect is Effect.KEYED


def test_documents_read_by_their_json_names():
    """A state is the same document in Python as on the wire."""
    state = ActionExecutionState.model_validate({"actionId": "a", "status": "pending"})
    assert state["actionId"] == state.action_id == "a"
    with pytest.raises(KeyError):
        state["nothing"]


# --- What one reads of a state


def final_state():
    """Return the state of an execution that has ended, with an action of each kind of result."""
    at = "2026-01-01T00:00:00Z"
    location = {"provider": "file", "path": "x", "size": 3, "contentType": "text/plain", "checksum": "00"}
    error = {"category": "api_unexpected_status", "message": "there is no such user"}
    results = {
        "done": ("completed", {"status": "success", "output": {"a": [1]}}),
        "stored": ("completed", {"status": "success", "output": None, "outputLocation": location}),
        "broken": ("failed", {"status": "failure", "error": error}),
        "left": ("skipped", {"status": "skipped", "reason": "not needed"}),
        "open": ("pending", None),
    }
    states = {
        name: {"actionId": name, "status": status, "result": result} for name, (status, result) in results.items()
    }
    metrics = {"totalActions": 5, "completedActions": 2, "failedActions": 1, "skippedActions": 1}
    document = {"id": "e", "planId": "p", "status": "running", "startedAt": at, "actionStates": states}
    return ExecutionState.model_validate({**document, "metrics": metrics, "version": 1})


def test_the_output_of_an_action_is_read_by_its_name():
    assert final_state().output_of("done") == {"a": [1]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stored", "it is stored, read_output('e', 'stored') reads it"),
        ("broken", "it failed: there is no such user"),
        ("left", "it was skipped: not needed"),
        ("open", "it is pending"),
        ("dune", "has no action 'dune', did you mean 'done'?"),
    ],
)
def test_an_output_that_is_not_there_is_an_error_that_says_why(name, text):
    with pytest.raises(LookupError, match=re.escape(text)):
        final_state().output_of(name)


def test_the_error_of_an_action_is_read_by_its_name():
    failed = final_state().error_of("broken")
    assert failed is not None
    assert failed.message == "there is no such user"
    assert final_state().error_of("done") is None
    with pytest.raises(LookupError, match="did you mean 'broken'"):
        final_state().error_of("brokn")
