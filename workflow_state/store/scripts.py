"""The Lua scripts of `lua/`, each of which changes Redis in one atomic step: reading, and running them.

A script begins with a header, and that is its signature:

```lua
-- Note that an execution has begun.
--
-- include: clock
-- keys:
--   record      hash: what is known of the execution
-- arguments:
--   now         text: ISO 8601
--   delay_s     number?: seconds until then
--
-- Answers 1, or 0 where there is no such execution.
```

In the script each key and argument is a local of that name. A caller names them too, and `run_script` refuses one that
is missing or not known. The types of arguments are:

- `text`; `text?` is nil where Python says None;
- `number`, an int or a float; `number?` is nil where Python says None;
- `flag`, true or false;
- `list`, any number of texts; it comes last.

`include` names files of `lua/lib/`, each with a function that several scripts share.

Redis knows a script by its SHA-1 after the first time. redis-py's own `Script` computes that anew each time that it is
made, and asks before each pipeline whether the server has the script, which is a round trip more.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import NoScriptError

Argument = str | bytes | float | None | Sequence[str]

_FOLDER = Path(__file__).parent / "lua"
# How a local is made of an argument of each type.
_LOCALS = {
    "text": "local {name} = ARGV[{place}]",
    "text?": "local {name} = ARGV[{place}] ~= '' and ARGV[{place}] or nil",
    "number": "local {name} = tonumber(ARGV[{place}])",
    "number?": "local {name} = tonumber(ARGV[{place}])",
    "flag": "local {name} = ARGV[{place}] == '1'",
    "list": "local {name} = {{}} for i = {place}, #ARGV do {name}[i - {place} + 1] = ARGV[i] end",
}
_DECLARATION = re.compile(r"--   (\w+) +(.+)")


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis gets it, with the keys and arguments that it takes, in their order.

    `keys` says of each what it is, `arguments` of which type each is.
    """

    name: str
    text: str
    sha: str
    keys: Mapping[str, str]
    arguments: Mapping[str, str]


@cache
def load_script(name: str) -> Script:
    """Return the script of that name. Its file is read when it is first used."""
    source = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    header = source[: re.search(r"^(?!--)", source, re.MULTILINE).start()]  # type: ignore[union-attr] # the end matches
    keys = dict(_declared(header, "keys"))
    arguments = {argument: said.partition(":")[0] for argument, said in _declared(header, "arguments")}
    included = re.search(r"^-- include: (.+)$", header, re.MULTILINE)
    libraries = [read_library(library) for library in included[1].split(", ")] if included else []
    text = "\n".join([*_locals(keys, arguments), *libraries, source])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), keys, arguments)


@cache
def read_library(name: str) -> str:
    """Return the text of a file that scripts include."""
    return (_FOLDER / "lib" / f"{name}.lua").read_text(encoding="utf-8")


def run_script(client: Redis, name: str, keys: Mapping[str, str], arguments: Mapping[str, Argument]) -> Any:
    """Run the script, and return what it answers; one round trip.

    Raises TypeError where the keys or arguments are not those that the script's header declares.
    """
    script = load_script(name)
    call = _call(script, keys, arguments)
    try:
        return client.evalsha(script.sha, *call)
    except NoScriptError:
        return client.eval(script.text, *call)


def run_script_beside(
    client: Redis,
    name: str,
    keys: Mapping[str, str],
    arguments: Mapping[str, Argument],
    queue_reads: Callable[[Pipeline], object] | None,
) -> tuple[Any, list[Any]]:
    """Run the script, then what `queue_reads` adds to a pipeline; return its answer and theirs. One round trip.

    Others may come in between: this is no transaction. Raises TypeError as `run_script` does.
    """
    script = load_script(name)
    with client.pipeline(transaction=False) as pipe:
        pipe.evalsha(script.sha, *_call(script, keys, arguments))
        if queue_reads:
            queue_reads(pipe)
        try:
            answer, *replies = pipe.execute()
        except NoScriptError:
            client.script_load(script.text)
            return run_script_beside(client, name, keys, arguments, queue_reads)
    return answer, replies


def _declared(header: str, part: str) -> Iterator[tuple[str, str]]:
    """Yield the names in one part of a header, and what is said of each."""
    lines = iter(header.splitlines())
    for line in lines:
        if line == f"-- {part}:":
            break
    for line in lines:
        found = _DECLARATION.fullmatch(line)
        if not found:
            return
        yield found[1], found[2]


def _locals(keys: Mapping[str, str], arguments: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines that give keys and arguments their names."""
    for place, name in enumerate(keys, start=1):
        yield f"local {name} = KEYS[{place}]"
    for place, (name, kind) in enumerate(arguments.items(), start=1):
        yield _LOCALS[kind].format(name=name, place=place)


def _call(script: Script, keys: Mapping[str, str], arguments: Mapping[str, Argument]) -> list[Any]:
    """Return what follows a script's name in a command: how many keys, the keys, the arguments."""
    if keys.keys() != script.keys.keys() or arguments.keys() != script.arguments.keys():
        wanted, given = [*script.keys, *script.arguments], [*keys, *arguments]
        raise TypeError(f"the script {script.name} takes {', '.join(wanted)}; it was given {', '.join(given)}")
    call: list[Any] = [len(keys), *(keys[name] for name in script.keys)]
    for name, kind in script.arguments.items():
        call += _written(script, name, kind, arguments[name])
    return call


def _written(script: Script, name: str, kind: str, value: Any) -> Sequence[Any]:
    if kind == "list":
        return list(value)
    if kind == "flag":
        return (int(value),)
    if value is not None:
        return (value,)
    if kind.endswith("?"):
        return ("",)
    raise TypeError(f"the script {script.name} needs {name}")
