"""The exceptions survive what carries them."""

import json
import pickle

import pytest
from celery import Celery
from celery.backends.base import Backend

from workflow_state import errors

DETAIL = {"category": "network_timeout", "message": "too slow", "retryable": True, "context": {"url": "http://x"}}
PROBLEM = {"code": "schema", "path": "/name", "message": "is missing", "suggestion": "add it"}

EXAMPLES = [
    errors.PlanValidationError([PROBLEM]),
    errors.HttpActionError(DETAIL, [{"timestamp": "now"}]),
    errors.ReferenceParseError("no reference"),
    errors.ReferenceResolutionError("nothing there"),
    errors.ActionDefinitionError("unknown"),
    errors.ExecutionNotFoundError("unknown"),
    errors.ExecutionConflictError("taken"),
    errors.ConfirmationError("answered"),
    errors.ConditionError("not CEL"),
    errors.SettingsError("wrong"),
    errors.StorageError("gone"),
    errors.DecryptionError("no key"),
    errors.DrawingError("too large"),
    errors.BrokerUnavailableError("Redis can't be reached"),
]


def test_every_error_has_an_example():
    """A new error is tested as well."""
    assert {type(error) for error in EXAMPLES} == set(errors.WorkflowStateError.__subclasses__())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error):
    """Celery's prefork pool pickles them."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is type(error)
    assert str(again) == str(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_celerys_json(error):
    """What a producer sees is what the worker raised."""
    backend = Backend(app=Celery("errors", set_as_current=False, result_serializer="json"))
    wire = json.loads(json.dumps(backend.prepare_exception(error, serializer="json")))
    again = backend.exception_to_python(wire)
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_a_plan_error_reads_as_a_list():
    """Each problem is on a line, with what to do."""
    assert str(EXAMPLES[0]) == "the plan has 1 problem\n  schema at /name: is missing (add it)"
    assert EXAMPLES[0].errors == [PROBLEM]


def test_an_http_error_carries_its_detail():
    """The detail is the contract's own model."""
    assert EXAMPLES[1].detail.retryable
    assert EXAMPLES[1].detail.context == {"url": "http://x"}
