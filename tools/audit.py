"""Ask whether published advisories are about what we install: `python tools/audit.py`, a part of `make check`.

pip-audit asks the package index about two lists: `constraints.txt`, which `./run` installs, and the oldest versions
that `pyproject.toml` allows. It ends with 1 where an advisory is about one of them. Where the index can't be asked, as
on a train, it says so and ends with 0: that nobody answered is no hole.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
_TIMEOUT_S = 10


def main() -> int:
    """Ask about both lists; return 1 where an advisory is about a version in one of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    lists = {
        "constraints.txt": (ROOT / "constraints.txt").read_text().splitlines(),
        "the lower bounds of pyproject.toml": oldest_versions(stated),
    }
    found = 0
    for name, pins in lists.items():
        lines, holes = describe(ask(pins))
        print(f"pip-audit, {name}:", *lines, sep="\n  ")
        found += holes
    return 1 if found else 0


def oldest_versions(requirements: Iterable[str]) -> list[str]:
    """Return `name==version` for each requirement with a lower bound; the highest bound of each name.

    >>> oldest_versions(["pytest>=8", "celery[redis]>=5.7,<6", "ruff==0.17.6", "pytest>=9", "us[all]"])
    ['celery==5.7', 'pytest==9', 'ruff==0.17.6']
    """
    bounds: dict[str, Any] = {}
    for requirement in map(Requirement, requirements):
        for bound in requirement.specifier:
            if bound.operator in (">=", "=="):
                known = bounds.get(requirement.name)
                bounds[requirement.name] = bound if known is None else max(known, bound, key=_version)
    return sorted(f"{name}=={bound.version}" for name, bound in bounds.items())


def _version(bound: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in bound.version.split(".") if part.isdecimal())


def ask(pins: Iterable[str]) -> Mapping[str, Any] | str:
    """Return what pip-audit found out, as its JSON, or why it found out nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text("\n".join(pins))
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(path), "--no-deps", "--disable-pip"]
        command += ["--format", "json", "--progress-spinner", "off", "--timeout", str(_TIMEOUT_S)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return report


def describe(report: Mapping[str, Any] | str) -> tuple[list[str], int]:
    """Return lines for people, and how many advisories are about the packages."""
    if isinstance(report, str):
        return [f"NOT ASKED: {report}"], 0
    asked = [package for package in report["dependencies"] if "skip_reason" not in package]
    skipped = [package["name"] for package in report["dependencies"] if "skip_reason" in package]
    if not asked:
        return [f"NOT ASKED: the package index has advisories for none of {len(skipped)} packages"], 0
    lines = [
        f"{package['name']} {package['version']}: {hole['id']}, "
        f"mended in {', '.join(hole['fix_versions']) or 'no version'}"
        for package in asked
        for hole in package["vulns"]
    ]
    holes = len(lines)
    lines.append(f"packages asked about: {len(asked)}; advisories: {holes}")
    if skipped:
        lines.append(f"not asked about: {', '.join(skipped)}")
    return lines, holes


if __name__ == "__main__":
    sys.exit(main())
