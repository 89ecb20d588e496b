"""What the exit code of the command says, beside 0 for success and 3 for an execution that was cancelled."""

from typing import Final

REDIS_ERROR: Final = 1
USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130
