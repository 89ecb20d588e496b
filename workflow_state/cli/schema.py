"""`workflow-state schema`: printing the JSON Schema of a plan, for editors and for language models that write plans."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from workflow_state.cli.help import help_end
from workflow_state.cli.options import actions_option, use_actions
from workflow_state.plans.json_schema import read_strict_plan
from workflow_state.validation import json_schema_of_plans


@click.command(epilog=help_end("schema"))
@actions_option
@click.option("--strict", is_flag=True, help="Only what the structured outputs of OpenAI and Anthropic both take.")
@click.option(
    "--read",
    "answer_file",
    metavar="ANSWER.json",
    type=click.Path(exists=True, allow_dash=True, dir_okay=False),
    help="Print the plan in a model's answer to the strict schema instead.",
)
@click.option("--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write it into this file.")
def schema(actions: Sequence[str], strict: bool, answer_file: str | None, out: Path | None) -> int:  # noqa: FBT001 - click
    """Print the JSON Schema of a plan.

    An actionDefinitionId may be one of the definitions that are configured, where there are any. In the strict schema
    every property is required, null stands for what is left out, and any JSON is JSON text; --read makes a plan of it.
    """
    use_actions(actions)
    if answer_file is not None:
        answer = sys.stdin.buffer.read() if answer_file == "-" else Path(answer_file).read_bytes()
        document = read_strict_plan(answer)
        if not isinstance(document, dict):
            raise click.UsageError(f"{answer_file} is no JSON object")
    else:
        document = json_schema_of_plans(strict=strict)
    text = f"{json.dumps(document, indent=2, ensure_ascii=False)}\n"
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)
    return 0
