"""Words for messages: they are found at once, however many names and keys there are."""

import time

from workflow_state.wording import describe, find_near_miss

AT_ONCE_S = 2


def test_the_nearest_of_a_thousand_names_that_are_alike_is_found_at_once():
    """All of them share their letters, so comparing letter by letter took a third of a second for each."""
    known = [f"action_number_{number:04}_of_a_plan_with_very_long_names" for number in range(1_000)]
    started = time.process_time()
    for number in range(0, 1_000, 50):
        wanted = known[number]
        assert find_near_miss(wanted.replace("number", "numbr"), known) == wanted
    assert time.process_time() - started < AT_ONCE_S


def test_what_is_near_to_nothing_has_no_near_miss():
    assert find_near_miss("payment", ["user", "address", "mail"]) is None
    assert find_near_miss("", ["user"]) is None
    assert find_near_miss("user", []) is None


def test_the_first_keys_of_many_are_shown():
    value = {f"key{number:06}": 1 for number in reversed(range(100_000))}
    assert describe(value) == (
        "an object with the keys " + ", ".join(f"key{number:06}" for number in range(10)) + " and 99990 more"
    )
