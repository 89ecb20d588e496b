"""References to large values cost memory and time for what is handed on, and not for what is refused."""

import tracemalloc

import pytest

from workflow_state.errors import ReferenceResolutionError
from workflow_state.plans.resolving import MAX_RESOLVED_BYTES, resolve_value

MEGABYTE = 2**20


def results(output):
    return {"l": {"status": "completed", "output": output}}


def peak_bytes(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "output",
    [[0] * 900_000, {"a": [None] * 900_000}, dict.fromkeys(map(str, range(200_000)), 1)],
    ids=["a list", "a list within", "an object"],
)
def test_a_value_that_is_too_large_is_refused_before_it_is_gone_through(output):
    """A list of 900,000 numbers was copied into as many tuples first: 100 MB and a second, for each reference."""

    def resolve():
        with pytest.raises(ReferenceResolutionError, match=f"larger than {MAX_RESOLVED_BYTES} bytes"):
            resolve_value("${l.output}", results(output))

    assert peak_bytes(resolve) < MEGABYTE


def test_copying_many_numbers_takes_the_memory_of_the_copy():
    """What waits to be copied is objects and texts only."""
    output = [1] * 300_000
    assert peak_bytes(lambda: resolve_value("${l.output}", results(output))) < 3 * MEGABYTE


def test_a_copy_keeps_types_order_and_depth():
    """Numbers are copied at once, and what is around them later: nothing of it shows."""
    output = {"z": 1, "a": [1.5, None, "x${y}", {"b": False, "c": [[]]}], "m": {}}
    copied = resolve_value("${l.output}", results(output))
    assert copied == output
    assert list(copied) == ["z", "a", "m"]
    assert list(map(type, copied["a"])) == [float, type(None), str, dict]
    assert copied["a"][3] is not output["a"][3]
