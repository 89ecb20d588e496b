"""`make release`, in a clone: what it refuses, and what it makes. No index is asked."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clone(tmp_path):
    """Clone what is committed, with the script as it is here."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--no-tags", str(ROOT), str(folder)], check=True)
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@shop.example")
    (folder / "tools" / "release.py").write_text((ROOT / "tools" / "release.py").read_text())
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "--allow-empty", "-m", "The script")
    return folder


def git(folder, *arguments):
    """Run git there, and return what it says."""
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def release(folder, *arguments):
    """Run the script of the clone, and return it when it has ended."""
    command = [sys.executable, "tools/release.py", *arguments, "--offline"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)


def test_a_release_is_built_checked_committed_and_tagged(clone):
    """The changelog's section gets the version, and there is an empty one for what follows."""
    done = release(clone, "97.1.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("installed in an empty environment, and works") == 2
    assert git(clone, "tag", "--points-at", "HEAD") == "v97.1.0"
    assert git(clone, "status", "--porcelain") == ""
    assert tomllib.loads((clone / "pyproject.toml").read_text())["project"]["version"] == "97.1.0"
    assert "## Unreleased\n\n## 97.1.0 (" in (clone / "CHANGELOG.md").read_text()
    assert "nothing under" in release(clone, "97.2.0").stderr


def test_what_can_not_be_released_is_refused_and_nothing_changes(clone):
    """A version that is none or exists, and a tree with changes."""
    before = git(clone, "rev-parse", "HEAD")
    git(clone, "tag", "v97.1.0")
    assert "say the version" in release(clone, "next").stderr
    assert "a tag v97.1.0 already" in release(clone, "97.1.0").stderr
    (clone / "new.txt").touch()
    done = release(clone, "97.2.0")
    assert (done.returncode, "not committed" in done.stderr) == (1, True)
    assert git(clone, "rev-parse", "HEAD") == before
