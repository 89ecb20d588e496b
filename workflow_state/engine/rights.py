"""What a user of Redis has to be allowed: the keys, the channels and the commands, and a look whether it is.

A right that is missing shows late: without `celery-taskset-meta-*` a plan would stop after its first level and read
`running` for ever. So a worker looks before it starts. It sends each command inside of MULTI, where Redis says at once
whether the user may, and closes the connection before anything is executed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from celery import Celery
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from workflow_state.errors import SettingsError
from workflow_state.store.connection import CONNECTION_ERRORS, redis_client

# Each with arguments, so that Redis gets as far as to ask for the rights; {name} stands for a key or a channel.
_ON_OUR_KEYS = """
GET {ours}|SET {ours} x|MGET {ours}|DEL {ours}|EXISTS {ours}|EXPIRE {ours} 1|TTL {ours}|PTTL {ours}
HSET {ours} f v|HSETNX {ours} f v|HGET {ours} f|HMGET {ours} f|HGETALL {ours}|HKEYS {ours}|HLEN {ours}|HDEL {ours} f
HEXISTS {ours} f|HINCRBY {ours} f 1
ZADD {ours} 1 m|ZREM {ours} m|ZSCORE {ours} m|ZCARD {ours}|ZRANK {ours} m|ZRANGE {ours} 0 1|ZREVRANGE {ours} 0 1
ZRANGEBYSCORE {ours} 0 1|ZREMRANGEBYSCORE {ours} 0 1
EVAL return 0|EVALSHA 0000000000000000000000000000000000000000 0|SCRIPT LOAD return|SCRIPT EXISTS 0
TIME|PING|INFO|WAIT 0 1
"""
_ON_RESULTS = """
GET {result}|SET {result} x|MGET {result}|DEL {result}|EXPIRE {result} 1|GETRANGE {result} 0 1|PUBLISH {result} x
SUBSCRIBE {result}|UNSUBSCRIBE {result}
SADD {level} m|SCARD {level}|EXPIRE {level} 1|DEL {level}
"""
_ON_THE_BROKER = """
LPUSH {queue} x|RPUSH {queue} x|BRPOP {queue} 1|LLEN {queue}|LINDEX {queue} 0
ZADD {unacked_index} 1 m|ZREM {unacked_index} m|ZREVRANGEBYSCORE {unacked_index} 1 0|HSET {unacked} f v|HGET {unacked} f
HDEL {unacked} f|SET {mutex} x|GET {mutex}|DEL {mutex}
SADD {binding} m|SREM {binding} m|SMEMBERS {binding}|EXISTS {binding}|ZADD {binding} 1 m
LPUSH {reply} x|BRPOP {reply} 1|DEL {reply}|LLEN {reply}|EXPIRE {reply} 1
PUBLISH {control} x|PSUBSCRIBE {control}|PUNSUBSCRIBE {control}|PUBLISH {events} x
LLEN {event_queue}|DEL {event_queue}
"""
# Beside them: what begins and ends a connection, a transaction, and the look itself.
_ALWAYS = ("auth", "hello", "select", "client|setinfo", "client|setname", "multi", "exec", "discard", "watch")
# Servers before 7.2 do not know it.
_BESIDE = ("waitaof",)


@dataclass(frozen=True, slots=True)
class Names:
    """The keys and channels of a deployment, by what they are for; `*` stands for whatever comes there."""

    ours: str
    result: str
    level: str
    queue: str
    unacked: str
    unacked_index: str
    mutex: str
    binding: str
    reply: str
    control: str
    events: str
    event_queue: str


def names_of(app: Celery) -> Names:
    """Return the names that this application has by its configuration."""
    conf: Any = app.conf
    backend: Any = app.backend
    options = conf.broker_transport_options
    prefix, database = options.get("global_keyprefix", ""), backend.connparams.get("db") or 0
    return Names(
        ours=f"{prefix}workflow_state:*",
        result=_text(backend.get_key_for_task("*")),
        level=_text(backend.get_key_for_group("*", "")),
        queue=f"{prefix}{conf.task_default_queue}*",
        unacked=prefix + options.get("unacked_key", "unacked"),
        unacked_index=prefix + options.get("unacked_index_key", "unacked_index"),
        mutex=prefix + options.get("unacked_mutex_key", "unacked_mutex"),
        binding=f"{prefix}_kombu.binding*",
        reply=f"{prefix}*.{conf.control_exchange}.pidbox*",
        # By their very names: Redis compares the pattern of PSUBSCRIBE with the rule letter by letter.
        control=f"/{database}.{conf.control_exchange}.pidbox",
        events=f"/{database}.{conf.event_exchange}/*",
        event_queue=f"{prefix}{conf.event_queue_prefix}.*",
    )


def acl_rules(app: Celery) -> list[str]:
    """Return the rules of a Redis user who may do what we need and nothing else, for ACL SETUSER."""
    names = names_of(app)
    keys = [names.queue, names.ours, names.result, names.level, names.binding, names.reply, names.event_queue]
    keys += [names.unacked, names.unacked_index, names.mutex]
    commands = {_command_name(call) for part in _all_calls() for call in part}
    return [
        *_unique(f"~{key}" for key in keys if not _is_covered(key, names)),
        *_unique(f"&{channel}" for channel in (names.result, names.control, names.events)),
        *(f"+{command}" for command in sorted({*commands, *_ALWAYS, *_BESIDE})),
    ]


def refuse_missing_rights(app: Celery) -> None:
    """Raise SettingsError, with the name of each command and key that Redis refuses to this user.

    Nothing is executed, and nothing is asked where Redis can't be reached: it may come later.
    """
    names = names_of(app)
    client = redis_client(app.backend)
    try:
        client.ping()
        refused = [*_find_refused(client, _calls(_ON_OUR_KEYS + _ON_RESULTS), names)]
        with app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            refused += _find_refused(channel.client, _calls(_ON_THE_BROKER), names)
    except NoPermissionError as error:
        # Without PING, MULTI or INFO there is no more to be found out.
        refused = [str(error)]
    except (*CONNECTION_ERRORS, OSError):
        return
    if refused:
        raise SettingsError(
            f"Redis refuses to its user what workflow_state needs: {', '.join(refused)}; "
            "the page on operating has the rules, under Redis rights"
        )


def _find_refused(client: Redis, calls: Iterable[list[str]], names: Names) -> Iterator[str]:
    """Yield each call that the user may not make, as `COMMAND on KEY`."""
    filled = {name: pattern.replace("*", "rights") for name, pattern in _patterns(names).items()}
    pool: Any = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command("MULTI")
        connection.read_response()
        for call in calls:
            connection.send_command(*(part.format_map(filled) for part in call))
            try:
                connection.read_response()
            except NoPermissionError as error:
                yield _describe(call, names, str(error))
            except ResponseError:
                # A server that is too old for the command does without.
                continue
    finally:
        # What was collected is not executed.
        connection.disconnect()
        pool.release(connection)


def _describe(call: list[str], names: Names, problem: str) -> str:
    name = _command_name(call).upper().replace("|", " ")
    if "command" in problem:
        return name
    target = next((part.format_map(_patterns(names)) for part in call if "{" in part), "")
    return f"{name} on {target}"


def _all_calls() -> list[list[list[str]]]:
    return [_calls(text) for text in (_ON_OUR_KEYS, _ON_RESULTS, _ON_THE_BROKER)]


def _calls(text: str) -> list[list[str]]:
    return [call.split() for line in text.splitlines() if line for call in line.split("|")]


def _command_name(call: list[str]) -> str:
    return "|".join(call[:2]).lower() if call[0] == "SCRIPT" else call[0].lower()


def _patterns(names: Names) -> dict[str, str]:
    return {name: getattr(names, name) for name in Names.__slots__}


def _is_covered(key: str, names: Names) -> bool:
    """Return whether another pattern allows this key already."""
    return key != names.queue and key.startswith(names.queue.removesuffix("*"))


def _unique(rules: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(rules))


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)
