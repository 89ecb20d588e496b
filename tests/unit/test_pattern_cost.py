"""The states of a pattern: repetitions within repetitions multiply, those side by side add up."""

import pytest

from workflow_state.pattern_cost import count_states, is_too_much


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        ("", 1),
        ("abc", 3),
        ("a{3}", 3),
        ("a{2,30}b{40,}", 70),
        ("(?:[ab]{1,400}c){1,20}", 8_020),
        ("((a{5}){5}){5}", 125),
        ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", 36),
        ("[[]{3}[]a]{5}[^]a]{2}", 48),
        (r"\{3}\\{4}\w{2}\p{L}{2}", 87),
        ("(?P<year>[0-9]{4})|(?i:x){2}", 6),
        ("a{,5}{x}", 8),
        ("(((", 1),
        ("a)b{2}", 4),
        ("(?x)a{ 1, 3 }", 20_000),
    ],
)
def test_states_are_counted(pattern, states):
    assert count_states(pattern) == states


def test_a_usual_pattern_fits_a_long_text():
    email = r"^[\w.+-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$"
    assert not is_too_much(500_000, count_states(email))
    assert is_too_much(5_000, count_states("(?:[ab]{1,400}c){1,20}"))
