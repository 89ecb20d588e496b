"""`python -m workflow_state.cli`."""

from workflow_state.cli.commands import main

main()
