"""References within one document: what `{"$ref": "#/$defs/address"}` stands for. Nothing else is ever read. Pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

# Python reads no number of thousands of digits.
_LONGEST_INDEX = 10


def resolve_local(root: Mapping[str, Any], reference: Any, *, within_base: bool = False) -> Any:
    """Return what a `$ref` stands for, or None where it leads nowhere or out of the document.

    `within_base` also gives None where the way goes through an `$id`: below it, references have another base.
    """
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    node: Any = root
    for token in reference[2:].split("/") if reference != "#" else ():
        key = unquote(token).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and key.isdecimal() and len(key) < _LONGEST_INDEX and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, Mapping) and key in node:
            node = node[key]
        else:
            return None
        if within_base and isinstance(node, Mapping) and "$id" in node:
            return None
    return node
