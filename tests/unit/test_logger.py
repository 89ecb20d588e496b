"""WorkflowLogger writes one JSON object a line."""

import io
import json
import logging

import pytest

from workflow_state.logger import WorkflowLogger


@pytest.fixture
def written(monkeypatch):
    """Return a function that gives the lines written so far."""
    stream = io.StringIO()
    logger = logging.getLogger("workflow_state.log")
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(stream)])
    monkeypatch.setattr(logger, "propagate", False)
    logger.setLevel(logging.INFO)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_carry_the_context(written):
    """A child adds to it, and leaves its parent alone."""
    parent = WorkflowLogger(execution_id="e", plan_id=None)
    parent.child(action_id="a").warn("slow", seconds=3)
    parent.error("done for")
    child, own = written()
    assert (child["level"], child["execution_id"], child["action_id"], child["seconds"]) == ("warn", "e", "a", 3)
    assert own["message"] == "done for"
    assert not {"action_id", "plan_id"} & own.keys()


def test_no_value_breaks_out_of_its_line(written):
    """Newlines, escape sequences and lone surrogates stay values."""
    WorkflowLogger().info("a\nb", text="\x1b[31m \u2028 \ud800")
    assert [line["message"] for line in written()] == ["a\nb"]


def test_a_metric_has_a_name_a_value_and_tags(written):
    """It is a line of level info."""
    WorkflowLogger(execution_id="e").metric("action.duration_ms", 12, status="completed")
    [line] = written()
    assert (line["metric"], line["value"], line["status"], line["level"]) == (
        "action.duration_ms",
        12,
        "completed",
        "info",
    )
