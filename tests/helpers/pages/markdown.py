"""The blocks of code and the links in Markdown pages.

What follows the language says what is to be done with a block: ```` ```sh run exit=1 ```` is run (see session.py),
```` ```json file=plan.json ```` is written into a file; without a word it is looked at only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]

_FENCE = re.compile(r"^```(?P<info>[^\n`]+)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its words, its text, and where the text is in the page."""

    page: Path
    language: str
    words: dict[str, str]
    text: str
    span: tuple[int, int]

    def __str__(self) -> str:
        line = self.page.read_text().count("\n", 0, self.span[0])
        return f"{self.page.relative_to(ROOT)}:{line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(page.read_text()):
        language, *words = (match["info"] or "text").split()
        pairs = (word.partition("=") for word in words)
        found.append(
            Block(page, language, {name: value for name, _, value in pairs}, match["text"], match.span("text"))
        )
    return found


def links_of(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files, and anchors in them, that a page refers to."""
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        file, _, anchor = target.partition("#")
        yield (page.parent / file).resolve() if file else page, anchor


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
