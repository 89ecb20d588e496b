"""What a browser is told of an execution."""

from datetime import UTC, datetime, timedelta

import pytest

from workflow_state.schema import ExecutionState
from workflow_state.web.overview import graph_without_plan, take_snapshot
from workflow_state.web.server import listens_on_loopback

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT_MS = 1767323045000


def execution(actions, status="running", confirmations=(), **fields):
    """Return a state with these actions (JSON data by id)."""
    return ExecutionState.model_validate(
        {
            "id": "x",
            "planId": "p",
            "status": status,
            "startedAt": AT,
            "actionStates": {name: {"actionId": name, **data} for name, data in actions.items()},
            "confirmations": [{"requestedAt": AT, **item} for item in confirmations],
            "metrics": {"totalActions": 0, "completedActions": 0, "failedActions": 0, "skippedActions": 0},
            "version": 3,
            **fields,
        }
    )


def brief(data, **fields):
    """Return the short form of one action `a`."""
    return take_snapshot(execution({"a": data}, **fields), cancelling=False).actions["a"]


def success(**fields):
    return {"status": "completed", "attempts": 1, "result": {"status": "success", "output": "o", **fields}}


def test_the_short_form_of_an_action_has_no_data_of_it():
    """Its state, attempts and times, whatever its output and trace."""
    assert brief({"status": "pending"}) == {"status": "pending"}
    assert brief({**success(), "startedAt": AT, "duration": 12}) == {
        "status": "completed",
        "attempts": 1,
        "startedAt": AT_MS,
        "duration": 12,
    }


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"assumed": True}, "assumed"),
        ({"usedFallback": True}, "fallback"),
        ({"alternativeActionId": "b"}, "alternative"),
    ],
)
def test_an_output_that_is_not_the_actions_own_is_noted(fields, note):
    """What was assumed, the fallback's, the alternative's."""
    assert brief(success(**fields))["note"] == note


def test_what_runs_may_wait_for_its_next_attempt():
    """With the time of that."""
    again = brief({"status": "running", "attempts": 1, "nextAttemptAt": AT + timedelta(seconds=2)})
    assert (again["status"], again["nextAttemptAt"]) == ("retrying", AT_MS + 2000)


def test_a_list_is_counted():
    """By the states of its elements."""
    elements = [
        {"index": index, "status": status} for index, status in enumerate(["completed", "running", "completed"])
    ]
    assert brief({"status": "running", "elements": elements})["elements"] == {"completed": 2, "running": 1}


def test_an_open_question_makes_an_action_wait():
    """With the digest of what would be sent; elements ask for their list; what was answered asks no more."""
    actions = {name: {"status": "running", "attempts": 1} for name in ("ask", "each", "asked")}
    confirmations = [
        {"actionId": "ask", "digest": "1"},
        {"actionId": "each[0]", "digest": "2", "confirmed": True},
        {"actionId": "each[1]", "digest": "3"},
        {"actionId": "asked", "digest": "4", "confirmed": True},
    ]
    shown = take_snapshot(
        execution(actions, status="paused_for_confirmation", confirmations=confirmations), cancelling=False
    ).actions
    assert (shown["ask"]["status"], shown["ask"]["asks"]) == ("waiting", {"ask": "1"})
    assert shown["each"]["asks"] == {"each[1]": "3"}
    assert shown["asked"]["status"] == "running"


def test_a_question_that_was_never_answered_is_no_question_after_the_end():
    """A cancelled execution asks nobody."""
    state = execution({"ask": {"status": "skipped"}}, status="cancelled", confirmations=[{"actionId": "ask"}])
    assert "asks" not in take_snapshot(state, cancelling=True).actions["ask"]
    assert "cancelling" not in take_snapshot(state, cancelling=True).head


def test_only_what_has_changed_is_sent_again():
    """Between two moments; the whole's own part is always there."""
    before = take_snapshot(execution({"a": {"status": "pending"}, "b": {"status": "pending"}}), cancelling=False)
    after = take_snapshot(execution({"a": success(), "b": {"status": "pending"}}), cancelling=True)
    change = after.since(before)
    assert set(change["actions"]) == {"a"}
    assert (change["cancelling"], change["version"]) == (True, 3)
    assert set(after.everything()["actions"]) == {"a", "b"}
    assert before == take_snapshot(
        execution({"a": {"status": "pending"}, "b": {"status": "pending"}}), cancelling=False
    )


def test_an_execution_without_a_plan_has_a_graph():
    """Its actions in one level; none where the plan was refused."""
    assert graph_without_plan(execution({"a": success()}))["levels"] == [["a"]]
    assert graph_without_plan(execution({}))["levels"] == []


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),  # noqa: S104 - that is what is looked at
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(host, is_loopback):
    """A name may lead anywhere, and is not looked up."""
    assert listens_on_loopback(host) is is_loopback
