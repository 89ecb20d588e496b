"""What each status means, and when the request may be tried again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from helpers.http_calls import definition, failure, outcome

from workflow_state.actions.execute import ActionContext, execute_http_action
from workflow_state.errors import HttpActionError


@pytest.mark.parametrize(
    ("status", "category", "safe", "unsafe"),
    [
        (400, "validation_failed", False, False),
        (401, "auth_invalid", False, False),
        (403, "auth_invalid", False, False),
        (404, "api_endpoint_removed", False, False),
        (408, "network_timeout", True, False),
        (409, "validation_failed", False, False),
        (410, "api_endpoint_removed", False, False),
        (418, "validation_failed", False, False),
        (425, "validation_failed", True, True),
        (429, "rate_limit_burst", True, True),
        (500, "api_unexpected_status", True, False),
        (501, "api_unexpected_status", False, False),
        (502, "api_unexpected_status", True, False),
        (503, "api_unexpected_status", True, True),
        (504, "api_unexpected_status", True, False),
        (599, "api_unexpected_status", False, False),
        (304, "api_unexpected_status", False, False),
    ],
)
def test_each_status_has_its_category_and_its_retry_rule(server, status, category, safe, unsafe):
    server.respond(f"{status} Whatever")
    assert outcome(server) == (category, safe)
    assert outcome(server, method="DELETE") == (category, safe)
    assert outcome(server, method="POST") == (category, unsafe)
    assert outcome(server, method="POST", effect="idempotent") == (category, safe)


def test_the_error_says_which_request_failed_and_how(server):
    server.respond_json({"error": "no such user", "token": "abc"}, "404 Not Found")
    error = failure(server, {"id": 5}, path="/users/{id}")
    detail = error.detail
    assert detail.status_code == 404
    assert detail.code == "http_404"
    assert detail.context["url"] == f"{server.url}/users/5"
    assert detail.context["method"] == "GET"
    assert detail.context["actionDefinitionId"] == "test"
    assert detail.context["response"] == '{"error": "no such user", "token": "[redacted]"}'
    [entry] = error.http_trace
    assert entry["response"]["status"] == 404
    assert entry["error"] == detail.message


def test_not_found_is_told_of_what_was_looked_for(server):
    """Most often one thing is not there, and not the endpoint. The category stays that of the contract."""
    server.respond("404 Not Found")
    by_id = failure(server, {"id": 5}, path="/users/{id}").detail
    assert by_id.category == "api_endpoint_removed"
    assert by_id.message == "the server answered 404 Not Found: there is nothing for this 'id'"
    assert (
        by_id.suggestion
        == "check the value of 'id'; where no value is found, the URL of the action definition is wrong"
    )
    whole = failure(server, path="/users").detail
    assert whole.message == "the server answered 404 Not Found"
    assert whole.suggestion == "check the URL of the action definition"
    server.respond("410 Gone")
    assert "the endpoint was removed" in str(failure(server, {"id": 5}, path="/users/{id}").detail.suggestion)


def test_a_conflict_under_a_key_that_the_server_honours_is_waited_for(server):
    server.respond("409 Conflict")
    keyed = definition(server, method="POST", effect="keyed")
    with pytest.raises(HttpActionError) as caught:
        execute_http_action(keyed, {}, ActionContext(execution_id="run", action_id="a"))
    assert caught.value.detail.retryable


@pytest.mark.parametrize(
    ("retry_after", "category", "retryable", "retry_after_ms"),
    [
        ("7", "rate_limit_burst", True, 7_000),
        ("0", "rate_limit_burst", True, 0),
        ("300", "rate_limit_burst", True, 300_000),
        ("301", "rate_limit_burst", False, 301_000),
        ("3600", "rate_limit_daily", False, 3_600_000),
        ("9" * 5_000, "rate_limit_daily", False, 366 * 24 * 3_600_000),
        ("-5", "rate_limit_burst", True, None),
        ("1.5", "rate_limit_burst", True, 2_000),
        ("²", "rate_limit_burst", True, None),
        ("soon", "rate_limit_burst", True, None),
        ("", "rate_limit_burst", True, None),
    ],
)
def test_retry_after_in_seconds(server, retry_after, category, retryable, retry_after_ms):
    server.respond("429 Too Many Requests", retry_after=retry_after)
    detail = failure(server).detail
    assert (detail.category, detail.retryable, detail.retry_after) == (category, retryable, retry_after_ms)


@pytest.mark.parametrize(("wait_s", "retryable"), [(90, True), (-90, True), (7_200, False)])
def test_retry_after_as_a_date_counts_from_the_servers_clock(server, wait_s, retryable):
    servers_now = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
    date = format_datetime(servers_now, usegmt=True)
    until = format_datetime(servers_now + timedelta(seconds=wait_s), usegmt=True)
    server.respond("503 Service Unavailable", retry_after=until, date=date)
    detail = failure(server).detail
    assert (detail.retryable, detail.retry_after) == (retryable, max(0, wait_s) * 1000)


@pytest.mark.parametrize("location", ["https://u:p@elsewhere.test/?token=x", "http://[", "/relative", "\x01\x02"])
def test_a_redirect_is_not_followed_and_says_where_it_points(server, location):
    server.respond("302 Found", location=location)
    error = failure(server)
    assert error.detail.category == "api_unexpected_status"
    assert "redirects are not followed" in (error.detail.suggestion or "")
    shown = location.replace("u:p", "[redacted]").replace("token=x", "token=[redacted]")
    assert shown in error.detail.message
    assert error.http_trace[0]["response"]["headers"]["location"] == shown
    assert len(server.received) == 1
