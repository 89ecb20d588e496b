"""Writing action definitions as YAML that `files` reads back unchanged: by the core schema, without aliases."""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from workflow_state.actions.definitions.files import CORE_SCHEMA, TAG

_WIDTH_CHARACTERS = 120


# libyaml, where PyYAML was built with it, writes a large document five times as fast.
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _make_dumper(parent: Any) -> Any:
    """Return what quotes text that one of YAML's versions takes for something else, and never writes an alias."""
    # A copy: adding to an inherited one would change the parent.
    resolvers = {first: [*known] for first, known in parent.yaml_implicit_resolvers.items()}
    dumper: Any = type("_Dumper", (parent,), {"yaml_implicit_resolvers": resolvers, "ignore_aliases": lambda *_: True})
    for name, (pattern, first) in CORE_SCHEMA.items():
        dumper.add_implicit_resolver(TAG + name, re.compile(f"^(?:{pattern})$"), first)
    return dumper


_FAST_DUMPER, _DUMPER = _make_dumper(_SafeDumper), _make_dumper(yaml.SafeDumper)


def write_definitions(definitions: Sequence[dict[str, Any]], comment: str) -> str:
    """Return the definitions as a YAML list under a comment of one line; the order of fields is kept."""
    line = " ".join(comment.split())
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": _WIDTH_CHARACTERS}
    try:
        body = yaml.dump([*definitions], Dumper=_FAST_DUMPER, **options)
    except UnicodeEncodeError:
        # libyaml has no way to write half a character (a lone surrogate).
        body = yaml.dump([*definitions], Dumper=_DUMPER, **options)
    return f"# {line}\n{body}"
