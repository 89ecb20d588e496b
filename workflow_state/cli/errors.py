"""What the command line says when something goes wrong: one message on standard error, and the exit code.

A message says what to do next, where there is something to do: often that is another command.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

import click
from kombu.exceptions import OperationalError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from workflow_state.cli.help import INTERRUPTED, REDIS_ERROR, USAGE_ERROR
from workflow_state.client.connections import redis_address
from workflow_state.errors import (
    ActionDefinitionError,
    ConfirmationError,
    ExecutionNotFoundError,
    OutcomeUnknownError,
    PlanValidationError,
    StorageError,
    WorkflowStateError,
)
from workflow_state.settings import PREFIX

_UNKNOWN_DEFINITION: Final = "unknown_action_definition"


def guarded(command: Callable[[], int | None]) -> int:
    """Run a command, and return its exit code; what it raises on purpose is told in words."""
    try:
        return command() or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody is left to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (WorkflowStateError, RedisError, OperationalError, OSError) as error:
        click.echo("\n".join([f"error: {_describe(error)}", *_advise(error)]), err=True)
        return REDIS_ERROR if isinstance(error, (RedisError, OperationalError)) else USAGE_ERROR


def _describe(error: Exception) -> str:
    if isinstance(error, (RedisError, OperationalError)):
        return _describe_redis(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def _describe_redis(error: Exception) -> str:
    """Say what is wrong with the server, and at which address; never with its password."""
    address = redis_address()
    match error:
        case BusyLoadingError():
            return f"Redis at {address} is still loading its data; try again in a moment"
        case InvalidResponse():
            return f"what answers at {address} is no Redis: {error}"
        case AuthenticationError() | NoPermissionError():
            return (
                f"Redis at {address} refuses the login: {error} "
                f"Name and password belong in {PREFIX}REDIS_URL: redis://NAME:PASSWORD@HOST:PORT/0"
            )
        case ReadOnlyError():
            return f"Redis at {address} is a read-only replica; name its primary in {PREFIX}REDIS_URL"
        case OutOfMemoryError():
            return f"Redis at {address} has no memory left: {error}"
    return f"Redis can't be reached at {address}: {error}"


def _advise(error: Exception) -> Iterator[str]:
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
        case OutcomeUnknownError():
            pass
        case RedisError() | OperationalError() if _describe_redis(error).startswith("Redis can't be reached"):
            yield (
                f"  start it, or name yours in {PREFIX}REDIS_URL; "
                f"`workflow-state run` without {PREFIX}REDIS_URL brings one of its own"
            )
