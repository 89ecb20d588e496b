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
from uuid import uuid4

from chaos.harness.checker import Fault, Run
from chaos.options import FULL
from helpers.forked_python import start_python
from helpers.http_service import Service
from redis import Redis
from redis.exceptions import RedisError

from workflow_state.engine.local import find_server

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
- id: stall_get
  endpoint: {{url: "{url}/stall/{{part}}/{{name}}", method: GET, timeout: 60000}}
- id: stall_post
  endpoint: {{url: "{url}/stall/{{part}}/{{name}}", method: POST, timeout: 60000}}
- id: limited
  endpoint: {{url: "{url}/echo/{{name}}", method: POST, timeout: 10000}}
  rateLimit: {{requestsPerSecond: 4}}
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
    app: str = "workflow_state"
    arguments: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """More environment for the workers, such as another way to Redis."""
    faults: list[Fault] = field(default_factory=list)
    plans: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    """Where Redis is, if it is not the cluster's own."""

    @property
    def socket(self) -> Path:
        """Where Redis listens."""
        return self.folder / "redis.sock"

    @property
    def redis_url(self) -> str:
        """The same, as a URL."""
        return self.url or f"redis+socket://{self.socket}?virtual_host=0"

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

    def end_client(self) -> None:
        """End the client."""
        if self.client:
            self.client.kill()
            self.client.wait()
            for stream in (self.client.stdin, self.client.stdout):
                assert stream
                stream.close()

    def restart_client(self) -> None:
        """Start the client, and end the one before."""
        self.end_client()
        with (self.folder / "client.log").open("a") as log:
            self.client = open_python(
                ["-m", "driver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment_of(self),
            )

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

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float = 20) -> Any:
        """Wait, supervising, until the condition is true; fail with `what` did not happen."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}\n{self.log()[-2_000:]}"
            self.supervise()
            time.sleep(0.02)
        return value

    def requests_to(self, run: str) -> list[dict[str, Any]]:
        """Return the journal's entries for `<execution>.<action>`."""
        with self.service.lock:
            return [entry for entry in self.service.journal if entry["path"].endswith(f"/{run}")]

    def under_way(self) -> int:
        """Return how many requests have been read and not answered."""
        with self.service.lock:
            return sum(entry["endedAt"] is None for entry in self.service.journal)

    def canary(self) -> float:
        """Submit a plan, and return after how long it has completed, in seconds."""
        execution_id = f"canary-{uuid4()}"
        begun_s = time.monotonic()
        sing = {"id": "sing", "actionDefinitionId": "echo", "inputs": {"name": f"{execution_id}.sing"}}
        self.submit({execution_id: {"name": "canary", "actions": [sing]}})
        self.wait_for(lambda: not self.call("unended", [execution_id]), "the canary has completed", timeout_s=60)
        return time.monotonic() - begun_s

    def log(self) -> str:
        """Return what the workers have said."""
        path = self.folder / "workers.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, **fields: Any) -> Run:
        """Return what the checker needs."""
        states = self.call("states", list(self.plans))
        with self.service.lock:
            journal = [dict(entry) for entry in self.service.journal]
        return Run(self.plans, states, journal, **{"faults": self.faults, **fields})


@contextmanager
def cluster(folder: Path, service: Service, app: str = "workflow_state", url: str = "") -> Iterator[Cluster]:
    """Run a Redis and a client; workers are added by the test. All of it has ended when the block has.

    With `url` that Redis is used, and none is started.
    """
    (folder / "actions.yaml").write_text(DEFINITIONS.format(url=service.url))
    made = Cluster(folder, service, app=app, url=url)
    try:
        if not url:
            start_redis(made)
        made.restart_client()
        yield made
    finally:
        made.end_client()
        for process in [*made.workers, made.redis]:
            if process and process.poll() is None:
                # A worker that was stopped hears nothing else.
                process.kill()
                process.wait()


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
    command = ["-m", "celery", "-A", cluster.app, "worker", "--without-mingle", "--without-gossip"]
    with (cluster.folder / "workers.log").open("ab") as log:
        return open_python(
            [*command, "--loglevel", "INFO", *cluster.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment_of(cluster), **cluster.variables},
        )


def open_python(arguments: list[str], **options: Any) -> subprocess.Popen[Any]:
    """Run Python with these arguments and the options of `Popen`.

    It is forked with the suite, and started in the thorough run, which measures how much memory it has.
    """
    return subprocess.Popen([sys.executable, *arguments], **options) if FULL else start_python(arguments, **options)


def environment_of(cluster: Cluster) -> dict[str, str]:
    """Return the environment of whatever belongs to the cluster."""
    return {
        **os.environ,
        "WORKFLOW_STATE_REDIS_URL": cluster.redis_url,
        "WORKFLOW_STATE_ACTIONS": str(cluster.folder / "actions.yaml"),
        "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
        "WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": str(VISIBILITY_TIMEOUT_S),
        "CHAOS_APP": cluster.app,
        "PYTHONPATH": str(Path(__file__).parent),
    }


def children_of(process: int) -> list[int]:
    """Return the process ids of a process's children, whichever of its threads made them."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]
