"""How often a wrong token may be offered."""

from workflow_state.web.wrong_tokens import MOST_IN_A_MINUTE, WrongTokens


class Clock:
    """A time that stands still until it is moved."""

    now_s = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def after_wrong(count: int, address: str = "192.0.2.1") -> tuple[WrongTokens, Clock]:
    """Return what has seen so many wrong tokens of an address, and its clock."""
    clock = Clock()
    wrong = WrongTokens(clock)
    for _ in range(count):
        wrong.note(address)
    return wrong, clock


def test_a_few_wrong_tokens_cost_nothing():
    wrong, _ = after_wrong(MOST_IN_A_MINUTE - 1)
    assert wrong.wait_s("192.0.2.1") == 0


def test_after_too_many_the_address_waits_for_the_rest_of_the_minute():
    """Others do not."""
    wrong, clock = after_wrong(MOST_IN_A_MINUTE)
    assert wrong.wait_s("192.0.2.1") == 60
    assert wrong.wait_s("192.0.2.2") == 0
    clock.now_s += 45
    assert wrong.wait_s("192.0.2.1") == 15
    clock.now_s += 15
    assert wrong.wait_s("192.0.2.1") == 0
    wrong.note("192.0.2.1")
    assert wrong.wait_s("192.0.2.1") == 0


def test_a_network_of_ipv6_is_one_address():
    """Who has one of its addresses has all of them."""
    wrong, _ = after_wrong(MOST_IN_A_MINUTE, "2001:db8::1")
    assert wrong.wait_s("2001:db8::ffff:2") == 60
    assert wrong.wait_s("2001:db8:0:1::1") == 0


def test_what_is_remembered_is_bounded():
    """All addresses beyond the first thousand count as one."""
    wrong, _ = after_wrong(0)
    for number in range(1_000 + MOST_IN_A_MINUTE):
        wrong.note(f"address {number}")
    assert wrong.wait_s("another") == 60
    assert wrong.wait_s("address 3") == 0
