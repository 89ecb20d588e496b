"""Redaction: secrets are found by name and by value, in every form in which they come back."""

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.actions.auth.credentials import resolve_credentials
from workflow_state.actions.http.redaction import (
    is_secret_name,
    map_strings,
    redact_form,
    redact_headers,
    redact_json,
    redact_url,
)
from workflow_state.actions.http.scrubbing import NO_SECRETS as KEEP
from workflow_state.actions.http.scrubbing import make_scrubber
from workflow_state.actions.http.trace import MAX_BODY_CHARACTERS, trace_body, trace_request
from workflow_state.actions.network.library import httpx
from workflow_state.errors import HttpActionError
from workflow_state.schema import ActionDefinition

SECRET = "s3cr&t/+välue=="  # all lower case, so that a lower-cased encoding is its own


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Api-Key",
        "apiKey",
        "api_key",
        "access_token",
        "clientSecret",
        "PASSWORD",
        "db_passwd",
        "X-Auth-Token",
        "privateKey",
        "credentials",
    ],
)
def test_names_of_secrets_are_known(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["Content-Type", "id", "author", "key", "keyboard", "monkey", "user", "Host"])
def test_other_names_are_left_alone(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote(SECRET, safe="").lower(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        json.dumps(SECRET)[1:-1],
    ],
)
def test_a_known_secret_is_replaced_in_every_form(echo):
    scrub = make_scrubber([SECRET])
    assert scrub(f"<{echo}>").startswith("<[redacted]")
    assert "cr&t" not in scrub(f"<{echo}>")


@pytest.mark.parametrize(
    "echo",
    [
        r"ab\/c+d<e&f=\"g'",
        r"ab/c+d\u003ce\u0026f=\"g'",
        r"ab/c\u002Bd\u003Ce\u0026f=\u0022g\u0027",
        "ab/c+d&lt;e&amp;f=&quot;g&#x27;",
        "ab/c+d&lt;e&amp;f=\"g'",
    ],
    ids=["PHP", "Go", ".NET", "attribute", "element"],
)
def test_a_known_secret_is_replaced_as_json_and_html_of_others_write_it(echo):
    """In a text, which nothing parses before it is kept."""
    assert make_scrubber(["ab/c+d<e&f=\"g'"])(f"<{echo}>") == "<[redacted]>"


def test_of_two_secrets_the_longer_one_goes_first():
    assert make_scrubber(["abcd", "abcdefgh"])("abcdefgh abcd") == "[redacted] [redacted]"


def test_short_values_are_no_secrets():
    assert make_scrubber(["a", "", "xyz"])("a xyz") == "a xyz"


@given(st.text(min_size=4, max_size=30), st.text(max_size=10), st.text(max_size=10))
def test_no_known_secret_is_left(secret, before, after):
    assert secret not in make_scrubber([secret])(before + secret + after).replace("[redacted]", "")


def test_properties_of_secret_names_are_masked_at_any_depth():
    value = {"user": "u", "items": [{"apiKey": "k", "Password": ["p"], "token": None, "hasToken": True}]}
    assert redact_json(value, KEEP) == {
        "user": "u",
        "items": [{"apiKey": "[redacted]", "Password": "[redacted]", "token": None, "hasToken": True}],
    }


def test_strings_and_names_are_mapped():
    assert map_strings({"aabc": ["aabc", 1, None]}, make_scrubber(["aabc"])) == {"[redacted]": ["[redacted]", 1, None]}


