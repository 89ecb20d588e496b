"""Log lines of an execution: one JSON object a line, with the ids that it is about."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from workflow_state.settings import get_settings

_LOGGER_NAME = "workflow_state.log"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class WorkflowLogger:
    """Write log lines and metrics about one execution, as JSON objects on standard error.

        log = WorkflowLogger(execution_id=execution_id)
        log.child(action_id="pay").warn("the card was refused", code=402)

    Each line has `timestamp` (ISO 8601, UTC), `level`, the context and what the call adds. Use it in your own code
    beside the workers, whose lines have this form. The context and the data are written as they are given, so give no
    secrets. WORKFLOW_STATE_LOG_LEVEL is the lowest level that is written. An instance may be shared by threads.
    """

    def __init__(self, **context: Any) -> None:
        self.context = {name: value for name, value in context.items() if value is not None}

    def child(self, **context: Any) -> "WorkflowLogger":
        """Return a logger with more context; this one stays as it is."""
        return WorkflowLogger(**{**self.context, **context})

    def info(self, message: str, **data: Any) -> None:
        """Write a line of level info."""
        self._write("info", message=message, **data)

    def warn(self, message: str, **data: Any) -> None:
        """Write a line of level warn."""
        self._write("warn", message=message, **data)

    def error(self, message: str, **data: Any) -> None:
        """Write a line of level error."""
        self._write("error", message=message, **data)

    def metric(self, name: str, value: float, **tags: Any) -> None:
        """Write a measurement: a line of level info with `metric`, `value` and the tags."""
        self._write("info", metric=name, value=value, **tags)

    def _write(self, level: str, **data: Any) -> None:
        line = {"timestamp": datetime.now(UTC).isoformat(), "level": level, **self.context, **data}
        # ensure_ascii also keeps lone surrogates and terminal control characters from the stream.
        _line_logger().log(_LEVELS[level], json.dumps(line, default=str, ensure_ascii=True))


def _line_logger() -> logging.Logger:
    logger = logging.getLogger(_LOGGER_NAME)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(_LEVELS[get_settings().log_level])
        logger.propagate = False
    return logger
