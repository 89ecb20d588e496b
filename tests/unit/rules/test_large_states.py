"""What is done with states that are too large to be handled, or stored, as a whole; and with those cut short."""

import json
from datetime import datetime

from workflow_state.rules.heavy_parts import HeavyParts, lighten, put_marks
from workflow_state.rules.outline import is_outline, outline
from workflow_state.rules.states import Progress, Record, document_version, final_state
from workflow_state.rules.stopping import end_begun_steps
from workflow_state.schema import (
    ActionExecutionState,
    ErrorCategory,
    ErrorDetail,
    ExecutionStatus,
    PlannedAction,
)

AT = "2026-01-01T00:00:00+00:00"
NOW = datetime.fromisoformat(AT)
TRACE = [{"timestamp": AT, "request": {"method": "GET", "url": "http://a/", "headers": {}}}]


def planned(name, **fields):
    return PlannedAction.model_validate({"id": name, "actionDefinitionId": "d", **fields})


def state_of(name, result, **fields):
    """Return the state of a step that has ended, as JSON data."""
    statuses = {"success": "completed", "failure": "failed", "skipped": "skipped"}
    data = {"actionId": name, "status": statuses[result["status"]], "attempts": 1, "result": result, **fields}
    return ActionExecutionState.model_validate(data).to_json_data()


def record_of(*actions, **fields):
    plan = {"id": "p", "name": "p"}
    return Record("e", plan, [list(actions)], [], ExecutionStatus.RUNNING, AT, AT, AT, **fields)


ELEMENTS = [
    {"index": 0, "status": "completed", "attempts": 3, "httpTrace": TRACE},
    {"index": 1, "status": "completed", "attempts": 1},
]
STATES = {
    "a": state_of("a", {"status": "success", "output": {"text": 'with "quotes" and ☃'}}, httpTrace=TRACE),
    "b": state_of("b", {"status": "success", "output": None}),
    "c": state_of("c", {"status": "success", "output": [[1], [2]]}, elements=ELEMENTS, attempts=3),
    "d": state_of("d", {"status": "skipped", "reason": "cancelled", "partialOutput": [1, None]}),
}


def test_a_state_is_the_same_whether_its_large_parts_were_set_aside_or_not():
    """Its text and its version are."""
    actions = [planned(name) for name in STATES]
    whole = final_state(record_of(*actions), STATES, {}, now=NOW)
    parts = HeavyParts()
    light = {name: lighten(state, parts) for name, state in STATES.items()}
    lean = final_state(record_of(*actions), {name: item.data for name, item in light.items()}, {}, now=NOW)
    lean.version += sum(item.element_changes for item in light.values())
    data = lean.to_json_data()
    assert "quotes" not in json.dumps(data)
    for name, item in light.items():
        put_marks(data["actionStates"][name], item.marks)
    assert json.loads(parts.write(data)) == whole.to_json_data()
    assert whole.version == document_version(whole.action_states.values(), [], ExecutionStatus.COMPLETED, {})


def test_a_text_that_looks_like_a_mark_stays_what_it_is():
    """What a server answers can't know the mark of a process that has not begun."""
    parts = HeavyParts()
    mark = parts.set_aside({"secret": 1})
    answer = state_of("a", {"status": "success", "output": f"{'0' * 32}0"})
    light = lighten(answer, parts)
    data = dict(light.data)
    put_marks(data, light.marks)
    assert json.loads(parts.write([data, mark])) == [answer, {"secret": 1}]


def test_an_outline_says_how_it_ended_and_nothing_large():
    """It has failed, with why; the actions keep their statuses and errors."""
    error = {"category": "network_timeout", "code": "timed_out", "message": "m" * 10_000, "context": {"a": "b" * 9_000}}
    states = {**STATES, "e": state_of("e", {"status": "failure", "error": error})}
    whole = final_state(record_of(*(planned(name) for name in states)), states, {})
    short = outline(whole, "OutOfMemoryError: " + "x" * 10_000)
    assert (short.status, short.error.code, is_outline(short), is_outline(whole)) == (
        ExecutionStatus.FAILED,
        "state_not_stored",
        True,
        False,
    )
    assert {name: state.status for name, state in short.action_states.items()} == {
        name: state.status for name, state in whole.action_states.items()
    }
    assert short.action_states["e"].result.error.code == "timed_out"
    assert len(json.dumps(short.to_json_data())) < 3_000
    assert len(json.dumps(outline(whole, "x" * 10_000, with_actions=False).to_json_data())) < 1_000


def test_an_execution_that_is_stopped_tells_what_may_have_been_done():
    """An unsafe request that was marked as sent; a list that was not joined; what had only begun, and what had not."""
    why = ErrorDetail(category=ErrorCategory.STATE_INCONSISTENT, code="workers_lost", message="5 workers were lost")
    actions = [
        planned("done"),
        planned("sent"),
        planned("begun"),
        planned("new"),
        planned("each", forEach="${a.output}"),
    ]
    claim = {"attempt": 1, "startedAt": AT, "status": "running"}
    progress = {
        "sent": Progress({**claim, "sent": True}),
        "begun": Progress(claim),
        "each[0]": Progress(claim),
        "each[2]": Progress({**claim, "sent": True}),
    }
    results = {
        "done": state_of("done", {"status": "success", "output": 1}),
        "each[0]": state_of("each[0]", {"status": "success", "output": 2}),
    }
    record = record_of(*actions, stopped_by=why, cancel_requested_at=AT)
    state = final_state(record, end_begun_steps(record, results, progress), progress)
    assert (state.status, state.error) == (ExecutionStatus.FAILED, why)
    assert {name: found.status.value for name, found in state.action_states.items()} == {
        "done": "completed",
        "sent": "failed",
        "begun": "skipped",
        "new": "skipped",
        "each": "failed",
    }
    assert state.action_states["sent"].result.error.code == "outcome_unknown"
    assert [element.status.value for element in state.action_states["each"].elements] == [
        "completed",
        "skipped",
        "failed",
    ]
    assert state.action_states["each"].result.error.code == "outcome_unknown"
