"""How often somebody may offer a wrong token: a few times in a minute from one address."""

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

MOST_IN_A_MINUTE = 10
"""After so many wrong tokens from one address no token of it is looked at, until a minute has passed."""

_PERIOD_S = 60
_MOST_ADDRESSES = 1_000
_ALL_OTHERS = "all others"


class WrongTokens:
    """Counts the wrong tokens of each address. What it remembers is bounded, however many addresses there are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[str, tuple[float, int]] = {}
        """Address → when the first of its wrong tokens came, and how many have come since."""

    def wait_s(self, address: str) -> int:
        """Return after how many seconds a token of this address is looked at again; 0 where it is now."""
        since_s, count = self._found.get(self._key(address), (0.0, 0))
        left_s = since_s + _PERIOD_S - self._clock()
        return max(1, round(left_s)) if count >= MOST_IN_A_MINUTE and left_s > 0 else 0

    def note(self, address: str) -> None:
        """Count a wrong token of this address."""
        now_s = self._clock()
        self._found = {key: item for key, item in self._found.items() if item[0] + _PERIOD_S > now_s}
        key = self._key(address)
        since_s, count = self._found.get(key, (now_s, 0))
        self._found[key] = (since_s, count + 1)

    def _key(self, address: str) -> str:
        """Return what the address counts as: in IPv6 one person has a whole network of them."""
        try:
            parsed = ip_address(address)
        except ValueError:
            parsed = None
        key = str(IPv6Address(int(parsed) >> 64 << 64)) if isinstance(parsed, IPv6Address) else address
        return key if key in self._found or len(self._found) < _MOST_ADDRESSES else _ALL_OTHERS
