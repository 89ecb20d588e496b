"""The fault-injecting proxy itself, before a real Redis."""

import gc
import json
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from chaos.harness.resp_proxy import resp_proxy
from helpers.http_service import http_service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import plan
from helpers.waiting import wait_until
from helpers.workers import forked_worker
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from workflow_state.engine.local import local_redis

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3], ids=["RESP2", "RESP3"])


@pytest.fixture(scope="module")
def redis_url():
    """Run a Redis of these tests' own."""
    with local_redis() as url:
        yield url


@pytest.fixture
def direct(redis_url):
    """Return a client that goes past the proxy, of an empty Redis."""
    with Redis(unix_socket_path=unquote(urlsplit(redis_url).path), decode_responses=True) as client:
        wait_until(lambda: len(client.client_list()) == 1, "the test before this one has gone")
        client.flushall()
        yield client


@pytest.fixture
def proxy(redis_url, direct):
    """Run a proxy before the Redis."""
    with resp_proxy(redis_url) as running:
        yield running


def client_of(proxy, **options):
    """Return a client that goes through the proxy, and repeats nothing."""
    return Redis.from_url(proxy.url, decode_responses=True, retry=Retry(NoBackoff(), 0), **options)


@pytest.fixture
def client(proxy):
    """Return a client that goes through the proxy, and repeats nothing."""
    with client_of(proxy) as made:
        yield made


@contextmanager
def raw_connection(proxy):
    """Connect without a client library."""
    port = urlsplit(proxy.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def in_thread(call):
    """Start the call in a thread of its own; joined, it gives what the call returned, or the error it raised."""
    outcome = []

    def run():
        try:
            outcome.append(call())
        except Exception as error:  # noqa: BLE001 - it is the outcome
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def joined():
        thread.join(10)
        assert outcome, "the call has not ended"
        return outcome[0]

    return joined


# --- Counting ----------------------------------------------------------------------------------------------------


@PROTOCOLS
def test_writes_are_counted_and_reads_are_not(proxy, protocol):
    """In their order, with their first key."""
    with client_of(proxy, protocol=protocol) as client:
        assert client.ping()
        assert client.get("a") is None
        client.set("a", 1)
        assert client.hgetall("h") == {}
        client.hset("h", "field", "value")
        assert client.zrange("z", 0, -1) == []
        client.publish("channel", "news")
    assert proxy.record == [(1, "SET", "a"), (2, "HSET", "h"), (3, "PUBLISH", "channel")]


def test_each_write_of_a_pipeline_is_counted(proxy, client):
    """However many arrive in one buffer."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(500):
            pipeline.set(f"key{number}", number).get(f"key{number}")
        assert pipeline.execute() == [each for number in range(500) for each in (True, str(number))]
    assert proxy.record == [(number + 1, "SET", f"key{number}") for number in range(500)]


def test_a_transaction_is_one_write(proxy, client):
    """At its EXEC, with what it writes; one that only reads is none."""
    with client.pipeline() as pipeline:
        pipeline.get("a").hset("h", "field", "value").zadd("z", {"member": 1}).execute()
    with client.pipeline() as pipeline:
        assert pipeline.llen("a").llen("b").execute() == [0, 0]
    with client.pipeline() as pipeline:
        pipeline.watch("a")
        pipeline.set("a", 1)
        pipeline.multi()
        pipeline.set("b", 1)
        pipeline.reset()
    client.set("c", 1)
    assert proxy.record == [(1, "EXEC(HSET ZADD)", "h"), (2, "SET", "a"), (3, "SET", "c")]


def test_a_script_is_one_write(proxy, client, direct):
    """With its first key, whether its text is sent or its hash; one that the server doesn't know counts, too."""
    client.eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, "a", "1")
    client.eval("return 1", 0, "no key")
    direct.script_flush()
    script = client.register_script("return redis.call('SET', KEYS[1], ARGV[1])")
    script(keys=["b"], args=["2"])
    script(keys=["c"], args=["3"])
    assert proxy.record == [
        (1, "EVAL", "a"),
        (2, "EVAL", ""),
        (3, "EVALSHA", "b"),
        (4, "EVALSHA", "b"),
        (5, "EVALSHA", "c"),
    ]


