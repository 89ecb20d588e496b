"""OAuth 2 client credentials against a real token server, and one that misbehaves."""

import base64
import json
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.oauth_server import token_server
from helpers.secret_forms import find_traces
from helpers.waiting import in_time, wait_until

from workflow_state.actions import execute
from workflow_state.actions.auth import oauth
from workflow_state.actions.auth.credentials import resolve_grant
from workflow_state.actions.auth.oauth import forget_tokens, obtain_token
from workflow_state.actions.execute import ActionContext, execute_http_action, preview_http_action
from workflow_state.actions.network.client import close_client
from workflow_state.errors import HttpActionError
from workflow_state.schema import ActionDefinition
from workflow_state.settings import get_settings

SECRET = "s3cret/välue+&=1"


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setenv("TEST_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", "loopback")
    get_settings.cache_clear()
    forget_tokens()
    yield
    forget_tokens()
    close_client()
    get_settings.cache_clear()


@pytest.fixture
def server():
    with token_server() as running:
        running.client = ("the client", SECRET)
        yield running


def definition(server, method="GET", timeout=5_000, definition_id="api", **authentication):
    return ActionDefinition.model_validate(
        {
            "id": definition_id,
            "endpoint": {"url": f"{server.url}/api/{{name}}", "method": method, "timeout": timeout},
            "authentication": {
                "type": "oauth2_client_credentials",
                "clientId": "the client",
                "clientSecret": "${env.TEST_CLIENT_SECRET}",
                "tokenUrl": f"{server.url}/token",
                **authentication,
            },
        }
    )


def call(server, name="x", context=None, **fields):
    return execute_http_action(definition(server, **fields), {"name": name}, context)


def failure(server, context=None, **fields):
    with pytest.raises(HttpActionError) as caught:
        call(server, context=context, **fields)
    assert caught.value.__cause__ is None
    return caught.value


def outcome(server, **fields):
    detail = failure(server, **fields).detail
    return detail.category.value, detail.code, detail.retryable


# --- The token


def test_a_token_is_asked_for_as_the_rfc_says_and_used(server):
    """Id and secret are form-encoded inside Basic (RFC 6749, 2.3.1), scopes are one field with spaces."""
    result = call(server, scope=["read", "write:all"])
    [asked] = server.token_requests
    assert (asked["method"], asked["headers"]["content-type"]) == ("POST", "application/x-www-form-urlencoded")
    assert asked["body"] == "grant_type=client_credentials&scope=read+write%3Aall"
    assert base64.b64decode(asked["headers"]["authorization"].removeprefix("Basic ")) == (
        b"the+client:s3cret%2Fv%C3%A4lue%2B%26%3D1"
    )
    assert result.output["headers"]["authorization"] == "Bearer [redacted]"
    assert server.api_requests[0]["headers"]["authorization"] == f"Bearer {server.tokens[0]}"


def test_id_and_secret_can_go_in_the_body(server):
    call(server, tokenEndpointAuthMethod="client_secret_post")
    [asked] = server.token_requests
    assert "authorization" not in asked["headers"]
    assert "client_secret=s3cret%2Fv%C3%A4lue%2B%26%3D1" in asked["body"]


def test_twenty_at_once_ask_for_one_token(server):
    server.delay_s = 0.2
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda number: call(server, str(number)), range(20)))
    assert (len(server.token_requests), len(server.api_requests)) == (1, 20)
    assert sorted(len(result.http_trace) for result in results) == [1] * 19 + [2]


def test_definitions_share_a_token_where_they_ask_for_the_same(server):
    for definition_id in ("one", "two"):
        call(server, definition_id=definition_id)
    assert len(server.token_requests) == 1
    call(server, scope=["more"])
    assert len(server.token_requests) == 2


def test_a_token_of_one_secret_is_not_used_by_another(server, monkeypatch):
    call(server)
    monkeypatch.setenv("TEST_CLIENT_SECRET", "a wrong secret")
    assert outcome(server) == ("auth_invalid", "invalid_client", False)


