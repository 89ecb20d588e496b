"""How safe the mark of an unsafe request is before the request leaves, on real servers."""

import signal
import time
from uuid import uuid4

import pytest
from helpers.servers import client_of
from helpers.waiting import wait_until
from helpers.watched_redis import DATA_PASSWORD, MASTER_NAME, SENTINEL_PASSWORD, watched_redis
from redis import Redis
from redis.exceptions import RedisError
from redis.sentinel import Sentinel

from workflow_state.engine.local import local_redis
from workflow_state.settings import get_settings
from workflow_state.store import durability
from workflow_state.store.connection import NotSafeError
from workflow_state.store.durability import run_registration, run_unsafe_mark

HOLDER = "its-holder"


def forget(monkeypatch):
    """Make of this process one that has just started."""
    monkeypatch.setattr(durability, "_offers", {})
    monkeypatch.setattr(durability, "_last_reigns", {})


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Know nothing of any server, and read the settings anew."""
    forget(monkeypatch)
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def require(monkeypatch):
    """Return what sets WORKFLOW_STATE_UNSAFE_DURABILITY."""

    def set_to(value):
        monkeypatch.setenv("WORKFLOW_STATE_UNSAFE_DURABILITY", value)
        get_settings.cache_clear()

    set_to("")
    return set_to


@pytest.fixture
def single():
    """Run one server without an append-only file."""
    with local_redis() as url, client_of(url) as client:
        yield client


@pytest.fixture
def watched(tmp_path):
    """Run a primary and a replica."""
    with watched_redis(tmp_path) as made:
        yield made


@pytest.fixture
def client(watched):
    """Connect to the primary."""
    node = watched.data[0]
    with Redis(port=node.port, password=node.password, socket_timeout=3) as connection:
        yield connection


def write_to_disk(client, fsync):
    """Give a server an append-only file, and wait until it has been written for the first time."""
    client.config_set("appendfsync", fsync)
    client.config_set("appendonly", "yes")

    def is_written():
        told = client.info("persistence")
        return not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]

    wait_until(is_written, "the append-only file is there")


def mark(client):
    """Mark a claim of this process as sent; return the key of its claim."""
    key = f"workflow_state:progress:{uuid4()}"
    client.hset(key, "pay", f'{{"holder": "{HOLDER}", "status": "running"}}')
    assert run_unsafe_mark(client, "mark_sent", {"progress": key}, {"step": "pay", "holder": HOLDER}) == 1
    return key


def need_on(client):
    """Return what a mark waits for on that server."""
    return str(durability.need_of_mark(durability.known_offer(client)))


def test_a_server_alone_offers_its_memory(single, require):
    """Nothing is waited for, and nothing costs anything."""
    assert need_on(single) == "memory"
    mark(single)


@pytest.mark.parametrize(("fsync", "need"), [("everysec", "memory"), ("always", "disk")])
def test_a_disk_is_waited_for_by_default_where_it_is_quick(single, require, fsync, need):
    """With `everysec` the first write is quick and the next one is not: that is not taken for quick."""
    write_to_disk(single, fsync)
    assert need_on(single) == need
    mark(single)


def test_the_disk_may_be_required_whatever_it_costs(single, require):
    """With `everysec` it takes up to a second."""
    write_to_disk(single, "everysec")
    require("disk")
    assert need_on(single) == "disk"
    mark(single)
    mark(single)


@pytest.mark.parametrize("setting", ["replica", "disk"])
def test_what_is_required_and_not_there_is_refused(single, require, setting):
    """A server alone has no replica, and without an append-only file nothing is on its disk."""
    require(setting)
    with pytest.raises(NotSafeError, match=setting):
        mark(single)


def test_a_replica_is_waited_for_by_default(watched, client, require):
    """When the mark is made, the replica has it."""
    assert "replica" in need_on(client)
    begun_s = time.monotonic()
    key = mark(client)
    took_s = time.monotonic() - begun_s
    with watched.data[1].connection() as replica:
        assert '"sent":true' in replica.hget(key, "pay")
    assert took_s < 0.5


def test_a_mark_is_not_safe_while_the_replica_does_not_answer(watched, client, require):
    """It is refused in a second, and made once the replica is there again."""
    mark(client)
    watched.data[1].process.send_signal(signal.SIGSTOP)
    begun_s = time.monotonic()
    with pytest.raises(NotSafeError):
        mark(client)
    assert time.monotonic() - begun_s < 3
    watched.data[1].process.send_signal(signal.SIGCONT)
    mark(client)


def test_a_primary_that_has_lost_its_replica_is_not_taken_for_one_alone(watched, client, require, monkeypatch):
    """It may have been cut off, and another one may be the primary by now; a process that starts knows that, too."""
    mark(client)
    watched.data[1].process.kill()
    watched.data[1].process.wait()
    with pytest.raises(NotSafeError):
        mark(client)
    forget(monkeypatch)
    with pytest.raises(NotSafeError):
        mark(client)
    require("memory")
    mark(client)


def test_after_a_failover_the_new_primary_is_asked_what_it_offers(watched, require):
    """The replica that was waited for is the primary now, and alone."""
    hosts = [("127.0.0.1", node.port) for node in watched.sentinels]
    sentinel = Sentinel(hosts, sentinel_kwargs={"password": SENTINEL_PASSWORD})
    with sentinel.master_for(MASTER_NAME, password=DATA_PASSWORD, socket_timeout=3) as client:
        assert "replica" in need_on(client)
        mark(client)
        watched.data[0].process.kill()
        deadline_s = time.monotonic() + 30
        while True:
            try:
                mark(client)
            except RedisError:
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
            else:
                break
        assert "replica" not in need_on(client)


def test_what_was_accepted_is_on_a_replica(watched, client, require):
    """Also where it is submitted a second time, because the first time nobody confirmed it."""
    key = f"workflow_state:execution:{uuid4()}"
    names = (f"workflow_state:{name}" for name in ("executions", "alarms", "encryption"))
    keys = dict(zip(("record", "index", "alarms", "encryption"), (key, *names), strict=True))
    arguments = {
        "execution": "x",
        "digests": "d",
        "key_id": None,
        "submitted_ms": 1,
        "retention_s": 100,
        "alarm": "x ",
        "first_look_s": 10,
        "fields": ["digest", "d", "status", "initializing"],
    }
    durability.known_offer(client)
    watched.data[1].process.send_signal(signal.SIGSTOP)
    with pytest.raises(NotSafeError):
        run_registration(client, "register_execution", keys, arguments)
    client.connection_pool.disconnect()
    with pytest.raises(NotSafeError):
        run_registration(client, "register_execution", keys, arguments)
    watched.data[1].process.send_signal(signal.SIGCONT)
    assert run_registration(client, "register_execution", keys, arguments) == b"initializing"
    with watched.data[1].connection() as replica:
        assert replica.hget(key, "digest") == "d"
