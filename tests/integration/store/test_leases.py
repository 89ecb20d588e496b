"""Whether a holder is over: the same answer in Python and in Lua."""

import json
from itertools import product

import pytest
from helpers.servers import client_of

from workflow_state.engine.local import local_redis
from workflow_state.store.leases import is_over, process_name, renew_process
from workflow_state.store.names import worker_key
from workflow_state.store.scripts import read_library

LEASES = [
    None,
    *(
        {"at": at_s, "holders": holders}
        for at_s, holders in product((99.5, 100, 100.000001), ("", "b", "a", "b a c", "ab"))
    ),
]
ASK = (
    read_library("holder_is_over")
    + "return holder_is_over(ARGV[1] ~= '' and ARGV[1], ARGV[2], tonumber(ARGV[3])) and 1 or 0"
)


@pytest.fixture(scope="module")
def client():
    """Return a client of a Redis of this file's own."""
    with local_redis() as url, client_of(url) as connection:
        yield connection


def test_python_and_lua_have_one_rule(client):
    """For claims that are older than the lease, as old, and younger, whether it names the holder or not."""
    claim = {"at": 100.0, "holder": "a"}
    in_python = [is_over(claim, lease) for lease in LEASES]
    in_lua = [
        client.eval(ASK, 0, json.dumps(lease) if lease else "", claim["holder"], claim["at"]) == 1 for lease in LEASES
    ]
    assert in_python == in_lua
    younger_without_it = [lease for lease in LEASES if lease and lease["at"] > 100 and "a" not in lease["holders"]]
    assert in_python.count(True) == 1 + len(younger_without_it) == 3


def test_the_lease_that_a_process_writes_is_one_that_both_read(client):
    """Its time is Redis' own, and it names the holders."""
    renew_process(client, 60)
    raw = client.get(worker_key(process_name()))
    for at_s in (0.0, 1e12):
        claim = {"at": at_s, "holder": "unknown"}
        assert is_over(claim, json.loads(raw)) == (at_s == 0.0)
        assert client.eval(ASK, 0, raw, "unknown", at_s) == (1 if at_s == 0.0 else 0)
