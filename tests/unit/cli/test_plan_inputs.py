"""`--input NAME=VALUE`: names that the plan knows, and names that it does not."""

import json

import click
import pytest

from workflow_state.cli import plan_file
from workflow_state.cli.plan_file import read_plan
from workflow_state.errors import PlanValidationError


@pytest.fixture(autouse=True)
def no_definitions(monkeypatch):
    """Know no definitions, whatever another test of this process has configured."""
    monkeypatch.setattr(plan_file, "list_action_definitions", list)


def write_plan(folder, inputs, **own):
    """Return the path of a plan whose action reads `inputs`; `own` are the plan's inputs."""
    path = folder / "plan.json"
    action = {"id": "a", "actionDefinitionId": "any", "inputs": {"body": inputs}}
    path.write_text(json.dumps({"name": "n", "inputs": own, "actions": [action]}))
    return str(path)


def read(path, *inputs):
    """Return the inputs of the plan with these over its own."""
    return read_plan(path, (), inputs, needs_definitions=False).inputs


@pytest.mark.parametrize(
    ("inputs", "name"),
    [("${inputs.customerId}", "customerId"), ("${inputs.customerId}", "limit"), ("${inputs}", "anything")],
)
def test_an_input_that_the_plan_has_or_reads_is_taken(tmp_path, inputs, name):
    """Where a plan reads all of its inputs as one object, any name may be meant."""
    path = write_plan(tmp_path, inputs, limit=1)
    assert read(path, "customerId=c", f"{name}=7")[name] == 7


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("custmerId=c-18", "--input custmerId: the plan reads no input of this name; did you mean 'customerId'?"),
        ("zzz=1", "--input zzz: the plan reads no input of this name; its inputs are limit, customerId"),
    ],
)
def test_an_unknown_input_is_refused(tmp_path, given, told):
    """Before the plan is: without it, the missing input would be told, and not the slip. The value is not shown."""
    path = write_plan(tmp_path, "${inputs.customerId}", limit=1)
    with pytest.raises(click.UsageError) as caught:
        read(path, given)
    assert caught.value.message == told


def test_a_plan_without_inputs_says_so(tmp_path):
    """There is nothing to choose from."""
    with pytest.raises(click.UsageError, match="it has no inputs"):
        read(write_plan(tmp_path, 1), "a=1")


def test_where_a_reference_is_malformed_validation_speaks(tmp_path):
    """Nobody knows which input was meant."""
    with pytest.raises(PlanValidationError, match="bad_reference"):
        read(write_plan(tmp_path, "${input.customerId}"), "customerId=1")


def test_a_missing_input_says_how_to_give_it(tmp_path):
    """In the plan, or on the command line."""
    with pytest.raises(PlanValidationError) as caught:
        read(write_plan(tmp_path, "${inputs.customerId}"))
    [problem] = caught.value.errors
    assert problem["code"] == "unknown_reference"
    assert problem["suggestion"] == (
        "add 'customerId' to the plan's inputs; on the command line: --input customerId=VALUE"
    )