@pytest.mark.parametrize(
    ("lifetime", "good_for_s"),
    [
        (3600, 3570),
        ("3600", 3570),
        (40, 20),
        (0, 0),
        (-5, 0),
        (None, 270),
        ("soon", 270),
        (True, 270),
        ([], 270),
        (10**300, 24 * 3600 - 30),
    ],
)
def test_a_token_is_used_until_shortly_before_its_end(server, monkeypatch, lifetime, good_for_s):
    """Thirty seconds before, or half its life; five minutes where the server does not say how long it lives."""
    server.lifetime = lifetime
    used = definition(server)
    grant = resolve_grant(used, os.environ)
    token = obtain_token(used, grant, time.monotonic() + 5, [])
    assert round(token.use_until_s - token.asked_at_s) == good_for_s


def test_an_old_token_is_replaced(server):
    server.lifetime = 1
    began_s = time.monotonic()
    call(server)
    call(server)
    # It is used for half of its time. A machine that was busy for longer has asked for another one already.
    assert len(server.token_requests) == 1 or time.monotonic() - began_s > server.lifetime / 2
    server.token_requests.clear()
    wait_until(lambda: call(server) and len(server.token_requests) == 1, "another token is asked for")


# --- A token that is refused


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_revoked_token_is_replaced_within_the_attempt(server, method):
    """A 401 is not processed, so that an unsafe request goes again too; the hook before it is called again."""
    call(server)
    server.revoked.add(server.tokens[0])
    marks = []
    context = ActionContext(execution_id="run", action_id="a", before_send=lambda: marks.append(1))
    result = call(server, method=method, context=context)
    assert [entry.response.status for entry in result.http_trace] == [401, 200, 200]
    assert [entry.to_json_data().get("continued") for entry in result.http_trace] == [True, True, None]
    assert [entry.request.url.rpartition("/")[2] for entry in result.http_trace] == ["x", "token", "x"]
    assert (len(server.token_requests), len(server.api_requests), len(marks)) == (2, 3, 2)
    first, second = server.api_requests[1:]
    assert first["headers"].get("idempotency-key") == second["headers"].get("idempotency-key")


def test_twenty_with_a_revoked_token_ask_for_one_new(server):
    call(server)
    server.revoked.add(server.tokens[0])
    server.delay_s = 0.2
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: call(server, str(number)), range(20)))
    assert len(server.token_requests) == 2
    assert len(server.api_requests) <= 41


def test_credentials_that_were_never_taken_are_invalid_after_one_request(server):
    server.answer_api = lambda _: (401, {}, {})
    assert outcome(server) == ("auth_invalid", "http_401", False)
    assert (len(server.token_requests), len(server.api_requests)) == (1, 1)
    assert outcome(server) == ("auth_invalid", "http_401", False)
    assert (len(server.token_requests), len(server.api_requests)) == (2, 2)


def test_credentials_that_were_taken_before_have_expired(server):
    call(server)
    server.answer_api = lambda _: (401, {}, {})
    error = failure(server, method="POST")
    assert (error.detail.category, error.detail.retryable) == ("auth_expired", False)
    assert "may_be_done" not in str(error.detail.context)
    assert [entry["response"]["status"] for entry in error.http_trace] == [401, 200, 401]
    assert len(server.api_requests) == 3


def test_a_refusal_behind_a_redirect_is_not_repeated(server):
    """What was redirected may have been acted on."""
    call(server)
    answers = {2: (303, {}, {"Location": "/api/elsewhere"}), 3: (401, {}, {})}
    server.answer_api = answers.get
    following = definition(server, method="POST").model_copy(deep=True)
    following.endpoint.follow_redirects = True
    with pytest.raises(HttpActionError) as caught:
        execute_http_action(following, {"name": "x"})
    assert (caught.value.detail.status_code, caught.value.detail.retryable) == (401, False)
    assert (len(server.token_requests), len(server.api_requests)) == (1, 3)
    server.answer_api = lambda _: None
    call(server)
    assert len(server.token_requests) == 2


def follow(server, target, method="GET"):
    """Call an API that has moved to `target`."""
    server.answer_api = lambda _: (
        (307, {}, {"Location": target}) if server.api_requests[-1]["path"] == "/api/x" else None
    )
    following = definition(server, method=method).model_copy(deep=True)
    following.endpoint.follow_redirects = True
    return execute_http_action(following, {"name": "x"})


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_that_is_refused_behind_a_redirect_is_replaced(server, method):
    """A 307 was not processed either. Else a revoked token would be used to its end by all that are redirected."""
    call(server)
    server.revoked.update(server.tokens)
    result = follow(server, "/api/moved", method)
    assert [entry.response.status for entry in result.http_trace] == [307, 401, 200, 307, 200]
    assert len(server.token_requests) == 2
    follow(server, "/api/moved", method)
    assert len(server.token_requests) == 2


