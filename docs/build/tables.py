"""Write what the code says into the reference pages: `make docs`.

A page has a pair of comments, and what stands between them is made here:

    <!-- table: ExecutionPlan -->      the fields of a model
    <!-- commands -->                  every command, its options, examples and exit codes
    <!-- settings -->                  the environment variables
    <!-- bounds -->                    what a plan and an execution may have at most
    <!-- kept settings -->             Celery's settings that a team can't change
    <!-- python: execute_plan … -->    public functions and classes, in this order

each closed by `<!-- end of table -->`, `<!-- end of commands -->` and so on.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bound_tables import describe_bounds
from command_reference import describe_commands
from field_tables import describe_model
from python_reference import describe_names
from setting_tables import describe_kept_settings, describe_settings

PAGES: Final = sorted(Path(__file__).parents[1].rglob("*.md"))

_MAKERS: Final[dict[str, Callable[[list[str]], str]]] = {
    "table": lambda words: describe_model(words[0]),
    "commands": lambda _: describe_commands(),
    "settings": lambda _: describe_settings(),
    "bounds": lambda _: describe_bounds(),
    "kept settings": lambda _: describe_kept_settings(),
    "python": describe_names,
}
_MADE: Final = re.compile(rf"(<!-- ({'|'.join(_MAKERS)})(?:: ([^>]+))? -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def with_tables(page: str) -> str:
    """Return the text of a page with all that is made as it should be."""
    return _MADE.sub(lambda found: f"{found[1]}{_MAKERS[found[2]]((found[3] or '').split())}{found[4]}", page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_tables(path.read_text()))
