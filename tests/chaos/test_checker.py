"""The checker finds what it is for: each test breaks one invariant in an otherwise sound run."""

import copy
from datetime import UTC, datetime

import pytest
from chaos.harness.checker import Fault, Run, check, table

A, B = "x.a", "x.b"


def at(seconds):
    """Return that time, as states have it."""
    return datetime.fromtimestamp(1_000_000 + seconds, UTC).isoformat()


def entry(name, begins, ends, status=200, key=None):
    """Return an entry of the journal."""
    return {
        "at": 1_000_000 + begins,
        "endedAt": 1_000_000 + ends,
        "path": f"/echo/{name}",
        "status": status,
        "headers": {"idempotency-key": key} if key else {},
    }


def state(status, ended, requests, code=None):
    """Return an action's state."""
    result = {"status": "success", "output": {}}
    if status == "failed":
        result = {"status": "failure", "error": {"code": code}}
    return {"status": status, "completedAt": at(ended), "httpTrace": [{}] * requests, "result": result}


def sound(**fields):
    """Return a run in which `a`, unsafe, is followed by `b`."""
    actions = [
        {"id": "a", "actionDefinitionId": "post", "dependencies": []},
        {"id": "b", "actionDefinitionId": "echo", "dependencies": ["a"]},
    ]
    states = {"a": state("completed", 1.1, 1), "b": state("completed", 3.1, 1)}
    defaults = {
        "plans": {"x": {"actions": actions}},
        "states": {"x": {"status": "completed", "completedAt": at(4), "actionStates": states}},
        "journal": [entry(A, 0, 1), entry(B, 2, 3)],
    }
    return Run(**copy.deepcopy(defaults) | fields)


def worker_killed(seconds):
    return Fault(1_000_000 + seconds, "SIGKILL")


def found(run):
    return "\n".join(check(run).violations)


def test_a_sound_run_has_no_violations():
    """Nor has one without a single fault in its log."""
    report = check(sound())
    assert (report.violations, report.executions, report.actions, report.lost) == ([], 1, 2, 0)


def test_an_execution_that_never_ends_is_lost():
    """So is one that there is no state of."""
    run = sound()
    del run.states["x"]["completedAt"]
    run.states["x"]["status"] = "running"
    assert "it is running still" in found(run)
    assert "there is no state" in found(sound(states={}))


def test_an_execution_that_ends_too_late_is_lost():
    """A minute after the last fault."""
    assert "after the last fault" in found(sound(faults=[worker_killed(-70)]))


def test_a_failed_plan_is_wrong():
    """Unless an unsafe request's outcome is unknown, for which there has to be a fault."""
    run = sound()
    run.states["x"]["status"] = "failed"
    assert "it failed" in found(run)
    run.states["x"]["actionStates"]["a"] = state("failed", 1.1, 0, code="outcome_unknown")
    assert "nothing was done to it" in found(run)
    assert found(Run(run.plans, run.states, run.journal, [worker_killed(0.5)])) == ""


def test_a_completion_without_an_answer_is_wrong():
    """The server knows nothing of it."""
    assert "no request of it was answered with 2xx" in found(sound(journal=[entry(A, 0, 1)]))


def test_a_traced_request_that_never_arrived_is_wrong():
    """Or arrived less often."""
    run = sound()
    run.states["x"]["actionStates"]["a"] = state("completed", 1.1, 2)
    assert "2 traced requests, 1 arrived" in found(run)


@pytest.mark.parametrize(
    ("faults", "is_wrong"), [((), True), ([worker_killed(2.5)], False), ([worker_killed(9)], True)]
)
def test_more_requests_than_the_trace_says_need_a_fault(faults, is_wrong):
    """At the time of the requests."""
    again = [entry(A, 0, 1), entry(B, 2, 2.5, None), entry(B, 2.6, 3)]
    assert ("1 times too often" in found(sound(journal=again, faults=faults))) is is_wrong


def test_an_unsafe_request_that_is_repeated_counts():
    """Whatever was done; but not where the server said that it did nothing."""
    again = [entry(A, 0, 0.4, None), entry(A, 0.5, 1), entry(B, 2, 3)]
    report = check(sound(journal=again, faults=[worker_killed(0.4)]))
    assert report.extra_unsafe == 1
    refused = sound(journal=[entry(A, 0, 0.4, 503), *again[1:]])
    refused.states["x"]["actionStates"]["a"] = state("completed", 1.1, 2)
    assert found(refused) == ""


def test_overlapping_requests_count():
    """Unless a worker was stopped past its lease."""
    again = [entry(A, 0, 1), entry(B, 2, 2.8, None), entry(B, 2.5, 3)]
    faults = [worker_killed(2.5)]
    assert check(sound(journal=again, faults=faults)).overlapping == 1
    assert check(sound(journal=again, faults=faults, may_overlap=True)).overlapping == 0


def test_a_request_before_its_dependency_has_ended_is_wrong():
    """By the server's clock, which is the same."""
    assert "before a had ended" in found(sound(journal=[entry(A, 0, 1), entry(B, 1, 3)]))


def test_a_request_after_the_end_of_its_action_is_wrong():
    """A completed action never runs again."""
    late = [entry(A, 0, 1), entry(B, 2, 3), entry(B, 5, 6)]
    assert "after it had ended" in found(sound(journal=late, faults=[worker_killed(3)]))


def test_another_key_for_the_same_action_is_wrong():
    """The server would take it for another request."""
    again = [entry(A, 0, 1), entry(B, 2, 2.5, None, key="1"), entry(B, 2.6, 3, key="2")]
    assert "different keys" in found(sound(journal=again, faults=[worker_killed(2.5)]))


def test_the_table_has_a_row_for_each_scenario():
    """With the figures of its report."""
    assert "| storm | 1 | 2 | 0 |" in table({"storm": check(sound())})
