"""Each command's help, as a person reads it."""

import re

import click
import pytest
from click.testing import CliRunner

from workflow_state.cli.commands import ENTRIES, commands, load_command


def every_command(group, path=()):
    """Yield each command with the words that call it, the group itself included."""
    yield path, group
    for name, found in group.commands.items():
        command = load_command(name) if group is commands else found
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name), command


EVERY_COMMAND = dict(every_command(commands))


@pytest.mark.parametrize("path", EVERY_COMMAND, ids=" ".join)
def test_help_has_examples_and_exit_codes(path):
    """The examples call this very command, and every option and argument that they use is there."""
    shown = CliRunner().invoke(commands, [*path, "--help"], prog_name="workflow-state")
    assert shown.exit_code == 0
    assert "Exit codes: 0" in shown.output
    examples = re.findall(
        r"workflow-state [^|>)\n]*", shown.output.partition("Examples:")[2].partition("Exit codes:")[0]
    )
    assert examples
    for example in examples:
        words = example.split("    #")[0].split()[1:]
        if path:
            assert tuple(words[: len(path)]) == path
        command = EVERY_COMMAND.get(tuple(words[: len(path)]), EVERY_COMMAND[()])
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        options |= {"--help"}
        assert {word for word in words if word.startswith("--")} <= options | options_of(words)


def options_of(words):
    """Return the options of the command that an example of a group calls."""
    command = EVERY_COMMAND.get(tuple(words[:1]))
    return {name for parameter in command.params for name in parameter.opts} if command else set()


def test_each_line_of_the_list_of_commands_is_whole():
    """A first sentence that is cut off with three dots says nothing."""
    shown = CliRunner().invoke(commands, ["--help"], prog_name="workflow-state")
    assert "..." not in shown.output.partition("Commands:")[2]


@pytest.mark.parametrize("name", ENTRIES)
def test_the_list_of_commands_says_what_the_command_itself_says(name):
    """It is written down apart, so that the list is shown without importing the commands."""
    command = EVERY_COMMAND[name,]
    assert command.name == name
    assert command.get_short_help_str(1_000) == ENTRIES[name].short_help


@pytest.mark.parametrize("path", EVERY_COMMAND, ids=" ".join)
def test_every_option_says_what_it_is_for(path):
    """But for those whose name and choices say it."""
    silent = [
        parameter.opts[0]
        for parameter in EVERY_COMMAND[path].params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []
