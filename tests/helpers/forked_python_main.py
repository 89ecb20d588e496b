"""The process that commands and workers are forked off: it has the application imported, and has used nothing of it.

It is asked over a socket (forked_python.py, forked_command.py). A question is the arguments of `python`, the folder,
the environment, and whether it gets a session of its own. Four file descriptors come with it: the three standard
streams, and where to write how the child ended. The answer is the child's process id. It ends with the tests' socket.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import types
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

# Read and run, not imported: each of these acts when it is imported, or reads the environment.
_LEFT = ("__main__", "celeryconfig", "telemetry", "testing")
# What Celery imports when a worker or a command connects, and not before.
_IMPORTED_LATE = (
    "celery.apps.worker",
    "celery.backends.redis",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "celery.events.state",
    "celery.worker.consumer",
    "celery.worker.components",
    "celery.worker.control",
    "celery.worker.strategy",
    "kombu.transport.redis",
    "rich.live",
)
_MAX_BYTES = 1_000_000
_PR_SET_PDEATHSIG = 1


def import_application() -> None:
    """Import all of it, down to what is otherwise imported when it is needed."""
    package = importlib.import_module("workflow_state")
    folder = Path(str(package.__file__)).parent
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        if not set(parts).intersection(_LEFT):
            importlib.import_module(".".join(parts).removesuffix(".__init__"))
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    settings = importlib.import_module("workflow_state.settings")
    assert not settings.get_settings.cache_info().currsize, "an import has read the environment"


def wait_for_question(channel: socket.socket, door: socket.socket) -> tuple[list[Any], list[int]]:
    """Return the next question and its descriptors, in a child; exit where nobody will ask.

    In between tell how children ended. The channel is the tests' own; at the door any process may ask.
    """
    ended, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    children: dict[int, int] = {}
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(told)
    while True:
        ready = wait_for_any((channel.fileno(), door.fileno(), ended), children.values())
        if ended in ready:
            os.read(ended, 4096)
        tell_how_children_ended(children, nobody_waits=ready)
        if channel.fileno() in ready:
            asking = channel
        elif door.fileno() in ready:
            asking, _ = door.accept()
        else:
            continue
        question, descriptors = receive_question(asking)
        if not question and asking is channel:
            os._exit(0)
        if question and not fork_for(asking, descriptors, children):
            signal.set_wakeup_fd(-1)
            for descriptor in (ended, told, *children.values()):
                os.close(descriptor)
            for other in {channel, door, asking}:
                other.close()
            return json.loads(question), descriptors
        if asking is not channel:
            asking.close()


def receive_question(asking: socket.socket) -> tuple[bytes, list[int]]:
    """Return a question and its descriptors; nothing where who asks has gone."""
    try:
        question, descriptors, _, _ = socket.recv_fds(asking, _MAX_BYTES, 4)
    except ConnectionError:
        return b"", []
    return question, descriptors


def fork_for(asking: socket.socket, descriptors: list[int], children: dict[int, int]) -> int:
    """Fork, note the child, and tell who asks; return the child's id, and in the child 0."""
    *streams, status = descriptors
    child = os.fork()
    if not child:
        os.close(descriptors.pop())
        return 0
    children[child] = status
    for descriptor in streams:
        os.close(descriptor)
    # Who asks may have been killed since.
    with suppress(ConnectionError):
        asking.send(str(child).encode())
    return child


def tell_how_children_ended(children: dict[int, int], nobody_waits: Container[int]) -> None:
    """Write the status of each child that has ended to whoever waits for it; kill the one that nobody waits for."""
    for child, descriptor in list(children.items()):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            with suppress(ConnectionError):
                os.write(descriptor, struct.pack("i", status))
            os.close(children.pop(child))
        elif descriptor in nobody_waits:
            os.kill(child, signal.SIGKILL)


def wait_for_any(readable: Iterable[int], closing: Iterable[int]) -> set[int]:
    """Return which of these can be read, or has been closed at the other end."""
    watched = select.poll()
    for descriptor in readable:
        watched.register(descriptor, select.POLLIN)
    for descriptor in closing:
        watched.register(descriptor, 0)
    return {descriptor for descriptor, _ in watched.poll()}


def become(folder: str, environment: dict[str, str], in_own_session: bool, streams: list[int]) -> None:  # noqa: FBT001
    """Make this process what it would be if it had just been started."""
    if in_own_session:
        os.setsid()
    # It ends with the tests, even where those are killed; then nobody asks its origin any more.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(line_buffering=stream.isatty())
    os.chdir(folder)
    # Before what the origin's own PYTHONPATH says.
    sys.path[1:1] = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def run(arguments: list[str]) -> None:
    """Do what `python -m MODULE …`, `-c CODE …` or `-` does; return how it exited where that is a number."""
    option, *rest = arguments
    assert option in ("-m", "-c", "-")
    sys.path[0] = str(Path.cwd()) if option == "-m" else ""
    sys.argv = rest if option == "-m" else [option, *rest[option == "-c" :]]
    try:
        if option == "-m":
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.modules["__main__"] = module = types.ModuleType("__main__")
            exec(rest[0] if option == "-c" else sys.stdin.read(), vars(module))  # noqa: S102 - it is asked for
    except SystemExit as exit_:
        if not isinstance(exit_.code, int | None):
            raise
        end(exit_.code or 0)
    end(0)


def end(exit_code: int) -> NoReturn:
    """Do what Python does at its end, but for freeing its memory, which takes longer than most commands."""
    threading._shutdown()  # noqa: SLF001 - these two are what Python calls
    atexit._run_exitfuncs()  # noqa: SLF001
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # Python then says so, and changes the exit code.
        sys.exit(exit_code)
    os._exit(exit_code)


if __name__ == "__main__":
    # Ctrl-C is for those who run the tests, and for what a test sends it to.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_application()
    # What is imported stays: no child has to look through it, or to copy it.
    gc.collect()
    gc.freeze()
    # What a child runs it runs here, so that it ends as any Python does.
    _question, _streams = wait_for_question(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
    _arguments, *_circumstances = _question
    become(*_circumstances, _streams)
    run(_arguments)
