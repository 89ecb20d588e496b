"""`pip install …` in the pages: says whether all that it would bring is in this environment, and brings nothing.

`.[web]` must be said in the checkout, and everything in a virtual environment, because Debian's pip refuses to install
elsewhere.
"""

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PACKAGE = "workflow-state"


def missing(requirement: Requirement) -> Iterator[str]:
    """Yield what the requirement needs and is not here, the package's own extras included."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        yield str(requirement)
        return
    if not requirement.specifier.contains(version, prereleases=True):
        yield f"{requirement}, not {version}"
    if requirement.name != PACKAGE:
        return
    known = set(metadata.metadata(PACKAGE).get_all("Provides-Extra") or ())
    yield from (f"{PACKAGE} has no extra {extra}" for extra in requirement.extras - known)
    for text in metadata.requires(PACKAGE) or ():
        needed = Requirement(text)
        if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            continue
        needed.marker = None
        yield from missing(needed)


def read_requirement(word: str) -> Requirement:
    """Return the requirement that a word of the command is: a name, or the checkout with extras."""
    folder, bracket, extras = word.partition("[")
    if not folder.startswith("."):
        return Requirement(word)
    path = Path(folder) / "pyproject.toml"
    if not path.exists():
        sys.exit(f"{word} is said in {Path.cwd()}, which is not the checkout")
    return Requirement(tomllib.loads(path.read_text())["project"]["name"] + bracket + extras)


def main() -> None:
    """Exit with what is missing."""
    command, *words = sys.argv[1:]
    if command != "install" or not all(re.match(r"[.a-z]", word) for word in words):
        sys.exit(f"the pages say nothing but `pip install NAME …`, and not {sys.argv[1:]}")
    if not os.environ.get("VIRTUAL_ENV"):
        sys.exit("the page has not made and activated a virtual environment")
    if found := [problem for word in words for problem in missing(read_requirement(word))]:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
