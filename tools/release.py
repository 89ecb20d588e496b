"""Make a release of this checkout: `make release VERSION=0.2.0`. docs/internals/release.md says what follows.

It refuses a tree with changes, a version that has a tag, and an empty "Unreleased" of CHANGELOG.md. Then it writes the
version and the section, commits, builds the wheel and the sdist into dist/, and installs each in an environment that
has nothing else. The tag is made last. Nothing is pushed; where a check fails, the commit is taken back.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PLAN = "examples/condition.json"
_OFFLINE = "--offline"


def main(arguments: list[str]) -> int:
    """Make the release; return 1 where it is refused or a check fails."""
    words = [word for word in arguments if word != _OFFLINE]
    if len(words) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", words[0]):
        print("say the version, such as 0.2.0: make release VERSION=0.2.0", file=sys.stderr)
        return 1
    version = words[0]
    if problem := find_problem(version):
        print(f"no release: {problem}", file=sys.stderr)
        return 1
    before = _git("rev-parse", "HEAD")
    try:
        write_version(version)
        _git("commit", "--quiet", "--all", "--message", f"Release {version}")
        for file in build(version):
            check(file, version, offline=_OFFLINE in arguments)
        _git("tag", "--annotate", "--message", f"Release {version}", f"v{version}")
    except subprocess.CalledProcessError as error:
        _git("reset", "--quiet", "--hard", before)
        print(f"no release: {error}\n{error.stdout or ''}{error.stderr or ''}", file=sys.stderr)
        return 1
    print(f"v{version} is committed, tagged and in dist/: git push origin HEAD v{version}")
    return 0


def find_problem(version: str) -> str | None:
    """Return why this version can't be released from here, or None."""
    if _git("status", "--porcelain"):
        return "the tree has changes that are not committed"
    if _git("tag", "--list", f"v{version}"):
        return f"there is a tag v{version} already"
    if not unreleased((ROOT / "CHANGELOG.md").read_text()).strip():
        return 'CHANGELOG.md has nothing under "Unreleased"'
    return None


def unreleased(changelog: str) -> str:
    r"""Return what the section "Unreleased" has.

    >>> unreleased("# Changelog\n\n## Unreleased\n\n- A thing.\n\n## 0.1.0\n\n- Older.\n").strip()
    '- A thing.'
    """
    _, _, rest = changelog.partition("## Unreleased\n")
    return rest.partition("\n## ")[0]


def write_version(version: str) -> None:
    """Write the version into pyproject.toml, and the section's name into CHANGELOG.md."""
    project = ROOT / "pyproject.toml"
    text = re.sub(r'(?m)^version = ".*"', f'version = "{version}"', project.read_text(), count=1)
    project.write_text(text)
    changes = ROOT / "CHANGELOG.md"
    heading = f"## Unreleased\n\n## {version} ({datetime.now(UTC):%Y-%m-%d})\n"
    changes.write_text(changes.read_text().replace("## Unreleased\n", heading, 1))


def build(version: str) -> list[Path]:
    """Build the wheel and the sdist into dist/, and return both."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    _run(sys.executable, "-m", "hatchling", "build", "-d", "dist")
    return [ROOT / "dist" / f"workflow_state-{version}{end}" for end in ("-py3-none-any.whl", ".tar.gz")]


def check(file: Path, version: str, *, offline: bool) -> None:
    """Install the file in an empty environment, and have the command work there.

    `offline` takes what the package needs from this environment, and asks no index.
    """
    with tempfile.TemporaryDirectory() as name:
        environment = Path(name) / "environment"
        _run(sys.executable, "-m", "venv", "--without-pip", str(environment))
        python = environment / "bin" / "python"
        if offline:
            (own,) = environment.glob("lib/python*/site-packages")
            (site,) = {Path(path) for path in sys.path if path.endswith("site-packages")}
            (own / "others.pth").write_text(f"{site}\n")
        options = ["--no-deps", "--no-build-isolation", "--no-index"] if offline else []
        _run(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *options, str(file))
        command = str(environment / "bin" / "workflow-state")
        _run(command, "--help", cwd=name)
        _run(command, "validate", str(ROOT / _PLAN), "--actions", str(ROOT / "examples" / "actions"), cwd=name)
        _require_files(python, version, name)
    print(f"{file.name}: installed in an empty environment, and works")


def _require_files(python: Path, version: str, cwd: str) -> None:
    """Require that each file of the package is installed, and that its version is the one that was asked for."""
    listed = _git("ls-files", "workflow_state").splitlines()
    program = (
        "import sys, workflow_state; from importlib.metadata import version; from pathlib import Path;"
        "root = Path(workflow_state.__file__).parents[1]; assert root.is_relative_to(sys.prefix), root;"
        "assert version('workflow-state') == sys.argv[1];"
        "missing = [name for name in sys.argv[2:] if not (root / name).exists()]; assert not missing, missing"
    )
    _run(str(python), "-c", program, version, *listed, cwd=cwd)


def _git(*arguments: str) -> str:
    return _run("git", *arguments).strip()


def _run(*command: str, cwd: str | Path = ROOT) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
