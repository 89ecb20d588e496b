"""The Lua scripts on a real Redis."""

from pathlib import Path

import pytest
from helpers.servers import client_of

from workflow_state.engine.local import local_redis
from workflow_state.store import scripts
from workflow_state.store.scripts import load_script, run_script, run_script_beside

NAMES = sorted(path.stem for path in (Path(scripts.__file__).parent / "lua").glob("*.lua"))


@pytest.fixture(scope="module")
def client():
    """Return a client of a Redis of this file's own."""
    with local_redis() as url, client_of(url) as connection:
        yield connection


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_known_by_its_sha(client, name):
    """It compiles, and Redis computes the same name for it."""
    assert client.script_load(load_script(name).text) == load_script(name).sha


def test_a_server_that_knows_no_scripts_is_told_them(client):
    """After a restart, say: alone, and beside reads in one pipeline."""
    keys, arguments = {"record": "r"}, {"now": "x"}
    client.hset("r", mapping={"status": "initializing"})
    client.script_flush()
    assert run_script(client, "begin_execution", keys, arguments) == 1
    client.script_flush()
    answer = run_script_beside(client, "begin_execution", keys, arguments, lambda pipe: pipe.hget("r", "startedAt"))
    assert answer == (1, [b"x"])
