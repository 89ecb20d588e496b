"""Where actions may connect to: which hosts, and which addresses. Pure functions.

The address is checked to which a name was resolved, right before it is connected to. So it makes no difference whether
a URL has 127.1, 2130706433 or a name in somebody's DNS. An IPv6 address that carries an IPv4 address to a gateway is
judged by the IPv4 address. `ipaddress.is_global` is not used: it takes NAT64, 6to4 and IPv4-compatible forms of private
addresses, fec0::/10, multicast and a cloud's metadata service for global addresses.

A refusal names the setting that causes it, and nothing else. Plans and servers choose what is connected to. They must
not learn which address a name has in this network, or whether something answers there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

from workflow_state.hosts import NO_HOSTS, HostList, Network, read_host_list
from workflow_state.settings import PREFIX, get_settings

Address = IPv4Address | IPv6Address
Governing = Literal["allow_private_networks", "allowed_hosts", "denied_hosts"]

_PRIVATE_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # unspecified, "this network": connects to this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT (RFC 6598), and a cloud's metadata
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocol assignments, and a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4, deprecated (RFC 7526)
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_PRIVATE_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "::/128",
        "::1/128",
        "64:ff9b:1::/48",  # NAT64 of a local network's own (RFC 8215): where the IPv4 address stands is not known
        "100::/64",  # discard
        "2001::/23",  # IETF protocol assignments; Teredo's part is judged before
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, deprecated and still routed
        "ff00::/8",  # multicast
    )
)
# The metadata services of clouds give credentials to everybody who asks. Some have private addresses, one has a public
# one. Allowing the network around them for its other hosts does not allow them.
_METADATA = frozenset(
    ip_address(address)
    for address in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_ISATAP = 0x5EFE


@dataclass(frozen=True, slots=True)
class EgressRules:
    """What an operator allows. `private_networks` is True, False, or `loopback` for this machine alone."""

    private_networks: bool | Literal["loopback"] = False
    allowed: HostList = NO_HOSTS
    denied: HostList = NO_HOSTS


def get_rules() -> EgressRules:
    """Return this process's rules. Raises SettingsError where the settings are wrong."""
    settings = get_settings()
    return _make_rules(settings.allow_private_networks, tuple(settings.allowed_hosts), tuple(settings.denied_hosts))


@cache
def _make_rules(
    private_networks: bool | Literal["loopback"],  # noqa: FBT001  a setting's value, not a switch
    allowed: tuple[str, ...],
    denied: tuple[str, ...],
) -> EgressRules:
    return EgressRules(private_networks, read_host_list(allowed), read_host_list(denied))


def refuse_host(rules: EgressRules, host: str) -> Governing | None:
    """Return the setting that forbids the host by its name, or None where its addresses decide.

    It is asked before the name is looked up, because a look-up alone can carry data out.
    """
    if rules.denied.has_name(host):
        return "denied_hosts"
    if not rules.allowed or rules.allowed.has_name(host) or rules.allowed.networks:
        return None
    return "allowed_hosts"


def refuse_addresses(rules: EgressRules, host: str, addresses: Iterable[str]) -> Governing | None:
    """Return the setting that forbids one of the host's addresses, or None where all of them are allowed.

    One address that is not allowed forbids all: a name with public and private addresses is an attack.
    """
    is_named = not rules.allowed or rules.allowed.has_name(host)
    try:
        read = [_read_address(address) for address in addresses]
    except ValueError:
        return "allow_private_networks"
    if any(_is_in(form, rules.denied.networks) for address in read for form in _find_forms(address)):
        return "denied_hosts"
    if not is_named and not all(_is_listed(address, rules.allowed.networks) for address in read):
        return "allowed_hosts"
    return None if all(_may_connect(rules, address) for address in read) else "allow_private_networks"


def explain_refusal(governing: Governing) -> tuple[str, str]:
    """Return the message and the suggestion for a refusal. Both may be shown to people outside of the network."""
    variable = f"{PREFIX}{governing.upper()}"
    advice = {
        "allow_private_networks": "private, loopback, link-local and reserved addresses are refused; where the worker "
        f"is started, set {variable}=1 to allow them all or =loopback for the worker's own machine, or list the "
        f"address or network in {PREFIX}ALLOWED_HOSTS, with every other host that actions may reach",
        "allowed_hosts": f"actions may only connect to what {variable} lists; add the host there, where the worker is "
        "started",
        "denied_hosts": f"{variable} lists it, where the worker is started; no other setting can allow it",
    }
    return f"the destination is not allowed ({variable}); nothing was sent there", advice[governing]


def _read_address(text: str) -> Address:
    """Return the address that the kernel connects to, which for ::ffff:127.0.0.1 is 127.0.0.1."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _find_parts(address: Address) -> Sequence[Address]:
    """Return the addresses by which this one is judged: itself, or the IPv4 ones that a gateway takes out of it."""
    if isinstance(address, IPv4Address) or int(address) <= 1:
        return (address,)
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    if address in _NAT64 or address in _COMPATIBLE:
        return (last,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    # ISATAP (RFC 5214) is within any prefix, so that the prefix counts as well.
    return (address, last) if (number >> 32) & 0xFDFFFFFF == _ISATAP else (address,)


def _find_forms(address: Address) -> Sequence[Address]:
    """Return every address that this one may stand for. If one of them is denied, this one is."""
    if address.is_unspecified:
        # The kernel connects 0.0.0.0 and :: to this machine.
        return (address, ip_address("127.0.0.1"), ip_address("::1"))
    return (address, *_find_parts(address))


def _may_connect(rules: EgressRules, address: Address) -> bool:
    if rules.private_networks is True:
        return True
    if rules.private_networks == "loopback" and address.is_loopback:
        return True
    networks = rules.allowed.networks
    return _is_opened(address, networks) or all(
        _is_public(part) or _is_opened(part, networks) for part in _find_parts(address)
    )


def _is_public(address: Address) -> bool:
    if address in _METADATA:
        return False
    if isinstance(address, IPv4Address):
        return not _is_in(address, _PRIVATE_IPV4)
    return address in _GLOBAL_IPV6 and not _is_in(address, _PRIVATE_IPV6)


def _is_opened(address: Address, allowed: Iterable[Network]) -> bool:
    """Return whether an entry of the list allows the private address on purpose.

    It does where it is the address itself, or a network that is private as a whole. 0.0.0.0/0 is not such a network:
    whoever writes that means the hosts of the internet.
    """
    for network in allowed:
        if address in network and (network.num_addresses == 1 or (address not in _METADATA and _is_private(network))):
            return True
    return False


def _is_private(network: Network) -> bool:
    if isinstance(network, IPv4Network):
        return any(network.subnet_of(private) for private in _PRIVATE_IPV4)
    return any(network.subnet_of(private) for private in _PRIVATE_IPV6)


def _is_listed(address: Address, networks: Sequence[Network]) -> bool:
    return _is_in(address, networks) or all(_is_in(part, networks) for part in _find_parts(address))


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
