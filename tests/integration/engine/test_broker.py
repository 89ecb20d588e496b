"""Messages through our view of the broker, and plain Celery's, on a real Redis."""

import json

import pytest
from celery import Celery
from helpers.servers import client_of
from kombu import Exchange, Queue

from workflow_state.engine.local import local_redis

NAME = "workflow_state.test"


@pytest.fixture(scope="module")
def redis_url():
    """Run a Redis of this file's own."""
    with local_redis() as url:
        yield url


@pytest.fixture
def client(redis_url):
    """Look at what is there."""
    with client_of(redis_url) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def make_app(redis_url):
    """Return what makes applications on that Redis."""
    made = []

    def make(**options):
        app = Celery("test", broker=redis_url, set_as_current=False, **options)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def ours(make_app):
    return make_app(amqp="workflow_state.engine.broker:LeanAMQP")


def take(app, *, acknowledge=True):
    """Take the next message as a worker does, and return its headers and body."""
    taken = []

    def receive(body, message):
        taken.append((message.headers, body))
        if acknowledge:
            message.ack()

    with app.connection_for_read() as connection, app.amqp.TaskConsumer(connection.channel(), callbacks=[receive]):
        connection.drain_events(timeout=5)
    return taken[0]


@pytest.mark.parametrize(("sender", "receiver"), [("ours", "plain"), ("plain", "ours"), ("ours", "ours")])
def test_messages_are_celerys(client, ours, make_app, sender, receiver):
    """During a rollout workers of both kinds take each other's."""
    apps = {"ours": ours, "plain": make_app()}
    apps[sender].send_task(NAME, ("é", [1]), {"b": None}, task_id="t", headers={"x": 1})
    headers, (args, kwargs, _) = take(apps[receiver])
    assert (headers["id"], headers["task"], headers["x"], args, kwargs) == ("t", NAME, 1, ["é", [1]], {"b": None})
    assert client.keys("*unacked*") == client.keys("celery") == []


def test_a_message_says_nothing_twice(client, ours, make_app):
    """It is sent twice, so that every byte counts; of other tasks it stays what it is."""
    ours.send_task(NAME, (), {}, task_id="t", argsrepr="(1,)")
    make_app().send_task(NAME, (), {}, task_id="t", argsrepr="(1,)")
    plain, terse = client.lrange("celery", 0, -1)
    assert len(terse) < 0.7 * len(plain)
    message = json.loads(terse)
    assert message["headers"]["argsrepr"] == "(1,)"
    assert None not in message["headers"].values()
    assert {"argsrepr", "reply_to"}.isdisjoint(message["properties"])
    ours.send_task("a.team.s.own", (), {}, task_id="t")
    assert json.loads(client.lindex("celery", 0))["headers"]["eta"] is None


def test_messages_of_a_batch_go_out_together(client, ours):
    """By a producer of the pool, in one round trip, in their order."""
    with ours.producer_or_acquire() as producer, producer.batch(100):
        for number in range(10):
            ours.send_task(NAME, (number,), {}, producer=producer)
        assert client.llen("celery") == 0
    assert [take(ours)[1][0] for _ in range(10)] == [[number] for number in range(10)]


def test_what_was_taken_and_not_acknowledged_comes_back(client, ours):
    """The two commands that note it are one round trip, and no transaction."""
    ours.send_task(NAME, (1,), {}, task_id="t")
    client.config_resetstat()
    take(ours, acknowledge=False)
    # The connection was closed in order: what it held went back.
    assert client.llen("celery") == 1
    assert take(ours)[0]["id"] == "t"
    assert client.keys("*unacked*") == client.keys("celery") == []


def test_a_channel_keeps_its_client(ours):
    """Until its connections are other ones."""
    with ours.connection_for_write() as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        channel._disconnect_pools()  # noqa: SLF001 - what kombu does where a connection was lost
        with channel.conn_or_acquire() as third:
            assert third is not first
            assert third.ping()


def test_a_queue_that_expires_still_does(client, ours):
    """Celery's own, for answers to `inspect`: what comes when nobody listens any more must not stay."""
    queue = Queue("answers", Exchange("answers", type="direct"), routing_key="answers", expires=5)
    with ours.connection_for_write() as connection:
        producer = ours.amqp.Producer(connection)
        producer.publish({}, exchange=queue.exchange, routing_key="answers", declare=[queue], serializer="json")
    assert client.llen("answers") == 1
    assert 0 < client.ttl("answers") <= 5
