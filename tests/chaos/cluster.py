"""Real processes to do harm to: a Redis with an append-only file, workers under a supervisor, and a client.

Everything that is done to them is noted, for the checker. Nothing runs in threads: whoever waits calls `supervise`,
which starts again what has died, as Compose or systemd would.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checker import Fault, Run
from http_service import Service
from redis import Redis
from redis.exceptions import RedisError

from workflow_state.local import find_server

# The smallest that the settings allow: a dead worker's messages are back after five seconds, and an execution without
# a sign of life is looked after as soon.
VISIBILITY_TIMEOUT_S = 3

DEFINITIONS = """
- id: echo
  endpoint: {{url: "{url}/echo/{{name}}", method: GET, timeout: 10000}}
- id: post
  endpoint: {{url: "{url}/echo/{{name}}", method: POST, timeout: 10000}}
- id: keyed
  effect: keyed
  endpoint: {{url: "{url}/echo/{{name}}", method: POST, timeout: 10000}}
- id: flaky
  endpoint: {{url: "{url}/flaky/1/{{name}}", method: GET, timeout: 10000}}
  retryPolicy: {{maxAttempts: 20, initialDelayMs: 200, maxDelayMs: 500, backoffMultiplier: 2}}
- id: never
  endpoint: {{url: "{url}/status/404/{{name}}", method: GET, timeout: 10000}}
"""


@dataclass
class Cluster:
    """The processes, and what has been done to them."""

    folder: Path
    service: Service
    redis: subprocess.Popen[bytes] | None = None
    client: subprocess.Popen[str] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    arguments: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """More environment for the workers, such as another way to Redis."""
    faults: list[Fault] = field(default_factory=list)
    plans: dict[str, Any] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        """Where Redis listens."""
        return self.folder / "redis.sock"

    @property
    def redis_url(self) -> str:
        """The same, as a URL."""
        return f"redis+socket://{self.socket}?virtual_host=0"

    def note(self, kind: str) -> None:
        """Note a fault, right after it was done."""
        self.faults.append(Fault(time.time(), kind))

    def connection(self) -> Redis:
        """Return a connection to Redis for the one who does harm."""
        return Redis(unix_socket_path=str(self.socket), socket_timeout=30)

    def call(self, function: str, *arguments: Any) -> Any:
        """Have the client do something (driver.py)."""
        assert self.client
        assert self.client.stdin
        assert self.client.stdout
        self.client.stdin.write(json.dumps([function, *arguments]) + "\n")
        self.client.stdin.flush()
        line = self.client.stdout.readline()
        assert line, (self.folder / "client.log").read_text()[-3_000:]
        return json.loads(line)

    def submit(self, plans: Mapping[str, Any]) -> None:
        """Submit plans, each under its id."""
        self.plans |= plans
        self.call("submit", plans)

    def supervise(self) -> None:
        """Start again each worker that has ended."""
        for index, worker in enumerate(self.workers):
            if worker.poll() is not None:
                self.workers[index] = start_worker(self)

    def add_workers(self, count: int, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        """Start workers with these arguments."""
        self.arguments, self.variables = arguments, variables or {}
        self.workers += [start_worker(self) for _ in range(count)]

    def kill(self, worker: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> None:
        """Send a worker a signal."""
        os.kill(worker.pid, how)
        self.note(f"{how.name} to worker {worker.pid}")

    def kill_redis(self) -> None:
        """Kill Redis by -9, and start it again on what it has written."""
        assert self.redis
        self.redis.kill()
        self.redis.wait()
        self.note("SIGKILL to Redis")
        start_redis(self)

    def wait_for_ends(self, timeout_s: float, harm: Callable[[], None] = lambda: None) -> None:
        """Wait until every execution has ended, or the time is over: the checker tells what is lacking."""
        deadline_s = time.monotonic() + timeout_s
        rest = list(self.plans)
        while rest and time.monotonic() < deadline_s:
            self.supervise()
            harm()
            rest = self.call("unended", rest)
            time.sleep(0.05)

    def run(self, **fields: Any) -> Run:
        """Return what the checker needs."""
        states = self.call("states", list(self.plans))
        with self.service.lock:
            journal = [dict(entry) for entry in self.service.journal]
        return Run(self.plans, states, journal, self.faults, **fields)


@contextmanager
def cluster(folder: Path, service: Service) -> Iterator[Cluster]:
    """Run a Redis and a client; workers are added by the test. All of it has ended when the block has."""
    (folder / "actions.yaml").write_text(DEFINITIONS.format(url=service.url))
    with service.lock:
        service.journal.clear()
        service.seen.clear()
    made = Cluster(folder, service)
    try:
        start_redis(made)
        with (folder / "client.log").open("a") as log:
            made.client = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("driver.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_environment(made),
            )
        yield made
    finally:
        for process in [*made.workers, made.client, made.redis]:
            if process and process.poll() is None:
                # A worker that was stopped hears nothing else.
                process.kill()
                process.wait()
        for stream in (made.client.stdin, made.client.stdout) if made.client else ():
            if stream:
                stream.close()


def start_redis(cluster: Cluster) -> None:
    """Start Redis on the folder's append-only file, and wait until it answers."""
    binary, _ = find_server()
    settings = {
        "port": "0",
        "unixsocket": str(cluster.socket),
        "dir": str(cluster.folder),
        "save": "",
        # What it has answered to is with the operating system: a killed Redis loses nothing of it.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    lines = "".join(f'{name} "{value}"\n' for name, value in settings.items())
    with (cluster.folder / "redis.log").open("ab") as log:
        cluster.redis = subprocess.Popen([str(binary), "-"], stdin=subprocess.PIPE, stdout=log, stderr=log)
    assert cluster.redis.stdin
    cluster.redis.stdin.write(lines.encode())
    cluster.redis.stdin.close()
    deadline_s = time.monotonic() + 30
    while True:
        try:
            with cluster.connection() as connection:
                connection.ping()
        except RedisError:
            assert time.monotonic() < deadline_s, (cluster.folder / "redis.log").read_text()[-2_000:]
            time.sleep(0.01)
        else:
            return


def start_worker(cluster: Cluster) -> subprocess.Popen[bytes]:
    """Start a worker."""
    command = [sys.executable, "-m", "celery", "-A", "workflow_state", "worker", "--without-mingle", "--without-gossip"]
    with (cluster.folder / "workers.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--loglevel", "INFO", *cluster.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**_environment(cluster), **cluster.variables},
        )


def _environment(cluster: Cluster) -> dict[str, str]:
    return {
        **os.environ,
        "WORKFLOW_STATE_REDIS_URL": cluster.redis_url,
        "WORKFLOW_STATE_ACTIONS": str(cluster.folder / "actions.yaml"),
        "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
        "WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": str(VISIBILITY_TIMEOUT_S),
    }
