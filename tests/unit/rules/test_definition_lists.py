"""Which definitions may be used: two lists, and what is said about those that are in neither."""

import pytest

from workflow_state.errors import SettingsError, WorkflowStateError
from workflow_state.rules.allowed_definitions import (
    explain_refusal,
    find_refused,
    read_definitions_option,
    suggest_remedy,
)
from workflow_state.schema import ExecutionPlan
from workflow_state.settings import get_settings


@pytest.mark.parametrize(
    ("of_process", "of_execution", "said"),
    [
        ([], None, None),
        (["crm.*"], None, None),
        ([], ["crm.get"], None),
        (["*"], ["*"], None),
        ([], [], "it was submitted for none"),
        (["crm.*"], ["mail.*"], "it was submitted for mail.*"),
        (["mail.*"], ["crm.*"], "WORKFLOW_STATE_ALLOWED_DEFINITIONS, which allows mail.*"),
        ([], ["Crm.*"], "it was submitted for Crm.*"),
        ([], [f"a{number}" for number in range(12)], "a9 and 2 more"),
    ],
)
def test_both_lists_must_allow_a_definition(of_process, of_execution, said):
    """Each list is looked at by itself: what one allows, the other need not."""
    why = explain_refusal("crm.get", of_process, of_execution)
    assert why is None if said is None else said in str(why)


def test_each_action_with_another_definition_is_told():
    actions = [{"id": name, "actionDefinitionId": f"{name}.get"} for name in ("crm", "bank", "mail")]
    plan = ExecutionPlan.model_validate({"name": "n", "actions": actions})
    paths = [problem["path"] for problem in find_refused(plan, ["crm.*", "bank.*"], ["crm.*"])]
    assert paths == ["/actions/1/actionDefinitionId", "/actions/2/actionDefinitionId"]


@pytest.mark.parametrize(
    ("of_execution", "advised"),
    [
        (None, "WORKFLOW_STATE_ALLOWED_DEFINITIONS"),
        (["crm.*"], "WORKFLOW_STATE_ALLOWED_DEFINITIONS"),
        (["mail.*"], "definitions=[…], or --definitions"),
        ([], "definitions=[…], or --definitions"),
        (["crm.*,mail.*"], "'crm.*,mail.*' is one pattern: write each pattern by itself"),
    ],
)
def test_what_to_do_depends_on_the_list_that_refuses(of_execution, advised):
    assert advised in suggest_remedy("crm.get", of_execution)


def test_the_option_is_a_list_of_patterns():
    assert read_definitions_option(None) is None
    assert read_definitions_option([]) == []
    assert read_definitions_option(("b", "a")) == ["b", "a"]
    assert read_definitions_option({"b", "a"}) == ["a", "b"]
    for wrong in ("crm.*", b"crm", {"a": 1}, [None], [" "], 7, True):
        with pytest.raises(WorkflowStateError, match="definitions"):
            read_definitions_option(wrong)
    with pytest.raises(WorkflowStateError, match=r"an entry of definitions is empty; write ids and patterns"):
        read_definitions_option([""])


def test_a_wrong_setting_is_an_error_at_start(monkeypatch):
    monkeypatch.setenv("WORKFLOW_STATE_ALLOWED_DEFINITIONS", f"crm.*, {'x' * 300}")
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="WORKFLOW_STATE_ALLOWED_DEFINITIONS: entry 2 has more than 256"):
        get_settings()
    monkeypatch.setenv("WORKFLOW_STATE_ALLOWED_DEFINITIONS", "crm.*, mail.send")
    assert get_settings().allowed_definitions == ["crm.*", "mail.send"]
