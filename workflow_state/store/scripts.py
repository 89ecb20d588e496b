"""Running Lua scripts on Redis, each known there by its SHA-1 after the first time.

redis-py's own `Script` computes that anew each time that it is made, and asks before each pipeline whether the server
has the script, which is a round trip more.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import NoScriptError

Argument = str | bytes | int | float


@cache
def script_sha(script: str) -> str:
    """Return the name by which a server that has the script knows it."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def run_script(client: Redis, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
    """Run the script, and return what it returns; one round trip."""
    try:
        return client.evalsha(script_sha(script), len(keys), *keys, *arguments)
    except NoScriptError:
        return client.eval(script, len(keys), *keys, *arguments)


def run_script_beside(
    client: Redis,
    script: str,
    keys: Sequence[str],
    arguments: Sequence[Argument],
    queue_reads: Callable[[Pipeline], object] | None,
) -> tuple[Any, list[Any]]:
    """Run the script, then what `queue_reads` adds to a pipeline; return its answer and theirs. One round trip.

    Others may come in between: this is no transaction.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.evalsha(script_sha(script), len(keys), *keys, *arguments)
        if queue_reads:
            queue_reads(pipe)
        try:
            answer, *replies = pipe.execute()
        except NoScriptError:
            client.script_load(script)
            return run_script_beside(client, script, keys, arguments, queue_reads)
    return answer, replies
