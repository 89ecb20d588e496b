"""`workflow-state actions`: showing the action definitions, and making some from an OpenAPI document."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from workflow_state.actions.definitions.catalog import list_action_definitions, load_action_definition
from workflow_state.actions.definitions.yaml import write_definitions
from workflow_state.cli.extras import require_extra
from workflow_state.cli.help import help_end
from workflow_state.cli.options import actions_option, json_option, print_json, use_actions
from workflow_state.views import text as display


@click.group(name="actions", epilog=help_end("actions"))
def actions_group() -> None:
    """Look at the action definitions."""


@actions_group.command(name="list", epilog=help_end("actions list"))
@actions_option
@json_option
def actions_list(actions: Sequence[str], as_json: bool) -> int:  # noqa: FBT001
    """List the action definitions."""
    use_actions(actions)
    definitions = sorted(list_action_definitions(), key=lambda definition: definition.id)
    if as_json:
        print_json([definition.to_json_data() for definition in definitions])
    elif definitions:
        rows = [("ID", "METHOD", "EFFECT", "URL", "NAME")]
        rows += [
            (item.id, item.endpoint.method, str(item.effective_effect), item.endpoint.url, item.name)
            for item in definitions
        ]
        for line in display.aligned(rows):
            click.echo(line)
    else:
        click.echo("no action definitions: name a folder with --actions or WORKFLOW_STATE_ACTIONS")
    return 0


@actions_group.command(name="show", epilog=help_end("actions show"))
@click.argument("definition_id", metavar="ID")
@actions_option
def actions_show(definition_id: str, actions: Sequence[str]) -> int:
    """Show one action definition, as JSON."""
    use_actions(actions)
    print_json(load_action_definition(definition_id).to_json_data())
    return 0


@actions_group.command(name="import", epilog=help_end("actions import"))
@click.argument("document", metavar="OPENAPI", type=click.Path(exists=True, allow_dash=True, dir_okay=False))
@click.option("--server", metavar="URL", help="Where the API is, in place of the document's own servers.")
@click.option("--prefix", default="", metavar="TEXT", help="What each id starts with, `github.` say.")
@click.option("--no-output-schemas", is_flag=True, help="Leave out what the API is said to answer.")
@click.option("--out", type=click.Path(dir_okay=False), help="The YAML file to write. Default: standard output.")
def actions_import(document: str, server: str | None, prefix: str, no_output_schemas: bool, out: str | None) -> int:  # noqa: FBT001
    """Make action definitions of an OpenAPI 3 document (YAML or JSON).

    What has no counterpart is listed on standard error, and so are the environment variables for credentials.
    """
    require_extra("openapi", "importing an OpenAPI document", "openapi_pydantic")
    # The extra is optional: everything else works without it.
    from workflow_state.actions.openapi.document import read_openapi  # noqa: PLC0415
    from workflow_state.actions.openapi.importer import import_openapi  # noqa: PLC0415
    from workflow_state.actions.openapi.report import describe_import, require_some  # noqa: PLC0415

    text = sys.stdin.buffer.read() if document == "-" else Path(document).read_bytes()
    report = import_openapi(read_openapi(text), server=server, prefix=prefix, with_output_schemas=not no_output_schemas)
    require_some(report)
    definitions = write_definitions(report.definitions, f"Imported from the OpenAPI document of {report.title}")
    if out is None:
        click.echo(definitions, nl=False)
    else:
        Path(out).write_text(definitions, encoding="utf-8")
    for line in describe_import(report, os.environ):
        click.echo(line, err=True)
    return 0