@PROTOCOLS
def test_a_brpop_counts_when_it_takes_something(proxy, direct, protocol):
    """Not while it waits, nor when it gets nothing; it is named with the key that it took from."""
    with client_of(proxy, protocol=protocol) as client:
        assert client.brpop(["empty", "queue"], timeout=0.05) is None
        assert client.blmove("empty", "other", 0.05) is None
        direct.set("text", "no list")
        with pytest.raises(ResponseError):
            client.brpop("text", timeout=0.05)
        assert proxy.record == []
        taken = in_thread(lambda: client.brpop(["empty", "queue"], timeout=5))
        wait_until(lambda: direct.info("clients")["blocked_clients"], "it waits")
        with client_of(proxy, protocol=protocol) as other:
            other.lpush("queue", "message")
        assert list(taken()) == ["queue", "message"]
        direct.rpush("queue", "moved")
        assert client.blmove("queue", "other", 1) == "moved"
    assert proxy.record == [(1, "LPUSH", "queue"), (2, "BRPOP", "queue"), (3, "BLMOVE", "queue")]


def test_what_comes_by_the_clock_may_be_left_out(proxy, client, direct):
    """It is forwarded like all else, and has no number; nor is anything done at it."""
    proxy.counts = lambda command, key: command != "PUBLISH" and not key.startswith("unacked")
    proxy.at_write(1, "before", lambda: None)
    client.set("unacked_mutex", 1)
    client.publish("heartbeat", "")
    with pytest.raises(RedisConnectionError):
        client.set("a", 1)
    assert direct.mget("unacked_mutex", "a") == ["1", None]
    assert proxy.record == [(1, "SET", "a")]


def test_requests_may_arrive_byte_by_byte(proxy, direct):
    """And a line may be typed."""
    request = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n*1\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nINCR number\r\n"
    with raw_connection(proxy) as connection, connection.makefile("rb") as replies:
        for byte in request:
            connection.sendall(bytes([byte]))
            time.sleep(0.001)
        expected = b"+OK\r\n$4\r\n\r\n*1\r\n:1\r\n"
        assert replies.read(len(expected)) == expected
    assert proxy.record == [(1, "SET", "a"), (2, "INCR", "number")]


@PROTOCOLS
def test_long_and_nested_replies_arrive_whole(proxy, protocol):
    """Whatever pieces they come in, and the connection goes on."""
    large = "x" * 3_000_000
    with client_of(proxy, protocol=protocol) as client:
        client.set("large", large)
        client.hset("h", mapping={str(number): "y" * 100 for number in range(5_000)})
        assert client.get("large") == large
        assert len(client.hgetall("h")) == 5_000
        nested = "return {1, {2, {3, 'four'}}, false, {}, {ok='fine'}}"
        assert client.eval(nested, 0) == [1, [2, [3, "four"]], None, [], "fine"]
        assert len(client.execute_command("COMMAND")) > 200
        assert client.incr("number") == 1


@PROTOCOLS
def test_messages_answer_nothing(proxy, client, protocol):
    """A subscriber's connection works, and afterwards a BRPOP on it is still known by its own reply."""
    with client_of(proxy, protocol=protocol) as other, other.pubsub() as subscriber:
        subscriber.subscribe("one", "two")
        for expected in ("subscribe", "subscribe"):
            assert subscriber.get_message(timeout=5)["type"] == expected
        client.publish("one", "news")
        assert subscriber.get_message(timeout=5)["data"] == "news"
        subscriber.unsubscribe()
        for expected in ("unsubscribe", "unsubscribe"):
            assert subscriber.get_message(timeout=5)["type"] == expected
        client.lpush("queue", "message")
        subscriber.connection.send_command("BRPOP", "queue", 1)
        assert subscriber.connection.read_response() == ["queue", "message"]
    assert proxy.record == [(1, "PUBLISH", "one"), (2, "LPUSH", "queue"), (3, "BRPOP", "queue")]


