"""Running the blocks of a page as its reader would: one after the other, in one shell and one folder.

- `sh run` is run by bash, and must end with 0, or with `exit=N`; `python run` likewise.
- `sh background=WORD` is started, and goes on until the page ends; the next block waits for the WORD in its output.
- `sh each=WORD` is started line by line, each in a terminal of its own: what does not end by itself must print the WORD
  (`one|another`), and is then ended by Ctrl-C.
- `… file=NAME` is written into a file.
- `text printed` is what the block before it printed. Durations, ids and times may differ; UPDATE_DOCS=1 writes it anew.
- `… with=SCENE` is not run with the rest of the page, but where that scene is set (see scenes.py).

The ports that pages name are replaced by free ones, and so are the hosts that a scene stands in for. `redis-server`,
`./run demo` and `pip install` are what the tests have of them; the last says whether all that it would bring is there.
`python3 -m venv` makes an environment that can be activated, and has what the tests have.
`python`, `celery` and `workflow-state` run what they always do, in a process that is forked (helpers/forked_python.py).
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from helpers.forked_python import forked_programs
from helpers.pages.markdown import ROOT, Block, blocks_of
from helpers.servers import free_port
from helpers.waiting import wait_until
from workflow_state.engine.local import find_server

PORTS = ("18080", "6379", "9464")
# Where a command listens that is not told where.
OWN_PORTS = ("WORKFLOW_STATE_WEB_PORT", "FLOWER_PORT")
VARYING = [
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\d+(\.\d+)? s\b"), "N s"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"), "TIME"),
    # Whoever looks ten times a second sees some actions while they run or wait for their next attempt, and others not.
    (re.compile(r"^  \w+: (running|attempt \d+ failed, retry).*\n", re.MULTILINE), ""),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
    (re.compile(r"(?<=\S) {2,}"), "  "),
]
# `python3 -m venv FOLDER`; the programs are those that come next on the PATH.
VENV = r"""[ "$1 $2" = "-m venv" ] || exec python "$@"
mkdir -p "$3/bin"
echo "export VIRTUAL_ENV='$PWD/$3' PATH='$PWD/$3/bin:$PATH'" >"$3/bin/activate"
"""
# The shell that a block has is the one that the block before it left.
SCRIPT = """[ -e .session ] && . ./.session
cd "$(cat .folder 2>/dev/null || pwd)"
{text}
code=$?
export -p >"$SESSION/.session"
pwd >"$SESSION/.folder"
exit $code
"""


class DocSession:
    """A folder, a shell's variables and background processes; a context manager, which ends them.

    `substitutes` are texts of the page, and what stands in for them; `stack` is closed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in PORTS}
        self.substitutes: dict[str, str] = {}
        self.stack = ExitStack()
        self.background: list[subprocess.Popen[bytes]] = []
        self.output = ""
        home = folder / ".home"
        home.mkdir()
        programs = folder / ".programs"
        programs.mkdir()
        self._write_program(programs / "redis-server", f'exec {find_server()[0]} "$@"')
        self._write_program(programs / "pip", f'exec {sys.executable} {Path(__file__).with_name("fake_pip.py")} "$@"')
        self._write_program(folder / "run", f'shift; exec {sys.executable} {ROOT / "examples" / "run_demo.py"} "$@"')
        self._write_program(programs / "python3", VENV)
        # No more of it: the tables of pytest would be about what the page tests.
        (folder / "pyproject.toml").write_text('[project]\nname = "workflow-state"\n')
        (folder / "examples").symlink_to(ROOT / "examples")
        own = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOW_STATE_")}
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        own |= {name: str(free_port()) for name in OWN_PORTS}
        shell = {"PATH": path, "SESSION": str(folder), "HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200"}
        self.environment = {**own, **shell, **forked_programs(programs)}

    @staticmethod
    def _write_program(path: Path, command: str) -> None:
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.background):
            _signal(process, signal.SIGTERM)
        for process in self.background:
            _wait(process)
        self.stack.close()

    def do(self, block: Block) -> None:
        """Do what the words of the block say."""
        if "file" in block.words:
            path = self._here() / block.words["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._with_substitutes(block.text))
        elif "background" in block.words:
            self.start(block.text, block.words["background"])
        elif "each" in block.words:
            for line in block.text.splitlines():
                self._try(line, block.words["each"])
        elif "run" in block.words:
            text = block.text if block.language == "sh" else f"python - <<'PYTHON'\n{block.text}PYTHON"
            self.run(text, int(block.words.get("exit", 0)))
        elif "printed" in block.words:
            self._compare(block)

    def run(self, text: str, code: int = 0) -> None:
        """Run commands in the shell; fail where they don't end with that code."""
        done = subprocess.run(
            ["bash", "-c", SCRIPT.replace("{text}", self._with_substitutes(text))],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        self.output = done.stdout
        for port, free in self.ports.items():
            self.output = self.output.replace(free, port)
        assert done.returncode == code, f"ended with {done.returncode}, not {code}:\n{text}\n{self.output}"

    def start(self, text: str, words: str) -> subprocess.Popen[bytes]:
        """Start a command that goes on, and wait until it prints one of the words (`one|another`)."""
        process, log = self._open(text)
        said = re.compile(words, re.IGNORECASE)
        wait_until(lambda: said.search(log.read_text()) or process.poll() is not None, f"{text} says {words}")
        assert process.poll() is None, f"{text} has ended: {log.read_text()}"
        return process

    def _try(self, line: str, words: str) -> None:
        process, log = self._open(line)
        said = re.compile(words, re.IGNORECASE)
        wait_until(lambda: said.search(log.read_text()) or process.poll() is not None, f"{line} says {words}")
        if process.poll() is None:
            _signal(process, signal.SIGINT)
            _wait(process)
        else:
            assert process.returncode == 0, f"{line} ended with {process.returncode}: {log.read_text()}"

    def _open(self, text: str) -> tuple[subprocess.Popen[bytes], Path]:
        log = self.folder / f".log-{len(self.background)}"
        script = SCRIPT.partition("code=$?")[0].replace("{text}", self._with_substitutes(text))
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.background.append(process)
        return process, log

    def _here(self) -> Path:
        folder = self.folder / ".folder"
        return Path(folder.read_text().strip()) if folder.exists() else self.folder

    def _with_substitutes(self, text: str) -> str:
        for told, meant in self.substitutes.items():
            text = text.replace(told, meant)
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self.ports[found[0]], text)

    def _compare(self, block: Block) -> None:
        if os.environ.get("UPDATE_DOCS"):
            _replace(block, self.output)
            return
        assert _steady(self.output) == _steady(block.text), (
            f"{block} says something else than was printed:\n{self.output}"
        )


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _steady(text: str) -> str:
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text.strip()


def _replace(block: Block, output: str) -> None:
    # Blocks before it may have changed their length.
    page = block.page.read_text()
    start, end = next(now.span for now in blocks_of(block.page) if now.text == block.text and "printed" in now.words)
    block.page.write_text(f"{page[:start]}{output.strip()}\n{page[end:]}")
