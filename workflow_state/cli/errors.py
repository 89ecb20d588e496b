"""What the command line says when something goes wrong: one message on standard error, and the exit code.

A message says what to do next, where there is something to do: often that is another command.
"""

import os
import sys
from collections.abc import Iterator
from typing import Final

import click

from workflow_state.cli.exit_codes import REDIS_ERROR, USAGE_ERROR
from workflow_state.errors import (
    ActionDefinitionError,
    BrokerUnavailableError,
    ConfirmationError,
    ExecutionNotFoundError,
    PlanValidationError,
    StorageError,
    WorkflowStateError,
)

_UNKNOWN_DEFINITION: Final = "unknown_action_definition"


def tell(error: Exception) -> int | None:
    """Print what has gone wrong and what to do next, and return the exit code; None for an error of our own making."""
    exit_code = USAGE_ERROR
    if isinstance(error, BrokerUnavailableError) and isinstance(error.__context__, Exception):
        # The command knows which server it asked, and how to start one.
        return tell(error.__context__)
    if isinstance(error, WorkflowStateError):
        lines = [str(error), *_advise(error)]
    elif "redis" in sys.modules and (of_redis := _lines_about_redis(error)):
        lines, exit_code = of_redis, REDIS_ERROR
    elif isinstance(error, OSError):
        lines = [str(error) if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"]
    else:
        return None
    click.echo("\n".join([f"error: {lines[0]}", *lines[1:]]), err=True)
    return exit_code


def _lines_about_redis(error: Exception) -> list[str]:
    """Return what there is to say about an error of Redis; nothing for any other."""
    from workflow_state.cli.redis_errors import (  # noqa: PLC0415 - it loads Celery, which other errors don't need
        REDIS_ERRORS,
        describe_redis_error,
    )

    return describe_redis_error(error) if isinstance(error, REDIS_ERRORS) else []


def _advise(error: WorkflowStateError) -> Iterator[str]:
    """Yield what to do next, where the message itself does not say it."""
    match error:
        case ExecutionNotFoundError() if "workflow-state list" not in str(error):
            yield "  `workflow-state list` shows the executions"
        case ConfirmationError():
            yield "  `workflow-state status ID` shows what waits for an answer"
        case PlanValidationError() if any(problem["code"] == _UNKNOWN_DEFINITION for problem in error.errors):
            yield "  `workflow-state actions list` shows the definitions; --actions PATH names a folder with others"
        case ActionDefinitionError() if "there is no action definition" in str(error):
            yield "  `workflow-state actions list` shows the definitions; --actions PATH names a folder with others"
        case StorageError() if "has no output" in str(error):
            yield "  `workflow-state status ID` shows how each action ended"