# --- Before and after a write ------------------------------------------------------------------------------------


@PROTOCOLS
@pytest.mark.parametrize(("when", "happened"), [("before", None), ("after", "2")])
def test_a_fault_at_a_write(proxy, direct, protocol, when, happened):
    """Is done once: the write before it has happened, the client is told of no reply, and can connect again."""
    seen = []
    with client_of(proxy, protocol=protocol) as client:
        proxy.at_write(2, when, lambda: seen.append((direct.get("a"), direct.get("b"))))
        client.set("a", 1)
        with pytest.raises(RedisConnectionError):
            client.set("b", 2)
        assert seen == [("1", happened)]
        assert direct.get("b") == happened
        wait_until(lambda: proxy.fired, "it is done")
        assert proxy.fired == [(2, "SET", "b")]
        client.set("c", 3)
    assert seen == [("1", happened)]
    assert direct.get("c") == "3"


@pytest.mark.parametrize(("when", "happened"), [("before", ["1", None, None]), ("after", ["1", "2", None])])
def test_a_fault_within_a_pipeline(proxy, client, direct, when, happened):
    """What stands before it in the same buffer is executed, and what stands behind it is not."""
    seen = []
    proxy.at_write(2, when, lambda: seen.append(direct.mget("a", "b", "c")))
    with client.pipeline(transaction=False) as pipeline, pytest.raises(RedisConnectionError):
        pipeline.set("a", 1).get("a").set("b", 2).set("c", 3).execute()
    assert seen == [happened]
    assert direct.mget("a", "b", "c") == happened


@pytest.mark.parametrize(("when", "happened"), [("before", [None, None]), ("after", ["1", "2"])])
def test_a_fault_at_a_transaction(proxy, client, direct, when, happened):
    """All of it has happened, or nothing."""
    proxy.at_write(1, when, lambda: None)
    with client.pipeline() as pipeline, pytest.raises(RedisConnectionError):
        pipeline.set("a", 1).set("b", 2).execute()
    assert direct.mget("a", "b") == happened


@pytest.mark.parametrize(("when", "happened"), [("before", None), ("after", "1")])
def test_a_fault_at_a_script(proxy, client, direct, when, happened):
    """As at any write."""
    proxy.at_write(1, when, lambda: None)
    with pytest.raises(RedisConnectionError):
        client.eval("return redis.call('SET', KEYS[1], 1)", 1, "a")
    assert direct.get("a") == happened


@PROTOCOLS
def test_a_fault_after_a_brpop_loses_what_it_took(proxy, direct, protocol):
    """The message is gone from its list, and nobody has it."""
    with client_of(proxy, protocol=protocol) as client:
        proxy.at_write(1, "after", lambda: None)
        taken = in_thread(lambda: client.brpop("queue", timeout=5))
        wait_until(lambda: direct.info("clients")["blocked_clients"], "it waits")
        direct.lpush("queue", "message")
        assert isinstance(taken(), RedisConnectionError)
    assert direct.llen("queue") == 0
    wait_until(lambda: proxy.fired == [(1, "BRPOP", "queue")], "it is done")


def test_a_fault_before_a_brpop_comes_before_the_write_behind_it(proxy, client, direct):
    """It is known too late that a BRPOP takes something."""
    direct.lpush("queue", "message")
    proxy.at_write(1, "before", lambda: None)
    assert client.brpop("queue", timeout=1)
    with pytest.raises(RedisConnectionError):
        client.zadd("unacked_index", {"tag": 1})
    assert direct.exists("unacked_index") == 0
    wait_until(lambda: proxy.fired == [(2, "ZADD", "unacked_index")], "it is done")


def test_a_fault_may_use_the_proxy(proxy, direct):
    """It resets all connections, or silences them."""
    with client_of(proxy, socket_timeout=0.4) as client:
        proxy.at_write(1, "after", proxy.reset_all)
        with pytest.raises(RedisConnectionError):
            client.set("a", 1)
        proxy.at_write(2, "after", proxy.silence)
        with pytest.raises(RedisTimeoutError):
            client.set("b", 2)
    assert direct.mget("a", "b") == ["1", "2"]