def test_a_refusal_by_another_origin_says_nothing_about_the_token(server):
    """It was not sent there: asking for another one would change nothing."""
    with token_server() as other:
        for _ in range(2):
            with pytest.raises(HttpActionError) as caught:
                follow(server, f"{other.url}/api/moved")
            assert caught.value.detail.category == "auth_invalid"
        assert ["authorization" in request["headers"] for request in other.api_requests] == [False, False]
    assert (len(server.token_requests), len(server.api_requests)) == (1, 2)


def test_a_repeat_that_breaks_off_may_have_been_done(server):
    """The first one was refused, the second one was not: for an unsafe request its outcome is what counts."""
    call(server)
    server.revoked.add(server.tokens[0])
    server.answer_api = lambda count: None if count == 2 else (502, {}, {})
    error = failure(server, method="POST")
    assert (error.detail.status_code, error.detail.retryable) == (502, False)


# --- A token server that gives none


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": "invalid_client"}, ("auth_invalid", "invalid_client", False)),
        (400, {"error": "invalid_scope"}, ("auth_invalid", "invalid_scope", False)),
        (400, {"error": "of_its_own"}, ("auth_invalid", "token_refused", False)),
        (400, b"what?", ("auth_invalid", "token_refused", False)),
        (403, b"", ("auth_invalid", "token_refused", False)),
        (404, b"", ("api_endpoint_removed", "token_http_404", False)),
        (500, b"", ("api_unexpected_status", "token_http_500", True)),
        (503, b"", ("api_unexpected_status", "token_http_503", True)),
        (429, b"", ("rate_limit_burst", "token_http_429", True)),
        (302, b"", ("api_unexpected_status", "token_http_302", False)),
        (200, b"no json", ("api_response_malformed", "bad_token_response", False)),
        (200, [], ("api_response_malformed", "bad_token_response", False)),
        (200, {}, ("api_response_malformed", "bad_token_response", False)),
        (200, {"access_token": "two\r\nlines"}, ("api_response_malformed", "bad_token_response", False)),
        (200, {"access_token": ""}, ("api_response_malformed", "bad_token_response", False)),
        (200, {"access_token": "t", "token_type": "mac"}, ("api_response_malformed", "bad_token_response", False)),
        (200, {"error": "invalid_client"}, ("auth_invalid", "invalid_client", False)),
        (200, b"x" * 100_000, ("api_response_malformed", "bad_token_response", False)),
    ],
)
def test_each_way_to_get_no_token_has_its_category(server, status, body, expected):
    """The action was never sent: what may pass is tried again even for an unsafe one."""
    server.answer_token = lambda _: (status, body, {})
    assert outcome(server, method="POST") == expected
    error = failure(server, method="POST")
    assert error.detail.context["tokenUrl"] == f"{server.url}/token"
    # What it says is about the token endpoint, and not about the URL of the action.
    assert "nothing for this" not in error.detail.message
    assert [entry["request"]["url"] for entry in error.http_trace] == [f"{server.url}/token"]
    assert server.api_requests == []


@pytest.mark.parametrize(
    "token_type", [{}, {"token_type": None}, {"token_type": "BEARER"}, {"token_type": "BearerToken"}]
)
def test_a_token_of_the_usual_type_is_used_however_that_is_spelled(server, token_type):
    """Apigee's own spelling is BearerToken."""
    server.tokens.append("a-token-of-the-tests")
    server.answer_token = lambda _: (200, {"access_token": "a-token-of-the-tests", **token_type}, {})
    assert call(server).output["path"] == "/api/x"


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    "answer",
    [{"access_token": "a-token-of-the-tests", "token_type": "mac"}, b'{"access_token": "a-token-of-the-tests"'],
)
def test_a_token_that_can_not_be_used_is_in_nothing_that_is_kept_either(server, status, answer):
    """Nobody knows which of the words of a bad answer is the token."""
    server.answer_token = lambda _: (status, answer, {"X-Was": "a-token-of-the-tests", "Retry-After": "7"})
    error = failure(server)
    assert error.http_trace[0]["response"]["headers"].keys() == {
        "content-length",
        "content-type",
        "date",
        "retry-after",
    }
    assert "a-token-of-the-tests" not in json.dumps([error.detail.to_json_data(), error.http_trace])


