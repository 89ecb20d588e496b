"""The command that adds an extra to this package, from the place that the package itself was installed from.

An extra of a package from an index comes from that index, and one of a checkout comes from the checkout. What pip knows
about a place stands in `direct_url.json` beside the package (PEP 610). There is none after an index.
"""

import json
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

_NAME: Final = "workflow-state"


def install_command(extra: str) -> str:
    """Return the command that a person types to have this extra too.

    It is `pip install 'workflow-state[graph]'` after an index, `pip install '/home/ada/workflow_state[graph]'` after a
    checkout, with `--editable` where that was so, and has the address after a wheel or a repository.
    """
    try:
        recorded = metadata.distribution(_NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        # The checkout is on the path, and nothing is installed.
        root = Path(__file__).parents[1]
        return _command(f"{root}[{extra}]" if (root / "pyproject.toml").exists() else f"{_NAME}[{extra}]")
    origin: dict[str, Any] = json.loads(recorded) if recorded else {}
    folder = _folder_of(origin)
    if folder is not None and not folder.exists():
        origin = {}
    if not origin:
        return _command(f"{_NAME}[{extra}]")
    if folder is None:
        return _command(f"{_NAME}[{extra}] @ {_address_of(origin)}")
    return _command(f"{folder}[{extra}]", "--editable " if origin["dir_info"].get("editable") else "")


def _command(requirement: str, option: str = "") -> str:
    return f"pip install {option}{shlex.quote(requirement)}"


def _folder_of(origin: dict[str, Any]) -> Path | None:
    """Return the checkout, where the package was installed from one."""
    return Path(url2pathname(urlsplit(origin["url"]).path)) if "dir_info" in origin else None


def _address_of(origin: dict[str, Any]) -> str:
    """Return the address of a wheel, or of a repository with the commit."""
    url: str = origin["url"]
    vcs = origin.get("vcs_info")
    return f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