def test_what_a_fault_raises_is_raised_at_the_end(redis_url):
    """Rather than swallowed in a thread."""

    def fail():
        raise ProcessLookupError("no such worker")

    def use():
        with resp_proxy(redis_url) as proxy, client_of(proxy) as client:
            proxy.at_write(1, "before", fail)
            with pytest.raises(RedisConnectionError):
                client.set("a", 1)

    with pytest.raises(ProcessLookupError, match="no such worker"):
        use()


# --- The network -------------------------------------------------------------------------------------------------


def test_a_reset_ends_all_connections_on_both_sides(proxy, direct):
    """With RST, not FIN; new ones work."""
    with raw_connection(proxy) as one, raw_connection(proxy) as two:
        for connection in (one, two):
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
        wait_until(lambda: len(direct.client_list()) == 3, "both are connected to Redis")
        proxy.reset_all()
        for connection in (one, two):
            with pytest.raises(ConnectionResetError):
                connection.recv(100)
    wait_until(lambda: len(direct.client_list()) == 1, "Redis has lost them, too")
    with client_of(proxy) as client:
        assert client.ping()


def test_silence_leaves_old_and_new_connections_without_an_answer(proxy, direct):
    """Until it ends: then new ones work, and the old ones stay dead, without an end on either side."""
    with client_of(proxy, socket_timeout=0.4) as client, raw_connection(proxy) as old:
        client.set("a", 1)
        old.sendall(b"PING\r\n")
        assert old.recv(100) == b"+PONG\r\n"
        proxy.silence()
        for _ in ("the old connection", "a new one"):
            with pytest.raises(RedisTimeoutError):
                client.set("a", 2)
        with raw_connection(proxy) as new:
            proxy.speak()
            client.set("b", 1)
            for connection in (old, new):
                connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n3\r\n")
                connection.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    connection.recv(100)
    assert direct.mget("a", "b") == ["1", "1"]
    # This one, and those of the two that were silenced while they had one, which Redis has not been told of.
    wait_until(lambda: len(direct.client_list()) == 3, "only those that can be told have ended")


def test_a_silenced_brpop_still_takes_a_message(proxy, direct):
    """Redis has not been told that nobody is there, and the message is lost."""
    with client_of(proxy, socket_timeout=1) as client:
        taken = in_thread(lambda: client.brpop("queue", timeout=0))
        wait_until(lambda: direct.info("clients")["blocked_clients"], "it waits")
        proxy.silence()
        assert isinstance(taken(), RedisTimeoutError)
    direct.lpush("queue", "message")
    assert direct.llen("queue") == 0


def test_latency_delays_each_direction(proxy, client):
    """And without it there is next to none."""

    def shortest_s(calls):
        times_s = []
        for _ in range(calls):
            started_s = time.perf_counter()
            client.ping()
            times_s.append(time.perf_counter() - started_s)
        return min(times_s)

    assert shortest_s(50) < 0.02
    proxy.latency_s = 0.05
    assert shortest_s(3) >= 0.1
    proxy.latency_s = 0
    assert shortest_s(50) < 0.02


def test_large_requests_and_replies_are_not_held_up(proxy, client):
    """Neither side waits for a delayed acknowledgement, of 40 ms each; a busy machine does not hold up most of them."""
    value = "x" * 100_000
    times_s = []
    for _ in range(50):
        started_s = time.perf_counter()
        client.set("a", value)
        assert client.get("a") == value
        times_s.append(time.perf_counter() - started_s)
    assert median(times_s) < 0.04


@pytest.mark.parametrize("latency_s", [0, 0.05])
def test_a_client_that_goes_is_gone_in_redis(proxy, direct, latency_s):
    """And what it said last is executed, latency or not."""
    proxy.latency_s = latency_s
    with raw_connection(proxy) as connection:
        connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n")
    wait_until(lambda: direct.get("a") == "1", "the write arrives")
    wait_until(lambda: len(direct.client_list()) == 1, "the connection ends")


