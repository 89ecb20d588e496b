"""The `workflow-state` command."""

from workflow_state.cli.commands import main

__all__ = ["main"]
