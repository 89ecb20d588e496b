"""The `workflow-state` command. `main` runs it; each command's module is imported only when that command is given."""

from workflow_state.cli.start import main

__all__ = ["main"]
