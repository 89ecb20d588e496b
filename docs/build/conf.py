"""The site of the documentation: `make docs-site` writes it to build/site.

The pages stay plain Markdown. What a site needs beside them is made here: the contents at the side come from the links
of `index.md`, and a link to a folder or to a file that is no page becomes plain text.
"""

import os
import re
from pathlib import Path
from typing import Any, Final

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (
    "*.md",
    "docs/*.md",
    "docs/**/*.md",
    "benchmarks/results/README.md",
    "examples/README.md",
    "examples/*/README.md",
)

project = "workflow_state"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = list(PAGES)
# Folders that it should not even look through.
exclude_patterns = [".*", "build", "tests", "workflow_state"]
myst_heading_anchors = 4
myst_enable_extensions = ["tasklist"]
html_theme = "furo"
html_title = project
html_static_path: list[str] = []
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []

_SECTION: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_ITEM: Final = re.compile(r"^- .*", re.MULTILINE)
_LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def with_contents(name: str, text: str) -> str:
    """Return an index page with its lists of links as contents too, one for each section."""
    parts = _SECTION.split(text)
    tables = [
        "\n".join([f"```{{toctree}}\n:hidden:\n:caption: {caption}\n", *_targets(name, section), "```"])
        for caption, section in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return "\n\n".join([text, *tables])


def _targets(name: str, section: str) -> list[str]:
    folder = (ROOT / name).parent
    links = [link[2] for item in _ITEM.findall(section) for link in _LINK.finditer(item)]
    return [os.path.relpath(folder / target, folder) for target in links]


def without_dead_links(name: str, text: str) -> str:
    """Return the page with what leads to no page of the site as plain text."""
    folder = (ROOT / name).parent

    def shown(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        is_page = target.suffix in {".md", ".svg", ".png"} and target.is_file()
        return found[0] if is_page else found[1]

    return _LINK.sub(shown, text)


def read_page(_: Sphinx, name: str, content: list[str]) -> None:
    """Make a page of the repository one of the site."""
    content[0] = without_dead_links(name, content[0])
    if name.endswith("/index"):
        content[0] = with_contents(name, content[0])


def write_start(site: Sphinx, error: Exception | None) -> None:
    """Lead from the top of the site to its first page."""
    if error is None:
        page = f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html"><title>{project}</title>'
        (Path(site.outdir) / "index.html").write_text(page)


def setup(site: Sphinx) -> dict[str, Any]:
    """Register what is above."""
    site.add_lexer("mermaid", TextLexer)
    site.connect("source-read", read_page)
    site.connect("build-finished", write_start)
    return {"parallel_read_safe": True}
