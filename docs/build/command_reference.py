"""The command line, as click knows it: a section for each command."""

from collections.abc import Iterator

import click
from writing import cell, text

from workflow_state.cli.commands import commands

PROGRAM = "workflow-state"


def describe_commands() -> str:
    """Return the sections of all commands, in the order of their names."""
    return "\n".join(map(_section, contexts_of_commands()))


def contexts_of_commands() -> Iterator[click.Context]:
    """Yield the context of each command that is not a group of others."""
    return _leaves(click.Context(commands, info_name=PROGRAM))


def _leaves(context: click.Context) -> Iterator[click.Context]:
    group = context.command
    if not isinstance(group, click.Group):
        yield context
        return
    for name in group.list_commands(context):
        # As for a command that is to run: a group may know no more than names before.
        _, command, _ = group.resolve_command(context, [name])
        if command is not None and not command.hidden:
            yield from _leaves(click.Context(command, info_name=name, parent=context))


def _section(context: click.Context) -> str:
    command = context.command
    name = context.command_path.removeprefix(f"{PROGRAM} ")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    examples, exit_codes = _read_epilog(command.epilog or "")
    parts = [f"### {name}", f"`{usage}`", text(_paragraphs(command.help or "")), _options(context)]
    if examples:
        parts.append("\n".join(["```sh", *examples, "```"]))
    return "\n\n".join(part for part in [*parts, exit_codes] if part) + "\n"


def _paragraphs(help_text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in help_text.split("\n\n"))


def _options(context: click.Context) -> str:
    records = [parameter.get_help_record(context) for parameter in context.command.params]
    # What an argument is, its name and the text say.
    rows = [f"| `{names}` | {cell(said)} |" for names, said in filter(None, records) if said]
    return "\n".join(["| option | |", "|---|---|", *rows]) if rows else ""


def _read_epilog(epilog: str) -> tuple[list[str], str]:
    """Return the examples that a command's help ends with, and the line of its exit codes."""
    lines = epilog.splitlines()
    examples = [line.strip() for line in lines if line.startswith("  ")]
    return examples, next((line for line in lines if line.startswith("Exit codes:")), "")
