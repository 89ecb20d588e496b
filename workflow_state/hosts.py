"""Lists of hosts, as WORKFLOW_STATE_ALLOWED_HOSTS and WORKFLOW_STATE_DENIED_HOSTS have them.

An entry is one of

- a host name, `api.example.com`: that host and no other;
- a pattern, `*.example.com`: every host below it at any depth, `example.com` itself not;
- an IPv4 or IPv6 address or network, `203.0.113.7`, `10.1.2.0/24`, `fd00:1::/64`: every host with such an address,
  also one whose name resolves to it;
- `localhost`, which stands for 127.0.0.0/8 and ::1 (RFC 6761).

Names are compared without case and without a dot at the end. A name with letters beyond ASCII is written in the form
that is looked up, `xn--…`. Pure functions.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network

Network = IPv4Network | IPv6Network

_LONGEST_NAME = 253
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# The system's resolver reads 127.1, 2130706433 and 0x7f.1 as addresses, whatever stands in a list of names.
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class HostList:
    """The entries by kind. `suffixes` are patterns without their asterisk: `.example.com`."""

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.suffixes or self.networks)

    def has_name(self, host: str) -> bool:
        """Return whether a name or a pattern of the list fits the host's name in a URL."""
        name = host.lower().removesuffix(".")
        return name in self.names or name.endswith(self.suffixes)


NO_HOSTS = HostList()


def read_host_list(entries: Iterable[str]) -> HostList:
    """Return the entries as a HostList.

    Raises ValueError, which says by its number which entry is wrong, and why. It does not repeat the entry, because
    someone may have put a URL with a password there.
    """
    names: set[str] = set()
    suffixes: list[str] = []
    networks: list[Network] = []
    for number, entry in enumerate(entries, start=1):
        text = entry.strip().lower()
        if text.removesuffix(".") == "localhost":
            networks += _LOOPBACK
        elif network := _read_network(text, number):
            networks.append(network)
        elif text.startswith("*."):
            suffixes.append("." + _read_name(text[2:], number))
        else:
            names.add(_read_name(text, number))
    return HostList(frozenset(names), tuple(suffixes), tuple(networks))


def _read_network(text: str, number: int) -> Network | None:
    address = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        interface = ip_interface(address)
    except ValueError:
        return None
    if interface.ip != interface.network.network_address:
        raise ValueError(f"entry {number} has address bits beyond its prefix; write the network's first address")
    return interface.network


def _read_name(text: str, number: int) -> str:
    name = text.removesuffix(".")
    if _ENDS_IN_A_NUMBER.fullmatch(name):
        raise ValueError(
            f"entry {number} is no complete address; write all four numbers, or the network as 10.1.2.0/24"
        )
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(
            f"entry {number} is no host name, *.pattern, address or network; "
            "scheme, port and path don't belong there, and a name in other letters is written as xn--…"
        )
    return name
