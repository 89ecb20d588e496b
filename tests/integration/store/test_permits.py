"""Permits on a real Redis: slots, permits of the living and the dead, pauses, and the claim of who is held back."""

import json
import time
from itertools import pairwise

import pytest
from redis import Redis

from workflow_state.engine.local import local_redis
from workflow_state.rules.states import document_version, live_action_state, parse_progress
from workflow_state.schema import ActionDefinition
from workflow_state.store import permits
from workflow_state.store.claims import WHICHEVER_IS_DUE, Claim, ClaimLostError, await_retry, claimed, find_whereabouts
from workflow_state.store.execution import ExecutionStore
from workflow_state.store.leases import end_holder, process_name, renew_process
from workflow_state.store.names import progress_key, worker_key
from workflow_state.store.permits import MAX_PAUSE_S, MAX_PAUSES, pause_definition, return_permit, take_permit


@pytest.fixture(scope="module")
def server():
    with local_redis() as url:
        yield url.removeprefix("redis+socket://").partition("?")[0]


@pytest.fixture
def client(server):
    with Redis(unix_socket_path=server) as connection:
        connection.flushall()
        renew_process(connection, 60)
        yield connection
        assert [key for key in connection.scan_iter() if connection.ttl(key) == -1] == []
    end_holder()


@pytest.fixture
def store(client):
    return ExecutionStore(client, None, "e", retention_s=100)


def limited(**limit):
    rate_limit = {"rateLimit": limit} if limit else {}
    return ActionDefinition.model_validate({"id": "api", "endpoint": {"url": "https://h/"}, **rate_limit})


def claim_of(name, holder=None, attempt=1, pauses=0):
    return Claim("e", name, holder or f"holder-{name}", attempt, "", pauses=pauses)


def ask(client, definition, name, **fields):
    """Return whether it may be sent, and in how many s, or after how many to come back."""
    permit = take_permit(client, definition, claim_of(name, **fields))
    return permit.held_back is None, permit.delay_s


def ask_when(client, definition, name):
    """Return whether it may be sent, in how many s, and the times before and after the question."""
    before_s = time.monotonic()
    return *ask(client, definition, name), before_s, time.monotonic()


def are_spaced(answers, every_s):
    """Return whether each may be sent so long after the one before, or at once where that is longer ago already.

    However long a question took: its answer holds from a moment between the times before and after it.
    """
    tolerance_s = 0.001
    for (_, earlier_delay_s, *earlier), (_, delay_s, *asked) in pairwise(answers):
        soonest_s, latest_s = (at_s + earlier_delay_s + every_s for at_s in earlier)
        is_too_soon = asked[1] + delay_s < soonest_s - tolerance_s
        is_too_late = delay_s > 0 and asked[0] + delay_s > latest_s + tolerance_s
        if is_too_soon or is_too_late:
            return False
    return True


def test_slots_are_handed_out_one_by_one_and_kept_by_name(client):
    """The first may go at once; a later holder of the same attempt has the same slot, another attempt a new one."""
    even = limited(requestsPerSecond=0.5)
    assert ask(client, even, "a") == (True, 0)
    waits = [ask(client, even, name) for name in ("b", "c", "b", "c")]
    assert [(may_send, round(delay_s)) for may_send, delay_s in waits] == [(False, s) for s in (2, 4, 2, 4)]
    assert ask(client, even, "b", holder="another")[1] == pytest.approx(2, abs=0.2)
    assert ask(client, even, "b", attempt=2)[1] == pytest.approx(6, abs=0.2)


def test_who_is_near_its_slot_is_held_until_then(client):
    even = limited(requestsPerSecond=10)
    answers = [ask_when(client, even, str(number)) for number in range(30)]
    sent = [answer for answer in answers if answer[0]]
    assert sent == answers[: len(sent)]
    assert are_spaced(sent, 0.1)
    # On a machine that is busy for 100 ms one more of them.
    assert 5 <= len(sent) < 20


def test_those_who_are_late_are_spaced_once_more(client, monkeypatch):
    """Five come when all their slots have passed: they do not go together."""
    even = limited(requestsPerSecond=10)
    monkeypatch.setattr(permits, "MAX_HELD_S", 0)
    for number in range(5):
        ask(client, even, str(number))
    time.sleep(0.6)
    monkeypatch.setattr(permits, "MAX_HELD_S", 0.5)
    answers = [ask_when(client, even, str(number)) for number in range(1, 5)]
    assert [may_send for may_send, *_ in answers] == [True] * 4
    assert are_spaced(answers, 0.1)


def test_permits_are_given_back_and_taken_again(client):
    few = limited(concurrent=2)
    assert [ask(client, few, name)[0] for name in ("a", "b", "c", "a", "b")] == [True, True, False, True, True]
    return_permit(client, few, claim_of("a"))
    return_permit(client, few, claim_of("a"))
    assert [ask(client, few, name)[0] for name in ("c", "d")] == [True, False]


