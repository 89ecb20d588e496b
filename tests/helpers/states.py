"""States of actions and executions, as the views are given them."""

from datetime import UTC, datetime, timedelta

from workflow_state.schema import ExecutionState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = {"startedAt": NOW.isoformat()}


def pending():
    return {"status": "pending"}


def running(attempts=1, **fields):
    return {"status": "running", "attempts": attempts, **STARTED, **fields}


def waiting(attempts, wait_s):
    return running(attempts, nextAttemptAt=(NOW + timedelta(seconds=wait_s)).isoformat(), httpTrace=[traced(503)])


def completed(attempts=1, **result):
    return running(attempts, status="completed", duration=1230, result={"status": "success", "output": 1, **result})


def failed(message="the server answered 500", **fields):
    error = {"category": "api_unexpected_status", "message": message}
    return running(status="failed", duration=12_300, result={"status": "failure", "error": error}, **fields)


def skipped(reason="a failed"):
    return {"status": "skipped", "result": {"status": "skipped", "reason": reason}}


def traced(status=None, error=None):
    answer = {"response": {"status": status, "headers": {}, "duration": 40}} if status else {"error": error}
    request = {"method": "GET", "url": "https://a.example/x", "headers": {}}
    return {"timestamp": NOW.isoformat(), "request": request, **answer}


def execution(status="running", error=None, metrics=(), validations=(), confirmations=(), **action_states):
    counts = {"totalActions": 0, "completedActions": 0, "failedActions": 0, "skippedActions": 0}
    return ExecutionState.model_validate(
        {
            "id": "e",
            "planId": "p",
            "status": status,
            **STARTED,
            "actionStates": {name: {"actionId": name, **fields} for name, fields in action_states.items()},
            "metrics": {**counts, **dict(metrics)},
            "validations": list(validations),
            "confirmations": list(confirmations),
            "error": error,
            "version": 1,
        }
    )


def at(moment_ms):
    return (NOW + timedelta(milliseconds=moment_ms)).isoformat()


def request(moment_ms, duration_ms=None):
    answer = {"error": "timed out"}
    if duration_ms is not None:
        answer = {"response": {"status": 200, "headers": {}, "duration": duration_ms}}
    return {"timestamp": at(moment_ms), "request": {"method": "GET", "url": "https://a", "headers": {}}, **answer}


def ran(begin_ms, end_ms, *trace, status="completed", **fields):
    result = {"status": "success", "output": 1, **fields.pop("result", {})}
    return {
        "status": status,
        "startedAt": at(begin_ms),
        "completedAt": at(end_ms),
        "duration": end_ms - begin_ms,
        "attempts": 1,
        "httpTrace": list(trace),
        "result": result,
        **fields,
    }
