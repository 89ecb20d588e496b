"""How Lua scripts are read, and what they are called with."""

import re
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace

import pytest

from workflow_state.store import scripts
from workflow_state.store.scripts import load_script, run_script

FOLDER = Path(scripts.__file__).parent / "lua"
NAMES = sorted(path.stem for path in FOLDER.glob("*.lua"))
# What stands in for Redis: it gives back the command.
echo = SimpleNamespace(evalsha=lambda *command: command)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_does_takes_and_answers(name):
    """Its header is its signature: each key and argument is a local, and is used."""
    script = load_script(name)
    lines = (FOLDER / f"{name}.lua").read_text().splitlines()
    header = "\n".join(takewhile(lambda line: line.startswith("--"), lines))
    code = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    assert [part for part in ("-- keys:\n", "-- arguments:\n", "-- Answers ") if f"\n{part}" not in header] == []
    assert [name for name in [*script.keys, *script.arguments] if not re.search(rf"\b{name}\b", code)] == []
    assert re.search("ARGV|KEYS", code) is None


def test_arguments_go_out_in_the_order_of_the_header():
    """In whichever order the caller names them; a flag is 0 or 1."""
    arguments = {"retention_s": 60, "only_existing": True, "member": "e ", "after_s": 0.5}
    sha, *call = run_script(echo, "set_alarm", {"alarms": "k"}, arguments)
    assert sha == load_script("set_alarm").sha
    assert call == [1, "k", "e ", 0.5, 1, 60]


def test_an_optional_argument_is_empty_and_a_list_comes_last():
    """Lua has no None between others."""
    arguments = {"value": "v", "success_prefix": "s", "keeps_any": False, "ttl_s": None}
    assert run_script(echo, "store_result", {"result": "k"}, arguments)[1:] == (1, "k", "v", "s", 0, "")
    script = load_script("register_execution")
    keys, arguments = dict.fromkeys(script.keys, "k"), dict.fromkeys(script.arguments, 1)
    assert run_script(echo, script.name, keys, {**arguments, "fields": ["a", "b"]})[-3:] == (1, "a", "b")


@pytest.mark.parametrize(
    ("keys", "arguments", "message"),
    [
        ({"record": "k"}, {}, "takes record, now; it was given record"),
        ({"record": "k"}, {"now": "x", "then": "y"}, "it was given record, now, then"),
        ({"other": "k"}, {"now": "x"}, "it was given other, now"),
        ({"record": "k"}, {"now": None}, "begin_execution needs now"),
    ],
)
def test_exactly_the_declared_names_are_taken(keys, arguments, message):
    """A caller that forgets one, or makes one up, is told so before Redis is asked."""
    with pytest.raises(TypeError, match=message):
        run_script(echo, "begin_execution", keys, arguments)