def test_a_permit_of_the_dead_is_free_and_one_of_the_living_is_not(client, store):
    """Of a process whose lease has run out, and of a holder that its living process does not name."""
    few = limited(concurrent=1)
    with claimed(store, "a", attempt=1) as (claim, _):
        assert take_permit(client, few, claim).held_back is None
        renew_process(client, 60)
        assert not ask(client, few, "b")[0]
        end_holder()
        renew_process(client, 60)
        assert ask(client, few, "b")[0]
    assert not ask(client, few, "c")[0]
    client.delete(worker_key(process_name()))
    assert ask(client, few, "c")[0]


def test_those_who_waited_longest_come_first(client):
    """Who comes later stands in line behind those who wait, for as many places as there are permits."""
    few = limited(concurrent=1)
    for name in ("a", "b", "c", "d"):
        ask(client, few, name)
    return_permit(client, few, claim_of("a"))
    assert [ask(client, few, name)[0] for name in ("new", "d")] == [False, False]
    assert ask(client, few, "b")[0]


def test_a_pause_holds_for_everyone_and_is_never_shortened(client):
    pause_definition(client, limited(), 100)
    pause_definition(client, limited(), 1)
    for definition in (limited(), limited(requestsPerSecond=10), limited(concurrent=3)):
        may_send, delay_s = ask(client, definition, "a")
        assert not may_send
        assert 99 < delay_s < 103
    # The slots of the limited one have moved behind the pause already.
    for definition in (limited(), limited(concurrent=3)):
        assert ask(client, definition, "a", pauses=MAX_PAUSES) == (True, 0)
    pause_definition(client, limited(), 10_000)
    assert MAX_PAUSE_S - 1 < ask(client, limited(), "a")[1] <= MAX_PAUSE_S + 2


def hold_back(client, store, run_attempt=1, delay_s=30.0):
    with claimed(store, "a", attempt=run_attempt) as (claim, _):
        await_retry(client, claim, delay_s=delay_s, trace=[], message="{}", held_back="limit")
    return claim


def test_who_is_held_back_makes_the_same_attempt_later(client, store):
    """It is in a retry for the sweep, which does not take it before it is due; its own message does."""
    hold_back(client, store)
    assert isinstance(find_whereabouts(store, ["a"])["a"], float)
    assert client.hget(progress_key("e"), ":retries") is None, "it costs the execution no retry"
    with claimed(store, "a", attempt=WHICHEVER_IS_DUE) as (early, _):
        assert early is None
    with claimed(store, "a", attempt=1) as (doubled, _):
        assert doubled is None, "its own message comes when it is due, this one is a second one"
    client.delete(progress_key("e"))
    hold_back(client, store, delay_s=-2)
    with claimed(store, "a", attempt=WHICHEVER_IS_DUE) as (due, _):
        assert due.attempt == 1
        assert find_whereabouts(store, ["a"])["a"] == "running"
        await_retry(client, due, delay_s=-2, trace=[], message="{}")
    with claimed(store, "a", attempt=WHICHEVER_IS_DUE) as (second, _):
        assert second.attempt == 2
    with pytest.raises(ClaimLostError):
        await_retry(client, due, delay_s=1, trace=[], message="{}", held_back="limit")


def test_the_version_grows_with_every_wait(client, store):
    """And neither waiting nor coming back makes it smaller; workers that were lost over the attempt still count."""
    versions = []

    def note():
        progress = parse_progress(client.hgetall(progress_key("e")))
        state = live_action_state("a", progress["a"])
        versions.append(document_version([state], [], "running", progress))
        return state

    for _ in range(2):
        with claimed(store, "a", attempt=1):
            note()
        hold_back_again(client)
        state = note()
        assert (state.attempts, state.next_attempt_at is not None) == (1, True)
    assert versions == sorted(set(versions))
    raw = json.loads(client.hget(progress_key("e"), "a"))
    client.hset(progress_key("e"), "a", json.dumps({**raw, "losses": 3}))
    with claimed(store, "a", attempt=1) as (claim, _):
        assert claim.losses == 3


def test_pauses_are_counted_for_each_attempt(client, store):
    """Waits for a limit don't count."""
    for number, why in enumerate(("pause", "limit", "pause")):
        with claimed(store, "a", attempt=1) as (claim, _):
            assert claim.pauses == (0, 1, 1)[number]
            await_retry(client, claim, delay_s=1, trace=[], message="{}", held_back=why)
    with claimed(store, "a", attempt=1) as (claim, _):
        assert claim.pauses == 2
        await_retry(client, claim, delay_s=1, trace=[], message="{}")
    with claimed(store, "a", attempt=2) as (claim, _):
        assert claim.pauses == 0


def hold_back_again(client):
    raw = json.loads(client.hget(progress_key("e"), "a"))
    claim = Claim("e", "a", raw["holder"], 1, "")
    await_retry(client, claim, delay_s=1, trace=[], message="{}", held_back="limit")
