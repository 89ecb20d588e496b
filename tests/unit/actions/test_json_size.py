"""The size of JSON: it is known before its values are made."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_state.actions.http.json_size import MAX_VALUE_BYTES, MAX_VALUES, find_size_problem
from workflow_state.actions.http.response import MalformedResponseError, parse_value

MEGABYTES = 6 * 2**20


def repeated(part: str) -> bytes:
    """Return a list of six megabytes of the part."""
    return ("[" + ",".join([part] * (MEGABYTES // (len(part) + 1))) + "]").encode()


@pytest.mark.parametrize("part", ["[]", "{}", "0", '""', "[0]", '{"":0}', "[[[]]]", '"\\\\"', '{"a":[]}'])
def test_too_many_values_are_refused(part):
    with pytest.raises(MalformedResponseError, match="values") as caught:
        parse_value(repeated(part), "application/json")
    assert caught.value.code == "too_many_values"


def test_values_that_are_refused_are_not_made():
    body = repeated("[]")
    tracemalloc.start()
    try:
        with pytest.raises(MalformedResponseError):
            parse_value(body, "application/json")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The text, and a copy of it.
    assert peak_bytes < 4 * MEGABYTES


def test_too_many_lines_are_refused():
    with pytest.raises(MalformedResponseError, match="more than 1000000 values"):
        parse_value(b"1\n" * (MAX_VALUES + 1), "application/x-ndjson")


def test_objects_that_take_too_much_memory_are_refused():
    # Fewer values than are allowed.
    count = MAX_VALUE_BYTES // 184
    assert count < MAX_VALUES
    with pytest.raises(MalformedResponseError, match="64 MiB"):
        parse_value(("[" + ",".join(["{}"] * count) + "]").encode(), "application/json")


def test_signs_in_texts_are_no_values():
    texts = [",[{:" * 400_000, '\\",[{' * 300_000, "\\" * 300_001]
    assert parse_value(json.dumps(texts).encode(), "application/json") == (texts,)


def test_a_large_page_of_records_is_no_attack():
    records = [{f"field_{number}": number, f"name_{number}": "x" * 8} for number in range(100_000)]
    body = json.dumps(records).encode()
    assert parse_value(body, "application/json") == (records,)


def test_a_million_values_are_read_at_once():
    started = time.process_time()
    body = b"[" + b",".join([b"1"] * (MAX_VALUES - 2)) + b"]"
    parse_value(body, "application/json")
    assert time.process_time() - started < 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


def count(value) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, inner))


@settings(max_examples=50)
@given(VALUES, st.booleans(), st.integers(min_value=1, max_value=8))
def test_no_value_is_missed_and_none_is_counted_more_than_twice(value, ascii_only, limit):
    text = json.dumps(value, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        for part, size in (("MAX_VALUES", limit), ("_PIECE_CHARACTERS", 3)):
            patch.setattr(f"workflow_state.actions.http.json_size.{part}", size)
        is_refused = find_size_problem(text) is not None
    values = count(value)
    if values > limit:
        assert is_refused
    if is_refused:
        assert values * 2 > limit
