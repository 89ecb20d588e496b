"""Running the blocks of a page as its reader would: one after the other, in one shell and one folder.

- `sh run` is run by bash, and must end with 0, or with `exit=N`; `python run` likewise.
- `sh background=WORD` is started, and goes on until the page ends; the next block waits for the WORD in its output.
- `… file=NAME` is written into a file.
- `text printed` is what the block before it printed. Durations, ids and times may differ; UPDATE_DOCS=1 writes it anew.

The ports that pages name are replaced by free ones, and `redis-server` and `./run demo` by what the tests have of them.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from markdown import ROOT, Block, blocks_of
from support import free_port, wait_until

from workflow_state.local import find_server

PORTS = ("18080", "6379")
VARYING = [
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\d+(\.\d+)? s\b"), "N s"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"), "TIME"),
    # Whoever looks ten times a second sees some actions while they run or wait for their next attempt, and others not.
    (re.compile(r"^  \w+: (running|attempt \d+ failed, retry).*\n", re.MULTILINE), ""),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
    (re.compile(r"(?<=\S) {2,}"), "  "),
]
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
    """A folder, a shell's variables and background processes; a context manager, which ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in PORTS}
        self.background: list[subprocess.Popen[bytes]] = []
        self.output = ""
        programs = folder / ".programs"
        programs.mkdir()
        self._write_program(programs / "redis-server", f'exec {find_server()[0]} "$@"')
        self._write_program(folder / "run", f'shift; exec {sys.executable} {ROOT / "examples" / "run_demo.py"} "$@"')
        (folder / "examples").symlink_to(ROOT / "examples")
        own = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOW_STATE_")}
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**own, "PATH": path, "SESSION": str(folder), "NO_COLOR": "1", "COLUMNS": "200"}

    @staticmethod
    def _write_program(path: Path, command: str) -> None:
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.background):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.background:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def do(self, block: Block) -> None:
        """Do what the words of the block say."""
        if "file" in block.words:
            path = self._here() / block.words["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._with_free_ports(block.text))
        elif "background" in block.words:
            self._start(block)
        elif "run" in block.words:
            text = block.text if block.language == "sh" else f"python - <<'PYTHON'\n{block.text}PYTHON"
            code = self._run(text)
            assert code == int(block.words.get("exit", 0)), f"{block} ended with {code}:\n{self.output}"
        elif "printed" in block.words:
            self._compare(block)

    def _here(self) -> Path:
        folder = self.folder / ".folder"
        return Path(folder.read_text().strip()) if folder.exists() else self.folder

    def _with_free_ports(self, text: str) -> str:
        return re.sub(r"\b(18080|6379)\b", lambda found: self.ports[found[0]], text)

    def _run(self, text: str) -> int:
        done = subprocess.run(
            ["bash", "-c", SCRIPT.replace("{text}", self._with_free_ports(text))],
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
        return done.returncode

    def _start(self, block: Block) -> None:
        log = self.folder / f".log-{len(self.background)}"
        script = SCRIPT.partition("code=$?")[0].replace("{text}", self._with_free_ports(block.text))
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
        word = block.words["background"].lower()
        wait_until(lambda: word in log.read_text().lower() or process.poll() is not None, f"{block} says {word}")
        assert process.poll() is None, f"{block} has ended: {log.read_text()}"

    def _compare(self, block: Block) -> None:
        if os.environ.get("UPDATE_DOCS"):
            _replace(block, self.output)
            return
        assert _steady(self.output) == _steady(block.text), (
            f"{block} says something else than was printed:\n{self.output}"
        )


def _steady(text: str) -> str:
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text.strip()


def _replace(block: Block, output: str) -> None:
    # Blocks before it may have changed their length.
    page = block.page.read_text()
    start, end = next(now.span for now in blocks_of(block.page) if now.text == block.text and "printed" in now.words)
    block.page.write_text(f"{page[:start]}{output.strip()}\n{page[end:]}")
