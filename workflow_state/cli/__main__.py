"""`python -m workflow_state.cli`."""

from workflow_state.cli.start import main

main()
