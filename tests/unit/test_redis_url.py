"""What a `sentinel://` URL says, and what is shown of one."""

import pytest

from workflow_state.errors import SettingsError
from workflow_state.redis_url import read_sentinel_url, shown_address
from workflow_state.settings import get_settings

THREE = (("a", 26379), ("b", 26380), ("c", 26379))


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://a,b:26380,c/0?master_name=m",
        "sentinel://a;b:26380;c/0?master_name=m",
        "sentinel://a:26379;sentinel://b:26380;sentinel://c:26379?master_name=m",
        "sentinel://a/0?master=m;sentinel://b:26380/0?master=m;sentinel://c/0?master=m",
        "sentinel://a,sentinel://b:26380,sentinel://c/?service_name=m",
    ],
)
def test_the_hosts_are_separated_as_people_write_them(url):
    """By commas, by semicolons, and each with a scheme of its own, as Celery has it."""
    address = read_sentinel_url(url)
    assert (address.hosts, address.database, address.master_name) == (THREE, 0, "m")
    assert address.celery_url() == "sentinel://a:26379/0;sentinel://b:26380/0;sentinel://c:26379/0"


def test_each_of_celerys_urls_has_the_login_and_the_database():
    """Celery goes to the next one where the first does not answer."""
    address = read_sentinel_url("sentinel://us%3Aer:p%40ss@a,[::1]:1/3?master_name=m")
    assert (address.username, address.password, address.database) == ("us:er", "p@ss", 3)
    assert address.celery_url() == "sentinel://us%3Aer:p%40ss@a:26379/3;sentinel://us%3Aer:p%40ss@[::1]:1/3"


def test_the_sentinels_have_a_login_of_their_own():
    """They are other servers than the data nodes."""
    address = read_sentinel_url("sentinel://:data@a?master_name=m&sentinel_username=watch&sentinel_password=er%21")
    assert (address.username, address.password) == (None, "data")
    assert (address.sentinel_username, address.sentinel_password) == ("watch", "er!")


@pytest.mark.parametrize(
    ("query", "tls", "sentinel_tls"),
    [
        ("", None, None),
        ("ssl=false", None, None),
        ("ssl=true", {"ssl_cert_reqs": "required", "ssl_check_hostname": True}, "same"),
        ("ssl_ca_certs=/ca", {"ssl_ca_certs": "/ca", "ssl_cert_reqs": "required", "ssl_check_hostname": True}, "same"),
        ("ssl=1&ssl_cert_reqs=CERT_NONE", {"ssl_cert_reqs": "none", "ssl_check_hostname": False}, "same"),
        ("ssl=1&sentinel_ssl=0", {"ssl_cert_reqs": "required", "ssl_check_hostname": True}, None),
    ],
)
def test_tls_is_for_both_unless_the_url_says_otherwise(query, tls, sentinel_tls):
    """A certificate counts, as with rediss://."""
    address = read_sentinel_url(f"sentinel://a?master_name=m&{query}")
    assert address.tls == tls
    assert address.sentinel_tls == (tls if sentinel_tls == "same" else sentinel_tls)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sentinel://:hunter2@a/0", "add ?master_name=NAME"),
        ("sentinel://:hunter2@a:99999?master_name=m", "port is not 1 to 65535"),
        ("sentinel://:hunter2@a:0?master_name=m", "port is not 1 to 65535"),
        ("sentinel://:hunter2@a:x?master_name=m", "port is not 1 to 65535"),
        ("sentinel://:hunter2/x@a?master_name=m", "percent-encoded"),
        ("sentinel://:hunter2@?master_name=m", "names no host"),
        ("sentinel://:hunter2@a,,b?master_name=m", "names no host"),
        ("sentinel://:hunter2@a/zero?master_name=m", "the number of a database"),
        ("sentinel://:hunter2@a?master_nam=m", "an option 'master_nam' that is not known"),
        ("sentinel://:hunter2@a?master_name=m&ssl=maybe", "ssl that is not true or false"),
        ("sentinel://:hunter2@a?master_name=m&ssl_cert_reqs=maybe", "ssl_cert_reqs that is not required"),
        ("sentinel://:hunter2@a;sentinel://:hunter3@b?master_name=m", "more than one login"),
        ("sentinel://:hunter2@a?master_name=m&master=n", "more than one master_name"),
        ("sentinel://:hunter2@a;redis://b?master_name=m", "no URL of sentinels"),
        ("sentinel://:hunter2@[a?master_name=m", "no URL"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(monkeypatch, url, said):
    """In one line, with the variable's name."""
    monkeypatch.setenv("WORKFLOW_STATE_REDIS_URL", url)
    get_settings.cache_clear()
    with pytest.raises(SettingsError) as caught:
        get_settings()
    message = str(caught.value)
    assert message.startswith("WORKFLOW_STATE_REDIS_URL: ")
    assert said in message
    assert "hunter" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:pw@h:1/0?x=pw", "redis://u:**@h:1/0"),
        ("redis+socket:///run/r.sock?virtual_host=0", "redis+socket:///run/r.sock"),
        ("sentinel://:pw@a:1/0;sentinel://:pw@b:2/0", "sentinel://:**@a:1/0;sentinel://:**@b:2/0"),
        ("sentinel://:pw@a:1,b:2/0?sentinel_password=pw", "sentinel://:**@a:1,b:2/0"),
    ],
)
def test_an_address_is_shown_without_its_passwords(url, shown):
    """For messages."""
    assert shown_address(url) == shown