def test_retry_after_of_the_token_server_is_passed_on(server):
    server.answer_token = lambda _: (503, b"", {"Retry-After": "7"})
    assert failure(server).detail.retry_after == 7_000


def test_a_token_server_that_hangs_ends_with_the_attempt(server):
    """Both who asks and who waits for the other's answer give up in time; nothing of the action has left."""
    server.delay_s = 3

    def three_at_once():
        server.token_requests.clear()
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(lambda _: failure(server, method="POST", timeout=500), range(3)))

    errors = in_time(1, three_at_once)
    assert {(error.detail.category, error.detail.retryable) for error in errors} == {("network_timeout", True)}
    assert (len(server.token_requests), server.api_requests) == (1, [])


def test_an_attempt_with_more_time_does_not_end_with_the_one_that_it_waits_for(server):
    """It asks itself, and once only: not each time that one with as little time as the first gave up."""
    server.delay_s = 1
    with ThreadPoolExecutor(4) as pool:
        hasty = [pool.submit(failure, server, timeout=400) for _ in range(2)]
        wait_until(lambda: server.token_requests, "the first one asks")
        patient = [pool.submit(call, server, timeout=5_000) for _ in range(2)]
        assert {error.result().detail.category for error in hasty} == {"network_timeout"}
        assert [result.result().output["path"] for result in patient] == ["/api/x"] * 2
    assert len(server.token_requests) == 2


def test_who_waits_for_a_thread_that_is_ended_asks_itself(server, monkeypatch):
    """A revoked task's thread is ended by an exception, in the middle of whatever it does."""
    send, began = oauth._ask, threading.Event()  # noqa: SLF001 - no other place to end the thread at

    def end(*arguments):
        if not began.is_set():
            began.set()
            time.sleep(0.2)
            raise SystemExit
        return send(*arguments)

    monkeypatch.setattr(oauth, "_ask", end)
    with ThreadPoolExecutor(2) as pool:
        ended = pool.submit(call, server)
        assert began.wait(5)
        assert pool.submit(call, server).result().output["path"] == "/api/x"
        assert isinstance(ended.exception(), SystemExit)


def test_the_deadline_covers_the_token_and_the_request(server):
    server.delay_s = 0.4
    server.answer_api = lambda _: time.sleep(0.4)
    assert failure(server, timeout=600).detail.category == "network_timeout"


def test_a_token_server_that_is_not_there_is_tried_again(server):
    unreachable = "http://127.0.0.1:1/token"
    error = failure(server, method="POST", tokenUrl=unreachable)
    assert (error.detail.code, error.detail.retryable) == ("token_connection_refused", True)


def test_the_token_request_goes_through_the_egress_check(server, monkeypatch):
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", "0")
    get_settings.cache_clear()
    assert outcome(server) == ("network_connection_refused", "token_egress_refused", False)
    assert server.token_requests == []


def test_a_failure_is_not_remembered(server):
    server.answer_token = lambda count: (500, b"", {}) if count == 1 else None
    assert outcome(server) == ("api_unexpected_status", "token_http_500", True)
    assert call(server).output["path"] == "/api/x"


def test_inputs_of_which_no_request_can_be_made_cost_no_token(server):
    with pytest.raises(HttpActionError):
        execute_http_action(definition(server), {"nmae": "x"})
    assert server.token_requests == []


def test_the_hook_before_sending_is_for_the_action_alone(server):
    """An unsafe action's mark says that it may have arrived: a worker lost over the token must not leave one."""
    asked = []
    context = ActionContext(
        execution_id="run", action_id="a", before_send=lambda: asked.append(len(server.token_requests))
    )
    server.answer_token = lambda count: (503, b"", {}) if count == 1 else None
    assert failure(server, method="POST", context=context).detail.retryable
    assert asked == []
    call(server, method="POST", context=context)
    assert (asked, len(server.api_requests)) == ([2], 1)


