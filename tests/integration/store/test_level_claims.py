"""The claim of a level task: who has it, who is turned away, and what that one leaves behind."""

import json
from dataclasses import replace

import pytest
from helpers.plans import plan
from helpers.servers import client_of

from workflow_state.engine.local import local_redis
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.store import leases
from workflow_state.store.claims import ClaimLostError
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.level_claims import LevelClaim, claimed_level, is_level_claimed, release_level
from workflow_state.store.names import LEVEL_CLAIM, worker_key
from workflow_state.store.position import LevelStart, begin_level, read_position
from workflow_state.store.records import FirstMessage, register_execution


@pytest.fixture(scope="module")
def client():
    """Return a client of a Redis of this file's own."""
    with local_redis() as url, client_of(url) as connection:
        yield connection


@pytest.fixture
def store(client):
    """Return the store of an execution of two levels that has been registered; this process has a lease."""
    client.flushall()
    found = ExecutionStore(client, None, "e", 3600)
    register_execution(found, validate_plan_with(None, plan(a=[], b=["a"])), FirstMessage("{}"))
    leases.renew_process(client, 60)
    yield found
    leases.end_holder()


def claim_of(store):
    """Return what Redis has of the claim."""
    return json.loads(store.client.hget(store.progress, LEVEL_CLAIM))


def claim(store, level=0):
    """Claim the level as a task does, and return the claim or None."""
    with claimed_level(store, level) as (claimed, position):
        assert position is not None
        return claimed


def held_by_another(store, **fields):
    """Have a process that is not this one hold the claim of level 0, or have held it."""
    other = {"level": 0, "status": "running", "process": "another:1", "holder": "h", "at": 1.0, **fields}
    store.client.hset(store.progress, LEVEL_CLAIM, json.dumps(other))


def test_a_second_task_is_turned_away_and_looked_for(store):
    """While a living process holds the claim; whoever holds it looks once more, and once only."""
    held_by_another(store)
    lease = {"at": 2.0, "holders": "h"}
    store.client.set(worker_key("another:1"), json.dumps(lease))
    assert is_level_claimed(store)
    assert claim(store) is None
    assert claim(store) is None
    other = LevelClaim("h")
    assert release_level(store, other) is True, "somebody came meanwhile"
    assert is_level_claimed(store), "and the claim stays for that"
    assert release_level(store, other) is False
    assert not is_level_claimed(store)
    assert claim(store) == LevelClaim(claim_of(store)["holder"])


def test_the_claim_of_a_lost_worker_is_taken_over_and_counted(store):
    """Its process has no lease any more; whoever gets the work done forgets the losses."""
    held_by_another(store, losses=2)
    taken = claim(store)
    assert taken.losses == 3
    assert release_level(store, taken) is False
    assert "losses" not in claim_of(store)


def test_a_task_that_fails_counts_as_a_lost_worker(store):
    """Nobody looks again at once, whoever came meanwhile: the sweep does."""
    held_by_another(store)
    store.client.set(worker_key("another:1"), json.dumps({"at": 2.0, "holders": "h"}))
    assert claim(store) is None
    assert release_level(store, LevelClaim("h"), failed=True) is False
    assert claim(store).losses == 1


def test_a_holder_of_this_process_that_has_ended_is_no_loss(store):
    """As where Redis could not be reached: its message is on the queue again at once."""
    first = claim(store)
    leases.end_holder()
    again = claim(store)
    assert again.holder != first.holder
    assert again.losses == 0


def test_the_next_level_waits_for_nobody(store):
    """All messages of the level before have ended: what its task still does is of no matter, nor what comes late."""
    first = claim(store)
    second = claim(store, level=1)
    assert second.losses == 0
    assert release_level(store, first) is False
    assert claim_of(store)["holder"] == second.holder
    assert claim(store, level=0) is None
    assert "again" not in claim_of(store)


def test_whoever_lost_the_claim_begins_no_level(store):
    """It was stopped past its lease, and another worker goes on."""
    first = claim(store)
    start = LevelStart(first.holder, 0, 1, 1, "{}")
    begin_level(store, start)
    leases.end_holder()
    second = claim(store)
    with pytest.raises(ClaimLostError):
        begin_level(store, replace(start, level=1))
    assert read_position(store, 0).current_level == 0
    begin_level(store, replace(start, holder=second.holder, level=1))
    assert read_position(store, 0).current_level == 1


def test_an_unknown_execution_leaves_nothing(client):
    """A message whose record is gone makes no key."""
    client.flushall()
    with claimed_level(ExecutionStore(client, None, "gone", 3600), 0) as (claimed, position):
        assert (claimed, position) == (None, None)
    leases.end_holder()
    assert client.keys() == []


def test_the_keys_of_a_claim_have_an_end(store):
    """The claim is the first thing that the execution's progress has."""
    claim(store)
    assert 0 < store.client.ttl(store.progress) <= 3600