def test_headers_are_masked_by_name_and_joined():
    headers = [("set-cookie", "a=1"), ("Set-Cookie", "b=2"), ("x", "1"), ("x", "2"), ("link", "https://u:p@h/?token=1")]
    assert redact_headers(headers) == {
        "set-cookie": "[redacted]",
        "Set-Cookie": "[redacted]",
        "x": "1, 2",
        "link": "https://[redacted]@h/?token=[redacted]",
    }


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://h/p?a=1", "https://h/p?a=1"),
        ("https://user:pa@ss@h/p", "https://[redacted]@h/p"),
        ("https://h/p?access_token=abc&x=1#y", "https://h/p?access_token=[redacted]&x=1#y"),
        ("https://h/p?X-Api-Key=abc;password=x", "https://h/p?X-Api-Key=[redacted];password=[redacted]"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_urls_keep_everything_but_secrets(url, redacted):
    assert redact_url(url) == redacted


def test_form_fields_are_masked():
    assert redact_form("user=u&password=p") == "user=u&password=[redacted]"


# --- Traces


def test_a_short_json_body_is_traced_as_json():
    assert trace_body(b'{"a": 1, "token": "t"}', "application/json", KEEP) == {"a": 1, "token": "[redacted]"}


def test_a_long_body_is_cut_with_a_note():
    traced = trace_body(b"x" * 5_000, "text/plain", KEEP)
    assert traced == "x" * MAX_BODY_CHARACTERS + f"… ({5_000 - MAX_BODY_CHARACTERS} more characters)"


def test_a_secret_at_the_cut_is_replaced_whole():
    body = b"x" * (MAX_BODY_CHARACTERS - 5) + b"SECRETSECRET"
    traced = trace_body(body, "text/plain", make_scrubber(["SECRETSECRET"]))
    assert "SECRE" not in str(traced)


def test_a_body_that_is_not_what_it_says_is_traced_as_text_without_secrets():
    assert trace_body(b'{"password": "hunter2", oops', "application/json", KEEP) == '{"password": "[redacted]", oops'


def test_binary_and_huge_bodies_are_not_shown():
    assert trace_body(b"\xff" * 10, "image/png", KEEP) == "[10 bytes of image/png, not shown]"
    assert trace_body(b"[" + b"1," * 40_000 + b"1]", "application/json", KEEP) == (
        "[80003 bytes of application/json, not shown]"
    )


def test_a_traced_request_shows_no_credentials():
    request = httpx.Request(
        "POST",
        "https://h/x?api_key=k1",
        headers={"Authorization": "Bearer abcdef", "X-Trace": "abcdef"},
        json={"secret": "s"},
    )
    traced = trace_request(request, make_scrubber(["abcdef"])).to_json_data()
    assert traced["url"] == "https://h/x?api_key=[redacted]"
    assert traced["headers"]["authorization"] == "[redacted]"
    assert traced["headers"]["x-trace"] == "[redacted]"
    assert traced["body"] == {"secret": "[redacted]"}


# --- Credentials


def definition(authentication: dict[str, Any] | None, **headers: str) -> ActionDefinition:
    endpoint = {"url": "https://h/", "headers": headers}
    return ActionDefinition.model_validate({"id": "d", "endpoint": endpoint, "authentication": authentication})


@pytest.mark.parametrize(
    ("authentication", "header", "value"),
    [
        ({"type": "bearer", "token": "${env.TOKEN}"}, "Authorization", "Bearer t0ken"),
        ({"type": "api_key", "header": "X-Key", "value": "k-${env.TOKEN}"}, "X-Key", "k-t0ken"),
        ({"type": "basic", "username": "u", "password": "${env.TOKEN}"}, "Authorization", "Basic dTp0MGtlbg=="),
        ({"type": "basic", "username": "${env.TOKEN}", "password": ""}, "Authorization", "Basic dDBrZW46"),
    ],
)
def test_credentials_come_from_the_environment(authentication, header, value):
    credentials = resolve_credentials(definition(authentication), {"TOKEN": "t0ken"})
    assert credentials.headers == {header: value}
    scrub = make_scrubber(credentials.secrets)
    assert scrub("t0ken") == "[redacted]"
    assert value.rpartition(" ")[2] not in scrub(value)


def test_headers_of_the_definition_take_values_from_the_environment():
    credentials = resolve_credentials(definition(None, X="a ${env.A}"), {"A": "12345"})
    assert credentials.headers == {"X": "a 12345"}
    assert credentials.secrets == ("12345",)


def test_the_url_of_the_definition_takes_values_from_the_environment():
    """A webhook's secret may be several segments; nothing of a value becomes a placeholder, or another parameter."""
    url = "https://h/hooks/${env.HOOK}/{name}?key=${env.KEY}"
    document = {"id": "d", "endpoint": {"url": url}}
    environment = {"HOOK": "T01/B02/x{y}?z", "KEY": "a/b&admin=1"}
    credentials = resolve_credentials(ActionDefinition.model_validate(document), environment)
    assert credentials.url == "https://h/hooks/T01/B02/x%7By%7D%3Fz/{name}?key=a%2Fb%26admin%3D1"
    scrub = make_scrubber(credentials.secrets)
    assert scrub(credentials.url) == "https://h/hooks/[redacted]/{name}?key=[redacted]"
    assert scrub("T01/B02/x{y}?z a/b&admin=1") == "[redacted] [redacted]"


def test_a_long_segment_of_a_secret_in_the_url_is_one_itself():
    document = {"id": "d", "endpoint": {"url": "https://h/${env.HOOK}"}}
    credentials = resolve_credentials(
        ActionDefinition.model_validate(document), {"HOOK": "team/B02/x3Y-of-24-characters"}
    )
    scrub = make_scrubber(credentials.secrets)
    assert scrub("no hook x3Y-of-24-characters of the team") == "no hook [redacted] of the team"


def test_a_variable_that_no_definition_may_read_is_not_looked_up():
    """A definition that was made in code is not read, and so not refused before."""
    with pytest.raises(HttpActionError) as caught:
        resolve_credentials(definition(None, X="${env.AWS_SECRET_ACCESS_KEY}"), {"AWS_SECRET_ACCESS_KEY": "sesame"})
    assert "belongs to a cloud's SDK" in caught.value.detail.message
    assert not caught.value.detail.retryable


@pytest.mark.parametrize(
    ("authentication", "environment", "said"),
    [
        ({"type": "bearer", "token": "${env.MY_TOKEN}"}, {}, "MY_TOKEN is not set"),
        ({"type": "bearer", "token": "${env.MY_TOKEN}"}, {"MY_TOKEN": ""}, "MY_TOKEN is not set"),
        (
            {"type": "bearer", "token": "${env.MY_TOKEN}"},
            {"MY_TOKEN": "sesame\n"},
            "MY_TOKEN holds a character",
        ),
        (
            {"type": "bearer", "token": "${env.MY_TOKEN}"},
            {"MY_TOKEN": "sesame\udcff"},
            "MY_TOKEN holds a character",
        ),
        ({"type": "basic", "username": "a:${env.MY_TOKEN}", "password": ""}, {"MY_TOKEN": "sesame"}, "colon"),
        (
            {
                "type": "oauth2_client_credentials",
                "clientId": "sesame",
                "clientSecret": "${env.MY_TOKEN}",
                "tokenUrl": "https://h/",
            },
            {},
            "MY_TOKEN is not set",
        ),
    ],
)
def test_credentials_that_are_missing_are_named_and_never_shown(authentication, environment, said):
    with pytest.raises(HttpActionError) as caught:
        resolve_credentials(definition(authentication), environment)
    assert caught.value.detail.category == "auth_invalid"
    assert not caught.value.detail.retryable
    assert said in caught.value.detail.message
    assert "sesame" not in json.dumps(caught.value.detail.to_json_data())
