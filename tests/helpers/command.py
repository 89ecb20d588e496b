"""The command line, as a test starts it."""

import sys

COMMAND = [sys.executable, "-m", "workflow_state.cli"]
