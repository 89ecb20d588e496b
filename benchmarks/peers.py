"""The same plan on other engines, for comparison: `python benchmarks/peers.py install` makes a venv for each of them.

They pin what this project doesn't use (celery-director: Celery 5.5 and Python before 3.12), hence a venv for each, in
`.venv/peers/`. The scripts that run in those are in `benchmarks/peers/`, and say what exactly is measured.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.exceptions import RedisError

from workflow_state.engine.local import local_redis
from workflow_state.errors import WorkflowStateError

sys.path.insert(0, str(Path(__file__).with_name("peers")))

from children import child_process

FOLDER = Path(__file__).parents[1] / ".venv" / "peers"
# Exact versions, so that figures can be compared.
REQUIREMENTS = {"celery-director": ["celery-director==0.10.0", "httpx>=0.28,<1"], "prefect": ["prefect==3.9.1"]}
SCRIPTS = {"celery-director": "director_bench.py", "prefect": "prefect_bench.py"}
# celery-director imports `imp` and `distutils`, which Python 3.12 has no more; its pins have wheels from 3.9 on.
PYTHONS = {"celery-director": ["python3.11", "python3.10", "python3.9"]}
INSTALL_DEADLINE_S = 600


def find_peers(folder: Path) -> dict[str, Path]:
    """Return the interpreters of the peers that are installed in that folder, by the peer's name."""
    pythons = {name: folder / name / "bin" / "python" for name in SCRIPTS}
    return {name: python for name, python in pythons.items() if python.is_file()}


def measure_peer(name: str, python: Path, url: str, rounds: int, timeout_s: float) -> list[float] | None:
    """Return how long each round of twenty GETs to the URL took on that peer, in ms.

    None, and a line on stderr that says why, where it fails or takes longer than `timeout_s` in all. Everything that it
    starts has ended by then. Call it in the main thread.
    """
    script = Path(__file__).with_name("peers") / SCRIPTS[name]
    try:
        with ExitStack() as stack:
            redis_urls = [stack.enter_context(local_redis())] if name == "celery-director" else []
            command = [str(python), str(script), url, *redis_urls, str(rounds)]
            # Another interpreter's packages must not be seen in that venv.
            environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
            # The peer's own folders go with ours, also where it is killed.
            environment["TMPDIR"] = stack.enter_context(TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True))
            process = stack.enter_context(
                child_process(command, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            )
            output, errors = process.communicate(timeout=timeout_s)
        if process.returncode == 0:
            return [float(ms) for ms in json.loads(output.splitlines()[-1])["ms"]]
        reason = last_line(errors) or f"it ended with {process.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"it was not ready after {timeout_s:.0f} s"
    except (OSError, RedisError, WorkflowStateError, ValueError, LookupError) as error:
        reason = str(error)
    print(f"{name} was not measured: {reason}", file=sys.stderr)
    return None


def last_line(text: str) -> str:
    """Return the last line that says something: of a traceback, the error."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def install(folder: Path) -> None:
    """Make the venvs that are not there yet; raise SystemExit, with one line, where that fails."""
    for name, requirements in REQUIREMENTS.items():
        if name in find_peers(folder):
            print(f"{name} is in {folder / name}")
            continue
        print(f"Installing {name} into {folder / name} …")
        try:
            run_quietly([python_for(name), "-m", "venv", str(folder / name)])
            run_quietly([str(folder / name / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements])
        except BaseException:
            # Half a venv would be taken for a peer.
            shutil.rmtree(folder / name, ignore_errors=True)
            raise


def python_for(name: str) -> str:
    """Return an interpreter that the peer can run on."""
    wanted = PYTHONS.get(name)
    if wanted is None or f"python3.{sys.version_info.minor}" in wanted:
        return sys.executable
    found = next(filter(None, map(shutil.which, wanted)), None)
    if found is None:
        raise SystemExit(f"{name} needs one of {', '.join(wanted)}, and none is on the PATH")
    return found


def run_quietly(command: list[str]) -> None:
    """Run a command of the installation; raise SystemExit with the last line of what it said, where it fails."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        with child_process(command, environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            output, _ = process.communicate(timeout=INSTALL_DEADLINE_S)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{' '.join(command)} took longer than {INSTALL_DEADLINE_S} s") from None
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed, is the package index reachable? {last_line(output)}")


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        raise SystemExit("usage: python benchmarks/peers.py install")
    install(FOLDER)
