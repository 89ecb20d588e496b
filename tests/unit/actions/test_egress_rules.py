"""Which hosts and addresses actions may connect to."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.actions.network.egress import EgressRules, explain_refusal, refuse_addresses, refuse_host
from workflow_state.hosts import read_host_list

REFUSED = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::ffff:0:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001:0:7f00:1::",
    "2001:0:808:808:0:0:f5ff:fffe",
    "2001:2::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "fe80::5efe:8.8.8.8",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "no address",
    "",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::8.8.8.8",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:0:808:808:0:0:f7f7:f7f7",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2002:808:808::1",
    "2606:4700::1111",
    "2606:4700::5efe:8.8.8.8",
    "2a00:1450:4001::1",
]


def rules(*, private=False, allowed=(), denied=()):
    return EgressRules(private, read_host_list(allowed), read_host_list(denied))


def judge(given_rules, host, *addresses):
    return refuse_host(given_rules, host) or refuse_addresses(given_rules, host, addresses)


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused_until_it_is_allowed(address):
    assert judge(rules(), "host.example", address) == "allow_private_networks"
    if address[:1].isalnum() and "no" not in address:
        assert judge(rules(private=True), "host.example", address) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address):
    assert judge(rules(), "host.example", address) is None


@pytest.mark.parametrize("private_first", [True, False])
def test_one_refused_address_among_public_ones_forbids_all(private_first):
    answers = ["8.8.8.8", "10.0.0.1", "1.1.1.1"]
    assert judge(rules(), "h.example", *(answers[::-1] if private_first else answers)) == "allow_private_networks"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_alone_can_be_allowed(address):
    assert judge(rules(private="loopback"), "localhost", address) is None


@pytest.mark.parametrize("address", sorted(set(REFUSED) - {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"}))
def test_loopback_alone_opens_nothing_else(address):
    assert judge(rules(private="loopback"), "h.example", address) == "allow_private_networks"


@given(st.integers(0, 2**32 - 1))
def test_every_form_of_an_ipv4_address_is_judged_alike(number):
    address = ip_address(number)
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    inverted = f"{(number ^ 0xFFFFFFFF) >> 16:x}:{(number ^ 0xFFFFFFFF) & 0xFFFF:x}"
    verdict = judge(rules(), "h.example", str(address))
    forms = [f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{high}:{low}::1", f"2001:0:808:808:0:0:{inverted}"]
    forms += [f"2001:0:{high}:{low}:0:0:f7f7:f7f7", *([f"::{address}"] if number > 1 else [])]
    assert {judge(rules(), "h.example", form) for form in forms} == {verdict}
    # No form gets round the list of what is denied either.
    denied = rules(private=True, denied=[str(address)])
    assert {judge(denied, "h.example", form) for form in forms} == {"denied_hosts"}


@pytest.mark.parametrize(
    ("entry", "host", "is_allowed"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.Example.COM.", True),
        ("API.example.com.", "api.example.com", True),
        ("api.example.com", "x.api.example.com", False),
        ("api.example.com", "api.example.com.evil.test", False),
        ("api.example.com", "evil-api.example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("8.8.8.8", "8.8.8.8", True),
        ("8.8.8.0/24", "dns.example", True),
        ("8.8.4.0/24", "dns.example", False),
        ("0.0.0.0/0", "dns.example", True),
        ("::/0", "dns.example", False),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
    ],
)
def test_a_list_of_hosts_allows_what_it_names_and_nothing_else(entry, host, is_allowed):
    assert judge(rules(allowed=[entry]), host, "8.8.8.8") == (None if is_allowed else "allowed_hosts")
    assert judge(rules(denied=[entry]), host, "8.8.8.8") == ("denied_hosts" if is_allowed else None)


def test_each_of_several_addresses_must_be_on_the_list():
    listed = rules(allowed=["8.8.8.0/24"])
    assert judge(listed, "h.example", "8.8.8.8", "8.8.8.9") is None
    assert judge(listed, "h.example", "8.8.8.8", "1.1.1.1") == "allowed_hosts"


def test_a_list_of_names_refuses_before_anything_is_looked_up():
    assert refuse_host(rules(allowed=["a.example"]), "b.example") == "allowed_hosts"
    assert refuse_host(rules(denied=["b.example"]), "b.example") == "denied_hosts"
    assert refuse_host(rules(allowed=["a.example", "10.0.0.0/8"]), "b.example") is None


def test_a_name_on_the_list_opens_no_private_address():
    """Whoever answers for the name in DNS decides what it resolves to."""
    assert judge(rules(allowed=["a.example"]), "a.example", "10.1.2.3") == "allow_private_networks"


@pytest.mark.parametrize(
    ("entry", "address", "is_open"),
    [
        ("10.1.2.0/24", "10.1.2.3", True),
        ("10.1.2.0/24", "::ffff:10.1.2.3", True),
        ("10.1.2.0/24", "64:ff9b::10.1.2.3", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("fd00:1::/32", "fd00:1::1", True),
        ("[fd00:1::1]", "fd00:1::1", True),
        # Not private as a whole: whoever writes it does not mean the private ones.
        ("0.0.0.0/0", "10.1.2.3", False),
        ("::/0", "fd00:1::1", False),
        ("8.0.0.0/6", "10.1.2.3", False),
        # A metadata service is opened by its own address only.
        ("169.254.0.0/16", "169.254.1.1", True),
        ("169.254.0.0/16", "169.254.169.254", False),
        ("168.63.0.0/16", "168.63.129.16", False),
        ("fd00::/8", "fd00:ec2::254", False),
        ("100.64.0.0/10", "100.100.100.200", False),
        ("169.254.169.254", "169.254.169.254", True),
        ("168.63.129.16/32", "168.63.129.16", True),
    ],
)
def test_a_private_address_is_opened_by_an_entry_that_names_it_on_purpose(entry, address, is_open):
    assert judge(rules(allowed=[entry]), "h.example", address) == (None if is_open else "allow_private_networks")


def test_what_is_denied_is_denied_whatever_else_allows_it():
    everything = rules(private=True, allowed=["10.0.0.0/8", "a.example"], denied=["10.1.0.0/16", "a.example"])
    assert judge(everything, "b.example", "10.1.2.3") == "denied_hosts"
    assert judge(everything, "a.example", "10.2.2.3") == "denied_hosts"
    assert judge(everything, "b.example", "10.2.2.3") is None
    assert judge(everything, "b.example", "10.2.2.3", "10.1.2.3") == "denied_hosts"
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"):  # noqa: S104
        assert judge(rules(private=True, denied=["localhost"]), "h.example", address) == "denied_hosts"


@pytest.mark.parametrize("governing", ["allow_private_networks", "allowed_hosts", "denied_hosts"])
def test_a_refusal_names_the_setting(governing):
    message, suggestion = explain_refusal(governing)
    assert f"WORKFLOW_STATE_{governing.upper()}" in message
    assert f"WORKFLOW_STATE_{governing.upper()}" in suggestion


@pytest.mark.parametrize(
    "entry",
    [
        "https://user:hunter2@a.example",
        "a.example:443",
        "a.example/x",
        "*",
        "a.*.example",
        "*a.example",
        "127.1",
        "2130706433",
        "0x7f000001",
        "10.1.2.3/24",
        "10.0.0.0/33",
        "bücher.example",
        "a b",
        "-a.example",
        "",
        ".",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example",
        ".example.com",
        "*.",
        "[::1",
        "*.1.2",
        "a..b",
    ],
)
def test_an_entry_that_can_not_be_meant_is_refused_by_its_number(entry):
    with pytest.raises(ValueError, match="entry 2 ") as caught:
        read_host_list(["a.example", entry])
    assert "hunter2" not in str(caught.value)
