"""What follows a redirect, and what may go along."""

import pytest

from workflow_state.actions.http.redirects import MAX_REDIRECTS, RedirectRefusedError, is_redirect, make_next_request
from workflow_state.actions.network.library import httpx

HEADERS = {
    "Accept": "application/json",
    "User-Agent": "workflow-state",
    "Authorization": "Bearer abc",
    "X-Api-Key": "abc",
    "X-Odd": "abc",
    "Content-Type": "application/json",
    "Idempotency-Key": "run.a",
}


def sent(url="https://a.example/x?q=1", method="GET", content=None):
    return httpx.Request(method, url, headers=HEADERS, content=content)


def follow(location, status=302, request=None, earlier=()):
    return make_next_request([*earlier, request or sent()], status, location)


def test_only_some_statuses_with_a_location_are_redirects():
    assert [status for status in range(100, 600) if is_redirect(status, "/")] == [301, 302, 303, 307, 308]
    assert not is_redirect(302, None)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/y", "https://a.example/y"),
        ("y?z=2#f", "https://a.example/y?z=2"),
        ("?z=2", "https://a.example/x?z=2"),
        ("//b.example/y", "https://b.example/y"),
        ("https://a.example:443/y", "https://a.example/y"),
        ("HTTPS://B.example/é", "https://b.example/%C3%A9"),
    ],
)
def test_a_location_may_be_relative(location, url):
    assert str(follow(location).url) == url


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://a.example/x", "from https to http"),
        ("https://u:p@a.example/y", "user name or password"),
        ("javascript:alert(1)", "no http or https address"),
        ("file:///etc/passwd", "no http or https address"),
        ("https:", "in a circle"),
        ("https://a.example:99999/", "no http or https address"),
        ("https://a.example:0/", "no http or https address"),
        ("https://[", "no http or https address"),
        ("https://%61.example/", "no http or https address"),
        ("http:", "no http or https address"),
        ("\x01", "can't be read"),
        ("/" + "x" * 8_000, "more than 8000 characters"),
        ("", "in a circle"),
        ("/x?q=1#elsewhere", "in a circle"),
    ],
)
def test_a_location_that_is_not_followed_says_why(location, reason):
    with pytest.raises(RedirectRefusedError, match=reason) as caught:
        follow(location)
    assert "p@" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_same_origin_gets_what_the_first_request_had(status):
    following = follow("/y", status)
    assert following.method == "GET"
    assert following.headers["authorization"] == "Bearer abc"
    assert following.headers["x-api-key"] == "abc"
    assert following.headers["host"] == "a.example"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["https://b.example/y", "https://a.example:8443/y", "https://sub.a.example/", "https://a.example.evil/"]
)
def test_another_origin_gets_no_header_that_could_be_a_secret(status, location):
    following = follow(location, status)
    assert {name.lower() for name in following.headers} == {"host", "accept", "user-agent"}
    assert following.headers["host"] == following.url.netloc.decode()


def test_what_was_left_out_does_not_come_back_on_the_way_home():
    abroad = follow("https://b.example/y")
    home = follow("https://a.example/home", request=abroad, earlier=[sent()])
    assert "authorization" not in home.headers
    assert "x-api-key" not in home.headers


def test_an_upgrade_to_https_is_another_origin():
    following = follow("https://a.example/x", request=sent("http://a.example/x"))
    assert "authorization" not in following.headers


@pytest.mark.parametrize("status", [307, 308])
def test_the_method_and_the_body_stay_within_the_origin(status):
    posting = sent(method="POST", content=b"{}")
    following = follow("/y", status, posting)
    assert (following.method, following.content) == ("POST", b"{}")
    assert following.headers["idempotency-key"] == "run.a"
    assert following.headers["content-length"] == "2"
    with pytest.raises(RedirectRefusedError, match="to another origin"):
        follow("https://b.example/y", status, posting)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_request_does_not_become_another_one_in_silence(method):
    for status in (301, 302):
        with pytest.raises(RedirectRefusedError, match=f"after {status} a {method} is a GET for some"):
            follow("/y", status, sent(method=method, content=b"{}"))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_see_other_is_a_get_without_a_body(method):
    following = follow("/result", 303, sent(method=method, content=b"{}"))
    assert (following.method, following.content) == ("GET", b"")
    assert not {"content-type", "content-length", "idempotency-key"}.intersection(following.headers)
    assert following.headers["authorization"] == "Bearer abc"
    abroad = follow("https://b.example/", 303, sent(method=method, content=b"{}"))
    assert (abroad.method, abroad.content, "x-odd" in abroad.headers) == ("GET", b"", False)


def test_five_are_followed_and_a_circle_ends():
    requests = [sent("https://a.example/0")]
    for number in range(1, MAX_REDIRECTS + 1):
        requests.append(make_next_request(requests, 302, f"/{number}"))
    with pytest.raises(RedirectRefusedError, match="one more than the 5"):
        make_next_request(requests, 302, "/6")
    with pytest.raises(RedirectRefusedError, match="circle"):
        make_next_request(requests[:3], 302, "/0")
