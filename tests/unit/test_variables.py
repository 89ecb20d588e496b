"""Which environment variables a definition may read."""

import pytest

from workflow_state.errors import SettingsError
from workflow_state.globs import fits
from workflow_state.settings import get_settings
from workflow_state.variables import find_variable_problem


@pytest.mark.parametrize(
    ("name", "patterns", "expected"),
    [
        ("CRM_TOKEN", ["CRM_*"], True),
        ("CRM_", ["CRM_*"], True),
        ("CRM", ["CRM_*"], False),
        ("CRM_TOKEN", ["MAIL_KEY", "CRM_TOKEN"], True),
        ("CRM_TOKEN_2", ["CRM_TOKEN"], False),
        ("crm_token", ["CRM_*"], False),
        ("crm.customer.get", ["*.get"], True),
        ("crm.customer.get", ["crm.*.get"], True),
        ("crm.get", ["crm.*.get"], False),
        ("aba", ["ab*ba"], False),
        ("abXcYd", ["a*c*d"], True),
        ("abd", ["a*c*d"], False),
        ("anything", ["*"], True),
        ("a[1]?", ["a[1]?"], True),
        ("a1x", ["a[1]?"], False),
        ("a", [], False),
    ],
)
def test_an_asterisk_stands_for_any_text_and_nothing_else_does(name, patterns, expected):
    assert fits(name, patterns) is expected


def test_a_pattern_of_many_asterisks_takes_no_time():
    """Each part is looked for once."""
    assert not fits("a" * 100_000, ["*a" * 120 + "b*"])


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("WORKFLOW_STATE_REDIS_URL", "workflow_state itself"),
        ("workflow_state_redis_url", "workflow_state itself"),
        ("CELERY_BROKER_URL", "Celery"),
        ("REDIS_PASSWORD", "Redis"),
        ("AWS_SECRET_ACCESS_KEY", "a cloud's SDK"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "a cloud's SDK"),
        ("AZURE_CLIENT_SECRET", "a cloud's SDK"),
        ("https_proxy", "the network of this process"),
        ("PYTHONPATH", "Python"),
        ("LD_PRELOAD", "the shell or the system"),
        ("PATH", "the shell or the system"),
        ("HOME", "the shell or the system"),
    ],
)
def test_a_variable_by_which_the_process_runs_is_refused_whatever_the_setting_says(name, owner):
    for allowed in ((), ("*",), (name,)):
        problem = find_variable_problem(name, allowed)
        assert problem
        assert f"{name} belongs to {owner}" in problem
        assert "a variable of its own" in problem


def test_without_the_setting_any_other_variable_may_be_read():
    """Definitions of before the setting go on working."""
    for name in ("CRM_TOKEN", "KEY", "USER_NAME", "HOST", "GITHUB_TOKEN", "_A"):
        assert find_variable_problem(name) is None


def test_with_the_setting_only_its_variables_may_be_read():
    allowed = ("CRM_*", "MAIL_KEY")
    assert find_variable_problem("CRM_TOKEN", allowed) is None
    assert find_variable_problem("MAIL_KEY", allowed) is None
    assert find_variable_problem("MAIL_KEY_2", allowed) == (
        "the environment variable MAIL_KEY_2 is not in WORKFLOW_STATE_SECRETS (CRM_*, MAIL_KEY); "
        "add it there, or use one that is"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("CRM_*,s3cret!", "entry 2 is no variable's name"),
        ("CRM TOKEN", "entry 1 is no variable's name"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY belongs to a cloud's SDK"),
    ],
)
def test_a_wrong_entry_is_an_error_at_start(monkeypatch, value, said):
    monkeypatch.setenv("WORKFLOW_STATE_SECRETS", value)
    get_settings.cache_clear()
    try:
        with pytest.raises(SettingsError) as caught:
            get_settings()
    finally:
        get_settings.cache_clear()
    assert f"WORKFLOW_STATE_SECRETS: {said}" in str(caught.value)
    assert "s3cret" not in str(caught.value)
