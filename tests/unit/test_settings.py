"""Settings from the environment."""

import base64
import re

import click
import pytest

from workflow_state.cli.commands import commands
from workflow_state.errors import SettingsError
from workflow_state.installation import install_command
from workflow_state.settings import Settings, find_unknown_variables, get_settings


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Read the environment anew, and again after the test."""
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def test_lists_and_defaults(monkeypatch):
    """Paths are joined by colons, hosts by commas."""
    monkeypatch.delenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", raising=False)
    monkeypatch.setenv("WORKFLOW_STATE_ACTIONS", "one:two/three")
    monkeypatch.setenv("WORKFLOW_STATE_ALLOWED_HOSTS", "a.example, b.example")
    settings = get_settings()
    assert [str(path) for path in settings.actions] == ["one", "two/three"]
    assert settings.allowed_hosts == ["a.example", "b.example"]
    assert settings.allow_private_networks is False
    assert settings.visibility_timeout_s == 30


def test_every_wrong_value_is_named_at_once(monkeypatch):
    """One readable error with the variables' names, and without their values: a URL may hold a password."""
    monkeypatch.setenv("WORKFLOW_STATE_REDIS_URL", "http://user:hunter2@x")
    monkeypatch.setenv("WORKFLOW_STATE_RETENTION_S", "soon")
    with pytest.raises(SettingsError) as caught:
        get_settings()
    message = str(caught.value)
    assert "WORKFLOW_STATE_REDIS_URL" in message
    assert "WORKFLOW_STATE_RETENTION_S" in message
    assert "hunter2" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("MAX_ELEMENTS", "1e5", "must be a whole number"),
        ("MAX_STATE_BYTES", "2000", "must be at least 1048576"),
        ("LOG_LEVEL", "loud", "must be 'debug', 'info', 'warn' or 'error'"),
        ("EXPIRE_OUTPUTS", "never", "must be 0 or 1"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(monkeypatch, name, text, said):
    monkeypatch.setenv(f"WORKFLOW_STATE_{name}", text)
    with pytest.raises(SettingsError) as caught:
        get_settings()
    assert str(caught.value) == f"WORKFLOW_STATE_{name}: {said}"


def test_an_empty_variable_is_no_value(monkeypatch):
    """Compose passes empty variables for unset ones."""
    monkeypatch.setenv("WORKFLOW_STATE_RETENTION_S", "")
    assert get_settings().retention_s == Settings.model_fields["retention_s"].default


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("TRUE", True), ("0", False), ("no", False), ("", False), ("Loopback", "loopback")]
)
def test_private_networks_are_refused_allowed_or_only_this_machine(monkeypatch, text, value):
    """Three values, and the common words for two of them."""
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", text)
    assert get_settings().allow_private_networks == value


def test_a_wrong_rule_for_hosts_is_an_error_at_start(monkeypatch):
    """Rather than a list that allows less, or denies less, than its author thinks."""
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", "maybe")
    monkeypatch.setenv("WORKFLOW_STATE_ALLOWED_HOSTS", "a.example,http://u:hunter2@b.example")
    monkeypatch.setenv("WORKFLOW_STATE_DENIED_HOSTS", "10.1.2.3/24")
    with pytest.raises(SettingsError) as caught:
        get_settings()
    message = str(caught.value)
    assert "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS: must be 0, 1 or loopback" in message
    assert "WORKFLOW_STATE_ALLOWED_HOSTS: entry 2 is no host name" in message
    assert "WORKFLOW_STATE_DENIED_HOSTS: entry 1 has address bits beyond its prefix" in message
    assert "hunter2" not in message


def test_keys_are_read_in_either_kind_of_base64(monkeypatch):
    """With commas or spaces between them, and in their order: the first one encrypts."""
    first, second = bytes(range(224, 256)), bytes(32)
    text = f"{base64.b64encode(first).decode()}, {base64.urlsafe_b64encode(second).decode().rstrip('=')}\n"
    monkeypatch.setenv("WORKFLOW_STATE_KEYS", text)
    assert get_settings().keys == [first, second]
    assert str(list(first)) not in repr(get_settings())
    assert repr(first) not in repr(get_settings())


@pytest.mark.parametrize("wrong", ["hunter2", "hunter2!" * 8, "A" * 44, "A" * 42])
def test_a_key_of_another_kind_is_refused_without_being_shown(monkeypatch, wrong):
    """The message says which of them it is, and how to make one."""
    monkeypatch.setenv("WORKFLOW_STATE_KEYS", f"{'A' * 43}=,{wrong}")
    with pytest.raises(SettingsError) as caught:
        get_settings()
    assert str(caught.value) == (
        "WORKFLOW_STATE_KEYS: key 2 is not 32 bytes in base64; `openssl rand -base64 32` makes one"
    )


def test_keys_need_their_package(monkeypatch):
    """It is an extra, and the error has the line that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("WORKFLOW_STATE_KEYS", "A" * 43)
    with pytest.raises(SettingsError, match=f"WORKFLOW_STATE_KEYS: .*{re.escape(install_command('encryption'))}"):
        get_settings()


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("redis://127.0.0.1", "redis://127.0.0.1"),
        ("redis+socket:///run/redis.sock?virtual_host=0", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("rediss://h:6380/1", "rediss://h:6380/1?ssl_cert_reqs=CERT_REQUIRED"),
        ("rediss://h?ssl_ca_certs=/ca.pem", "rediss://h?ssl_ca_certs=/ca.pem&ssl_cert_reqs=CERT_REQUIRED"),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", "rediss://h/0?ssl_cert_reqs=CERT_NONE"),
    ],
)
def test_a_redis_behind_tls_has_to_prove_who_it_is_unless_the_url_says_otherwise(monkeypatch, url, taken):
    """Celery refuses a URL that leaves it open; what is certain is better than a refusal."""
    monkeypatch.setenv("WORKFLOW_STATE_REDIS_URL", url)
    assert get_settings().redis_url == taken


def test_an_unknown_variable_is_told_with_what_was_meant():
    """Its value is not shown: it may be a password."""
    variables = {
        "WORKFLOW_STATE_ACTOINS": "hunter2",
        "workflow_state_redis_ur": "hunter2",
        "WORKFLOW_STATE_ZZZZZZ": "hunter2",
        "WORKFLOW_STATE_EMPTY": "",
        "Workflow_State_Log_Level": "info",
        "WORKFLOW_STATE_WEB_TOKEN": "hunter2",
        "_WORKFLOW_STATE_COMPLETE": "bash_source",
        "HOME": "/",
    }
    assert find_unknown_variables(variables) == [
        "WORKFLOW_STATE_ACTOINS is no setting and changes nothing; did you mean 'WORKFLOW_STATE_ACTIONS'?",
        "WORKFLOW_STATE_ZZZZZZ is no setting and changes nothing",
        "workflow_state_redis_ur is no setting and changes nothing; did you mean 'WORKFLOW_STATE_REDIS_URL'?",
    ]


def test_what_commands_read_by_themselves_is_known():
    """Each option that can be given as a variable."""
    groups = [commands]
    while groups:
        group = groups.pop()
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.resolve_command(context, [name])[1]
            groups += [command] if isinstance(command, click.Group) else []
            variables = {option.envvar: "x" for option in command.params if isinstance(option.envvar, str)}
            assert find_unknown_variables(variables) == []
