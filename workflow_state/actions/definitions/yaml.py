"""Writing action definitions as YAML that `files` reads back unchanged: by the core schema, without aliases."""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from workflow_state.actions.definitions.files import CORE_SCHEMA, TAG

_WIDTH_CHARACTERS = 120


class _Dumper(yaml.SafeDumper):
    """Quotes text that one of the versions of YAML would take for something else, and never writes an alias."""

    # A copy: adding to an inherited one would change the parent.
    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML's own interface
        first: [*resolvers] for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value in full wherever it stands."""
        del data
        return True


for _name, (_pattern, _first) in CORE_SCHEMA.items():
    _Dumper.add_implicit_resolver(TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)


def write_definitions(definitions: Sequence[dict[str, Any]], comment: str) -> str:
    """Return the definitions as a YAML list under a comment of one line; the order of fields is kept."""
    line = " ".join(comment.split())
    body = yaml.dump([*definitions], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH_CHARACTERS)
    return f"# {line}\n{body}"