@pytest.mark.parametrize("delay_s", [0, 0.4])
def test_what_is_not_wanted_any_more_after_a_long_wait_is_not_sent(server, delay_s, monkeypatch):
    """A token that came at once needs no question, which costs a look at Redis."""
    if not delay_s:
        # Even at once may take a while on a busy machine.
        monkeypatch.setattr(execute, "_LONG_WAIT_S", 30)
    asked = []
    context = ActionContext(execution_id="run", action_id="a", is_wanted=lambda: bool(asked.append(1)))
    server.delay_s = delay_s
    if delay_s:
        error = failure(server, method="POST", context=context)
        assert (error.detail.category, error.detail.retryable) == ("user_cancelled", False)
    else:
        call(server, method="POST", context=context)
    assert (len(asked), len(server.api_requests)) == ((1, 0) if delay_s else (0, 1))


def test_a_preview_asks_for_no_token(server):
    context = ActionContext(execution_id="run", action_id="a")
    shown = preview_http_action(definition(server, method="POST"), {"name": "x"}, context).request
    assert shown.headers["Authorization".lower()] == "[redacted]"
    assert server.token_requests == []


# --- Secrets


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_neither_secret_nor_token_is_in_anything_that_is_kept(server, caplog, method):
    """Not even where the token server repeats them in its error, or the API in its answer and its headers."""
    caplog.set_level("DEBUG")
    close_client()
    kept = [call(server, tokenEndpointAuthMethod=method).to_json_data()]
    server.revoked.update(server.tokens)
    kept.append(call(server, tokenEndpointAuthMethod=method).to_json_data())
    server.answer_api = lambda _: (401, {"were": server.tokens[1:]}, {"X-Was": server.tokens[-1]})
    errors = [failure(server, tokenEndpointAuthMethod=method)]
    forget_tokens()
    server.client = ("somebody else", "else")
    errors.append(failure(server, tokenEndpointAuthMethod=method))
    assert [error.detail.code for error in errors] == ["http_401", "invalid_client"]
    kept += [[error.detail.to_json_data(), error.http_trace, str(error), repr(error)] for error in errors]
    stores = list(oauth._stores.values())  # noqa: SLF001 - what a debugger or a crash report would show
    pickled = repr([pickle.dumps(error, protocol=0) for error in errors])
    everything = json.dumps(kept, ensure_ascii=False) + caplog.text + repr(stores) + pickled
    sent = json.dumps([server.token_requests, server.api_requests])
    pair = base64.b64encode(b"the+client:s3cret%2Fv%C3%A4lue%2B%26%3D1").decode()
    forms = [SECRET, "s3cret", pair, base64.b64encode(SECRET.encode()).decode(), *server.tokens]
    assert (len(server.tokens), all(token in sent for token in server.tokens)) == (3, True)
    assert [form for form in forms if form in everything] == []


@pytest.mark.parametrize("status", [200, 400, 500])
def test_tokens_in_an_answer_that_gives_none_are_kept_out_of_errors_and_traces(server, status):
    """Of a type that is not Bearer, or beside an error: nobody uses them, and a server may repeat them all the same."""
    tokens = [f"t0ken-{kind}-{'x' * 20}" for kind in ("access", "refresh", "id")]
    said = " ".join([*tokens, *(base64.b64encode(token.encode()).decode() for token in tokens), SECRET])
    answer = dict(zip(("access_token", "refresh_token", "id_token"), tokens, strict=True), token_type="mac")
    if status != 200:
        answer |= {"error": said, "error_description": said}
    server.answer_token = lambda _: (status, answer, {"Date": said, "Retry-After": said, "Location": f"/{said}"})
    with pytest.raises(HttpActionError) as caught:
        execute_http_action(definition(server), {"name": "x"})
    kept = json.dumps([caught.value.detail.to_json_data(), caught.value.http_trace]) + repr(caught.value)
    assert find_traces({"error": kept}, [*tokens, SECRET]) == []


def test_a_token_longer_than_any_header_is_not_used(server):
    """Its forms would be searched for in each answer."""
    server.answer_token = lambda _: (200, {"access_token": "t" * 8_193, "token_type": "Bearer"}, {})
    with pytest.raises(HttpActionError, match="8192 characters"):
        execute_http_action(definition(server), {"name": "x"})
    assert server.api_requests == []


def test_a_redirect_of_the_token_endpoint_is_told_in_a_few_words(server):
    server.answer_token = lambda _: (302, {}, {"Location": "/" + "x" * 5_000})
    with pytest.raises(HttpActionError) as caught:
        execute_http_action(definition(server), {"name": "x"})
    assert len(caught.value.detail.message) < 700
