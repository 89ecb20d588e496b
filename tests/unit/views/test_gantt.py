from datetime import timedelta
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from helpers.drawn_plans import texts
from helpers.plans import plan
from helpers.states import NOW, execution, ran, request
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.schema import ExecutionPlan
from workflow_state.views.gantt import clock, draw_gantt, find_ticks
from workflow_state.views.text import plain
from workflow_state.views.timeline import find_timeline

SVG = "{http://www.w3.org/2000/svg}"


def drawn(document, name="a test plan", **states):
    state = execution("completed", **states)
    found = find_timeline(ExecutionPlan.model_validate(document), state, NOW + timedelta(seconds=1))
    return ET.fromstring(draw_gantt(name, state, found))  # noqa: S314 - our own


def items(root):
    return [item.get("aria-label") for item in root.iter() if item.get("role") == "listitem"]


def of_class(root, name):
    return [item for item in root.iter() if name in item.get("class", "").split()]


SKIPPED = {"status": "skipped", "result": {"status": "skipped", "reason": "not needed"}}


def test_each_action_is_an_item_that_says_all_that_its_bar_shows():
    root = drawn(
        plan(a=[], b=["a"], c=["b"]),
        a=ran(0, 400, request(10, 100), request(300, 100), attempts=2),
        b=ran(500, 900, status="failed"),
        c=SKIPPED,
    )
    assert items(root) == [
        "a: completed, began at 0, took 0.40 s, 2 attempts, on the critical path",
        "b: failed, began at 500 ms, took 0.40 s, on the critical path",
        "c: skipped: not needed",
    ]
    assert root.find(f"{SVG}title").text == "a test plan"
    assert root.find(f"{SVG}desc").text.endswith("The end was determined by, in order: a, b.")
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text


def test_bars_are_as_long_as_the_actions_took():
    root = drawn(plan(a=[], b=[]), a=ran(0, 500), b=ran(500, 1000))
    first, second = [bar for bar in of_class(root, "bar") if bar.get("rx")]
    assert float(first.get("width")) == pytest.approx(float(second.get("width")), abs=0.2)
    assert float(first.get("x")) + float(first.get("width")) == pytest.approx(float(second.get("x")), abs=0.2)


def test_the_axis_comes_again_where_there_are_many_rows():
    names = [f"a{number}" for number in range(1000)]
    root = drawn(plan(**{name: [] for name in names}), **dict.fromkeys(names, ran(0, 1000)))
    assert len(items(root)) == 1000
    assert len([tick for tick in of_class(root, "tick") if tick.text == "0"]) == 35


@given(name=texts, reason=texts)
def test_any_text_is_shown_as_it_is(name, reason):
    skipped = {"status": "skipped", "result": {"status": "skipped", "reason": reason}}
    root = drawn(plan(a=[]), name=name, a=skipped)
    assert root.find(f"{SVG}title").text == plain(name)
    assert items(root) == [f"a: skipped: {plain(reason)}"]
    assert f"skipped: {plain(reason)}" in [text.text for text in of_class(root, "note")]


@given(st.floats(1, 10**11))
def test_ticks_are_few_and_even_and_within(end_ms):
    ticks = find_ticks(end_ms)
    assert 1 <= len(ticks) <= 11
    assert ticks[0] == 0
    assert ticks[-1] <= end_ms
    assert len({after - before for before, after in pairwise(ticks)}) <= 1


@pytest.mark.parametrize(
    ("moment_ms", "words"),
    [
        (0, "0"),
        (250, "250 ms"),
        (1500, "1.5 s"),
        (60_000, "1 min"),
        (150_000, "2 min 30 s"),
        (7_200_000, "2 h"),
        (194_400_000, "2 d 6 h"),
    ],
)
def test_moments_are_written_as_people_read_them(moment_ms, words):
    assert clock(moment_ms) == words
