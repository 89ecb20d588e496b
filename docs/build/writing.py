"""How text from the code is written in Markdown."""

import re

# What has backticks already; references, variables and exceptions, which get them.
_CODE = re.compile(r"`[^`]*`|(\$\{[^}]*\}|WORKFLOW_STATE_\w+|\b[A-Z][A-Za-z]+Error\b)")


def text(source: str) -> str:
    """Return a text with references, variables and exceptions as code."""
    return _CODE.sub(lambda found: f"`{found[1]}`" if found[1] else found[0], source)


def cell(source: str) -> str:
    """Return a text as it stands in a cell of a table, in one line."""
    return text(" ".join(source.split())).replace("|", "\\|").replace("<", "&lt;")
