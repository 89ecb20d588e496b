"""WorkflowLogger writes one JSON object a line."""

import io
import json
import logging
from datetime import UTC, datetime

import pytest

from workflow_state.logger import WorkflowLogger
from workflow_state.settings import Settings


@pytest.fixture
def stream(monkeypatch):
    """Return what the lines are written to, in place of standard error."""
    stream = io.StringIO()
    logger = logging.getLogger("workflow_state.log")
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(stream)])
    monkeypatch.setattr(logger, "propagate", False)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield stream
    logger.setLevel(level)


@pytest.fixture
def written(stream):
    """Return a function that gives the lines written so far."""
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


def test_no_value_breaks_out_of_its_line(written, stream):
    """Newlines, escape sequences and lone surrogates stay values, in the context and in keys as well."""
    text = '\x1b[31m\r\n{"level": "error"}\u2028\x85\ud800\0'
    WorkflowLogger(plan_id=text).info(text, text=text, **{text: [text]})
    [line] = written()
    assert [line["message"], line["plan_id"], line["text"], line[text]] == [text, text, text, [text]]
    assert stream.getvalue().endswith("}\n")
    assert stream.getvalue()[:-1].isprintable()
    assert stream.getvalue().isascii()


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


def test_each_line_has_its_level_and_its_time(written):
    """The time has its offset."""
    for name, message in {"info": "a", "warn": "b", "error": "c"}.items():
        getattr(WorkflowLogger(), name)(message)
    assert [(line["level"], line["message"]) for line in written()] == [("info", "a"), ("warn", "b"), ("error", "c")]
    assert all(datetime.fromisoformat(line["timestamp"]).utcoffset() is not None for line in written())


def test_the_first_line_sets_the_stream_and_the_level_once(stream, monkeypatch, capsys):
    """Standard error, and WORKFLOW_STATE_LOG_LEVEL."""
    monkeypatch.setattr(logging.getLogger("workflow_state.log"), "handlers", [])
    monkeypatch.setattr("workflow_state.logger.get_settings", lambda: Settings(log_level="error"))
    log = WorkflowLogger()
    log.info("quiet")
    log.error("once")
    log.error("twice")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["once", "twice"]


def test_a_level_below_the_wanted_one_is_not_written(written):
    """The logger of the standard library decides."""
    logging.getLogger("workflow_state.log").setLevel(logging.WARNING)
    quiet_and_loud = WorkflowLogger()
    quiet_and_loud.info("quiet")
    quiet_and_loud.error("loud")
    assert [line["message"] for line in written()] == ["loud"]


def test_the_nearest_context_counts(written):
    """The child's over the parent's, a line's own over both; None takes a name away."""
    parent = WorkflowLogger(execution_id="e", action_id="a")
    parent.child(action_id="b").child(attempt=2).info("x", attempt=3)
    parent.child(action_id=None).info("y")
    first, second = written()
    assert (first["execution_id"], first["action_id"], first["attempt"]) == ("e", "b", 3)
    assert "action_id" not in second


def test_a_value_that_is_no_json_is_written_as_text(written):
    """A log line must not fail the action that it is about."""
    WorkflowLogger().info("x", moment=datetime(2026, 1, 1, tzinfo=UTC), error=ValueError("no"))
    [line] = written()
    assert (line["moment"], line["error"]) == ("2026-01-01 00:00:00+00:00", "no")
