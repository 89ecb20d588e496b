"""A primary, its replica, and three sentinels that watch them: real processes, each with its password."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from helpers.servers import free_port
from helpers.waiting import wait_until
from workflow_state.engine.local import find_server

MASTER_NAME = "watched"
DATA_PASSWORD = "data-secret"
SENTINEL_PASSWORD = "sentinel-secret"


@dataclass(frozen=True, slots=True)
class Node:
    """A running server: one of the data nodes, or a sentinel."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    password: str

    def connection(self) -> Redis:
        """Return a connection to it."""
        return Redis(port=self.port, password=self.password, socket_timeout=5, decode_responses=True)


@dataclass(frozen=True, slots=True)
class Watched:
    """What runs; `data` are the first primary and its replica."""

    data: tuple[Node, ...]
    sentinels: tuple[Node, ...]

    @property
    def url(self) -> str:
        """The address for clients."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"sentinel://:{DATA_PASSWORD}@{hosts}/0?master_name={MASTER_NAME}&sentinel_password={SENTINEL_PASSWORD}"

    def primary_port(self) -> int:
        """Return the port of the primary, as the sentinels that live agree on it; 0 while they do not."""
        ports = set()
        for node in self.sentinels:
            with node.connection() as connection:
                address = connection.sentinel_get_master_addr_by_name(MASTER_NAME)
                ports.add(int(address[1]) if address else 0)
        return ports.pop() if len(ports) == 1 else 0

    def primary(self) -> Node:
        """Return the node that is the primary now."""
        port = self.primary_port()
        return next(node for node in self.data if node.port == port)


@contextmanager
def watched_redis(folder: Path, *, down_after_ms: int = 1_000, replicas: int = 1) -> Iterator[Watched]:
    """Run all of it until the block ends; the replica is in step, and the sentinels know each other."""
    with ExitStack() as stack:
        data = [stack.enter_context(data_node(folder, 0, None))]
        data += [stack.enter_context(data_node(folder, number + 1, data[0].port)) for number in range(replicas)]
        sentinels = [stack.enter_context(_sentinel(folder, number, data[0].port, down_after_ms)) for number in range(3)]
        made = Watched(tuple(data), tuple(sentinels))
        wait_until(lambda: _is_in_step(made, replicas), "the replica is in step, and the sentinels know each other")
        yield made


@contextmanager
def data_node(folder: Path, number: int = 0, primary_port: int | None = None) -> Iterator[Node]:
    """Run a server with an append-only file until the block ends, a replica where a primary is named."""
    port = free_port()
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(_own_folder(folder, f"data-{number}")),
        "save": '""',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "repl-diskless-sync-delay": "0",
        "requirepass": DATA_PASSWORD,
        "masterauth": DATA_PASSWORD,
        "maxmemory-policy": "noeviction",
    }
    if primary_port:
        settings["replicaof"] = f"127.0.0.1 {primary_port}"
    with _server(folder / f"data-{number}", port, settings, DATA_PASSWORD) as node:
        yield node


@contextmanager
def _sentinel(folder: Path, number: int, primary_port: int, down_after_ms: int) -> Iterator[Node]:
    port = free_port()
    name = MASTER_NAME
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(_own_folder(folder, f"sentinel-{number}")),
        "requirepass": SENTINEL_PASSWORD,
        "sentinel sentinel-pass": SENTINEL_PASSWORD,
        f"sentinel monitor {name}": f"127.0.0.1 {primary_port} 2",
        f"sentinel auth-pass {name}": DATA_PASSWORD,
        f"sentinel down-after-milliseconds {name}": str(down_after_ms),
        f"sentinel failover-timeout {name}": "5000",
    }
    with _server(folder / f"sentinel-{number}", port, settings, SENTINEL_PASSWORD, "--sentinel") as node:
        yield node


@contextmanager
def _server(folder: Path, port: int, settings: Mapping[str, str], password: str, *arguments: str) -> Iterator[Node]:
    binary, _ = find_server()
    # A sentinel writes into its file what it finds out.
    configuration = folder / "server.conf"
    configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen([str(binary), str(configuration), *arguments], stdout=output, stderr=output)
    node = Node(port, process, log, password)
    try:
        wait_until(lambda: _answers(node), f"the server on port {port} answers, see {log}")
        yield node
    finally:
        # One that was stopped hears nothing else.
        process.kill()
        process.wait()


def _answers(node: Node) -> bool:
    try:
        with node.connection() as connection:
            return bool(connection.ping())
    except RedisError:
        return False


def _is_in_step(made: Watched, replicas: int) -> bool:
    with made.data[0].connection() as connection:
        if connection.info("replication")["connected_slaves"] < replicas:
            return False
    for node in made.data[1:]:
        with node.connection() as connection:
            if connection.info("replication")["master_link_status"] != "up":
                return False
    for node in made.sentinels:
        with node.connection() as connection:
            state = connection.sentinel_masters()[MASTER_NAME]
            if int(state["num-other-sentinels"]) < len(made.sentinels) - 1 or int(state["num-slaves"]) < replicas:
                return False
    return True


def _own_folder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
