"""URLs of definitions that are taken without asking httpx."""

from hypothesis import given
from hypothesis import strategies as st

from workflow_state.actions.http.url_template import PLAIN_URL
from workflow_state.actions.network.library import httpx


@given(st.from_regex(PLAIN_URL, fullmatch=True))
def test_what_counts_as_a_plain_url_can_be_sent(url):
    """Httpx, which sends it, must agree."""
    assert httpx.URL(url).host


def test_what_httpx_has_to_look_at_is_not_plain():
    """It knows addresses, ports and letters beyond ASCII."""
    assert not any(map(PLAIN_URL.fullmatch, ["http://256.1.1.1/", "http://[::1]/", "http://ü.example/", "http://x:p/"]))
