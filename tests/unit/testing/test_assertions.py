import pytest

from workflow_state.testing import assertions

AT = "2026-01-01T00:00:00+00:00"
FAILURE = {"category": "validation_failed", "message": "answered 422", "code": "status_422", "statusCode": 422}
STATE = {
    "id": "e-1",
    "planId": "p-1",
    "status": "failed",
    "startedAt": AT,
    "completedAt": AT,
    "actionStates": {
        "customer": {
            "actionId": "customer",
            "status": "completed",
            "attempts": 1,
            "result": {"status": "success", "output": {"name": "Ada"}},
        },
        "greet": {
            "actionId": "greet",
            "status": "failed",
            "attempts": 1,
            "result": {"status": "failure", "error": FAILURE},
            "httpTrace": [
                {
                    "timestamp": AT,
                    "request": {"method": "POST", "url": "https://mail.example/", "headers": {}, "body": {"to": "a"}},
                    "response": {"status": 422, "headers": {}, "body": {"error": "\x1b[2J"}, "duration": 3},
                }
            ],
        },
        "note": {
            "actionId": "note",
            "status": "skipped",
            "attempts": 0,
            "result": {"status": "skipped", "reason": "greet failed"},
        },
    },
    "error": {**FAILURE, "context": {"actionId": "greet"}},
    "metrics": {"totalActions": 3, "completedActions": 1, "failedActions": 1, "skippedActions": 1},
    "version": 9,
}
COMPLETED = {**STATE, "status": "completed", "error": None}


def test_what_is_as_expected_is_returned():
    assert assertions.assert_completed(COMPLETED).id == "e-1"
    assert assertions.assert_cancelled({**STATE, "status": "cancelled"}).id == "e-1"
    assert assertions.output_of(STATE, "customer") == {"name": "Ada"}
    assert assertions.error_of(STATE, "greet").status_code == 422
    assert assertions.assert_skipped(STATE, "note") == "greet failed"
    assert assertions.assert_failed(STATE).context == {"actionId": "greet"}
    assert assertions.assert_failed(STATE, "greet", category="validation_failed", code="status_422")


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (lambda: assertions.assert_completed(STATE), "the execution is failed, not completed"),
        (lambda: assertions.assert_cancelled(STATE), "the execution is failed, not cancelled"),
        (lambda: assertions.assert_failed(COMPLETED), "the execution is completed, not failed"),
        (lambda: assertions.assert_failed(STATE, "customer"), "customer has no error: it is completed"),
        (lambda: assertions.assert_failed(STATE, category="auth_invalid"), "validation_failed, not auth_invalid"),
        (lambda: assertions.assert_failed(STATE, code="x"), "status_422, not x"),
        (lambda: assertions.output_of(STATE, "greet"), "greet has no output: it is failed"),
        (lambda: assertions.output_of(STATE, "gret"), "no action 'gret'; it has customer, greet, note"),
        (lambda: assertions.assert_skipped(STATE, "greet"), "greet is failed, not skipped"),
    ],
)
def test_what_is_not_as_expected_shows_the_whole_execution(check, told):
    with pytest.raises(AssertionError) as failure:
        check()
    first, _, shown = str(failure.value).partition("\n\n")
    assert told in first
    assert "greet     failed: answered 422" in shown
    assert 'sent: {"to": "a"}' in shown


def test_what_a_server_sent_reaches_no_terminal_as_it_is():
    assert "\x1b" not in assertions.describe_state(STATE)


def test_an_expected_outcome_that_did_not_come_true_is_shown():
    failed = [{"name": "all told", "passed": False, "actual": 1, "message": "it is 1, not 2"}]
    assert "all told: it is 1, not 2" in assertions.describe_state({**STATE, "validations": failed})
