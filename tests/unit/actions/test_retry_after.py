"""Retry-After: whatever a server writes into it is read at once."""

import time
from datetime import UTC, datetime

import pytest

from workflow_state.actions.http.failures import parse_retry_after

AT_ONCE_S = 1
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "lines",
    [["0" * 60_000 + "x"], ["1," * 50_000], ["0."] * 20_000, ["Mon, " * 20_000], [" " * 60_000 + "x"]],
    ids=["zeros", "commas", "lines", "days", "blanks"],
)
def test_a_long_header_is_read_at_once(lines):
    """One of these held the interpreter for minutes, and so the worker's lease ran out."""
    started = time.process_time()
    parse_retry_after(lines, "0" * 60_000 + "x", NOW)
    assert time.process_time() - started < AT_ONCE_S


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("0", 0), ("007", 7_000), ("+0.5s", 1_000), ("0.0", 0), ("0" * 100 + "5", 5_000)]
)
def test_zeros_before_a_number_do_not_matter(text, milliseconds):
    assert parse_retry_after([text], None, NOW) == milliseconds