def test_a_redis_that_goes_is_gone_for_its_clients():
    """Its connections end, new ones too, and another one's URL may take its place."""
    with local_redis() as first, resp_proxy(first) as proxy, client_of(proxy) as client:
        client.set("a", 1)
        with Redis(unix_socket_path=unquote(urlsplit(first).path)) as killer:
            os.kill(killer.info("server")["process_id"], signal.SIGKILL)
        for _ in ("the old connection", "a new one"):
            with pytest.raises(RedisConnectionError):
                client.get("a")
        with local_redis() as second:
            proxy.target = second
            assert client.get("a") is None


def test_it_forwards_over_tcp(proxy, direct):
    """To the URL of another proxy, for one."""
    with resp_proxy(proxy.url) as outer, client_of(outer) as client:
        client.set("a", 1)
        wait_until(lambda: len(direct.client_list()) == 2, "it is connected")
        outer.reset_all()
        wait_until(lambda: len(direct.client_list()) == 1, "the reset gets through")
        assert client.get("a") == "1"
        assert outer.record == proxy.record == [(1, "SET", "a")]


def test_nothing_is_left(redis_url, direct):
    """Neither threads nor sockets, whatever state its connections are in."""
    gc.collect()
    before = threads_and_sockets()
    with resp_proxy(redis_url) as proxy, raw_connection(proxy) as plain, raw_connection(proxy) as silenced:
        plain.sendall(b"PING\r\n")
        plain.recv(100)
        silenced.sendall(b"BRPOP queue 0\r\n")
        wait_until(lambda: direct.info("clients")["blocked_clients"], "it waits")
        proxy.silence()
        proxy.speak()
        with raw_connection(proxy) as slow:
            proxy.latency_s = 30
            slow.sendall(b"SET a 1\r\n")
    with pytest.raises(ConnectionRefusedError), raw_connection(proxy):
        pass
    # What earlier tests have left may end meanwhile.
    assert threads_and_sockets() <= before
    wait_until(lambda: len(direct.client_list()) == 1, "Redis has lost them all")


def threads_and_sockets():
    """Return this process's threads and, on Linux, its sockets, each by a name of its own."""
    links = [str(path.readlink()) for path in Path("/proc/self/fd").glob("*") if path.is_symlink()]
    return {*threading.enumerate(), *(link for link in links if link.startswith("socket:"))}


# --- A worker ----------------------------------------------------------------------------------------------------

DEFINITION = """
- id: echo
  endpoint: {{url: "{url}/echo/{{name}}", method: GET}}
"""


def test_a_worker_runs_a_plan_through_it(proxy, redis_url, tmp_path):
    """And all that the worker writes is on record, the messages that it takes with the rest."""
    with http_service() as service:
        (tmp_path / "echo.yaml").write_text(DEFINITION.format(url=service.url))
        variables = {
            "WORKFLOW_STATE_ACTIONS": str(tmp_path / "echo.yaml"),
            "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "1",
        }
        names = [f"a{uuid4().hex}" for _ in range(3)]
        document = plan(**{names[0]: [], names[1]: [names[0]], names[2]: [names[1]]})
        with forked_worker(proxy.url, log_file=tmp_path / "worker.log", environment=variables):
            execution_id = ask_in_another_process(redis_url, SUBMIT, json.dumps(document), **variables)

            def ended():
                state = ask_in_another_process(redis_url, STATE, execution_id, **variables)
                return state if state["status"] in {"completed", "failed"} else None

            state = wait_until(ended, "the execution ends")
        assert state["status"] == "completed", state
        assert len(service.journal) == 3
    assert [write.number for write in proxy.record] == list(range(1, len(proxy.record) + 1))
    commands = [write.command for write in proxy.record]
    # The plan's own task, its levels and their actions.
    assert commands.count("BRPOP") >= 4
    assert "EVALSHA" in commands
