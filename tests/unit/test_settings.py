"""Settings from the environment."""

import pytest

from workflow_state.errors import SettingsError
from workflow_state.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Read the environment anew, and again after the test."""
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def test_lists_and_defaults(monkeypatch):
    """Paths are joined by colons, hosts by commas."""
    monkeypatch.setenv("WORKFLOW_STATE_ACTIONS", "one:two/three")
    monkeypatch.setenv("WORKFLOW_STATE_ALLOWED_HOSTS", "a.example, b.example")
    settings = get_settings()
    assert [str(path) for path in settings.actions] == ["one", "two/three"]
    assert settings.allowed_hosts == ["a.example", "b.example"]
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


def test_an_empty_variable_is_no_value(monkeypatch):
    """Compose passes empty variables for unset ones."""
    monkeypatch.setenv("WORKFLOW_STATE_RETENTION_S", "")
    assert get_settings().retention_s == Settings.model_fields["retention_s"].default
