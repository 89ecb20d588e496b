"""Showing a person on a terminal what an action would send."""

import shutil
import sys
from pathlib import Path

import click

from workflow_state.client.questions import read_long_body
from workflow_state.schema import ConfirmationState
from workflow_state.views.requests import MOST_SHOWN_BYTES, body_text, question

_LEAST_COLUMNS = 20


def show_question(confirmation: ConfirmationState, *, err: bool = False) -> None:
    """Print the whole question. Raises StorageError where its body can't be read: nobody can answer it then."""
    body = None
    if request := confirmation.request:
        place = request.body_location
        is_shown = place is None or place.size <= MOST_SHOWN_BYTES
        body = body_text(request, read_long_body(request)) if is_shown else None
    is_terminal = (sys.stderr if err else sys.stdout).isatty()
    # A terminal that says nothing of its width may be a narrow one.
    width = max(_LEAST_COLUMNS, shutil.get_terminal_size().columns) if is_terminal else None
    for line in question(confirmation, body, width=width):
        click.echo(line, err=err)


def save_body(confirmation: ConfirmationState, file: Path) -> None:
    """Write the body that would be sent into a file, as it is shown; an empty one where there is none."""
    request = confirmation.request
    stored = read_long_body(request) if request else None
    text = body_text(request) if request and stored is None else None
    file.write_bytes((text or "").encode() if stored is None else stored)
