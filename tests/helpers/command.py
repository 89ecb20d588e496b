"""The command line, as a test starts it."""

import sys

# What `run_python` and `start_python` take; they fork it (forked_python.py).
CLI = ["-m", "workflow_state.cli"]
# Where a Python has to be started for it.
COMMAND = [sys.executable, *CLI]
