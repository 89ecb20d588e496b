"""The execution state is read off what is stored."""

from datetime import UTC, datetime, timedelta

from workflow_state.rules.states import AttemptHistory, Progress, Record, final_state, finished_state, running_state
from workflow_state.schema import ActionFailure, ActionSkip, ActionSuccess, ErrorDetail, ExecutionStatus, PlannedAction

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def planned(action_id, dependencies=(), **fields):
    return PlannedAction.model_validate(
        {"id": action_id, "actionDefinitionId": "d", "dependencies": list(dependencies), **fields}
    )


def record(*levels, standby=(), started=True, **plan):
    return Record(
        execution_id="e",
        plan={"id": "p", "name": "n", **plan},
        levels=levels,
        standby=standby,
        status=ExecutionStatus.RUNNING,
        submitted_at=START.isoformat(),
        started_at=START.isoformat() if started else None,
        completed_at=None,
    )


def done(action_id, result, attempts=1):
    history = AttemptHistory(START.isoformat(), attempts, ())
    return finished_state(action_id, result, history, now=START + timedelta(milliseconds=250)).to_json_data()


FAILURE = ActionFailure(error=ErrorDetail(category="network_timeout", message="too slow", status_code=408))
SUCCESS = ActionSuccess(output={"n": 1})


def test_actions_are_pending_running_waiting_or_finished():
    """Each from the one thing that is stored about it."""
    levels = [planned(name) for name in ("pending", "running", "waiting", "finished")]
    claim = {"status": "running", "attempt": 2, "startedAt": START.isoformat()}
    state = running_state(
        record(levels),
        {"finished": done("finished", SUCCESS)},
        {"running": Progress(claim), "waiting": Progress({**claim, "nextAttemptAt": START.isoformat()})},
    )
    shown = {name: (item.status, item.attempts, item.next_attempt_at) for name, item in state.action_states.items()}
    assert shown == {
        "pending": ("pending", 0, None),
        "running": ("running", 2, None),
        "waiting": ("running", 2, START),
        "finished": ("completed", 1, None),
    }
    assert state.status == "running"
    assert state.action_states["finished"].duration == 250


def test_the_version_grows_with_each_step_of_an_action():
    """Claimed, waiting, claimed again, finished, ended: each is a larger number than the one before."""
    level = [planned("a")]
    claim = {"status": "running", "attempt": 1, "startedAt": START.isoformat()}
    second = {**claim, "attempt": 2}
    waiting = {**claim, "nextAttemptAt": START.isoformat()}
    states = [
        running_state(record(level, started=False), {}, {}),
        running_state(record(level), {}, {}),
        *(running_state(record(level), {}, {"a": Progress(step)}) for step in (claim, waiting, second)),
        running_state(record(level), {"a": done("a", SUCCESS, attempts=2)}, {}),
        final_state(record(level), {"a": done("a", SUCCESS, attempts=2)}, {}),
    ]
    versions = [state.version for state in states]
    assert versions == sorted(set(versions))
    assert states[0].status == "initializing"


def test_a_failure_skips_what_had_not_run():
    """The error is the failed action's, with its id."""
    state = final_state(record([planned("a")], [planned("b", ["a"])]), {"a": done("a", FAILURE)}, {})
    assert state.status == "failed"
    assert state.error.context == {"actionId": "a"}
    assert state.error.status_code == 408
    assert state.action_states["b"].status == "skipped"
    assert state.action_states["b"].result.blocked_by == "a"
    assert (state.metrics.failed_actions, state.metrics.skipped_actions) == (1, 1)


def test_an_alternative_that_was_not_needed_is_skipped():
    """It is on standby, and blocks nothing."""
    state = final_state(record([planned("a")], standby=[planned("plan_b")]), {"a": done("a", SUCCESS)}, {})
    assert state.status == "completed"
    assert state.action_states["plan_b"].status == "skipped"
    assert state.action_states["plan_b"].result.blocked_by is None


def test_expected_outcomes_decide_over_the_end():
    """One that does not come true fails the plan, with what was found."""
    outcome = {
        "description": "it is one",
        "validations": [
            {"name": "one", "reference": "${a.output.n}", "operator": "equals", "value": 1},
            {"name": "two", "reference": "${a.output.n}", "operator": "equals", "value": 2},
        ],
    }
    state = final_state(record([planned("a")], expectedOutcome=outcome), {"a": done("a", SUCCESS)}, {})
    assert [(item.name, item.passed, item.actual) for item in state.validations] == [
        ("one", True, 1),
        ("two", False, 1),
    ]
    assert state.status == "failed"
    assert state.error.category == "validation_failed"
    assert list(state.error.context) == ["two"]


def test_a_skip_has_no_attempts():
    """Nothing was sent."""
    state = finished_state("a", ActionSkip(reason="no"), AttemptHistory(START.isoformat(), 0, ()), now=START)
    assert (state.status, state.attempts, state.duration) == ("skipped", 0, 0)
