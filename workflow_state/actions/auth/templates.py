"""Credentials as a definition writes them: `${env.NAME}` in a text.

Pure, and nothing is looked up here: whoever reads definitions needs no HTTP library for it.
"""

import re
from typing import Final

from workflow_state.schema import ENV_REFERENCE

_NAME: Final = r"([A-Za-z_][A-Za-z0-9_]*)"
# How shells, templates and other programs write a variable. Of `$NAME` only capitals are one: a password may begin so.
_OTHER_SPELLINGS: Final = re.compile(
    rf"(?:[A-Za-z]+ )?(?:\$([A-Z][A-Z0-9_]{{2,}})|\$\{{ *{_NAME} *\}}|\{{\{{ *(?:env\.)?{_NAME} *\}}\}}"
    rf"|\$?env\.{_NAME}|\$\{{env:{_NAME}\}}|%([A-Z][A-Z0-9_]{{2,}})%)"
)


def find_bad_env_reference(text: str) -> str | None:
    """Return the first `${…}` that is not `${env.NAME}`, or None where all are well written."""
    rest = ENV_REFERENCE.sub("", text)
    start = rest.find("${")
    return None if start < 0 else rest[start : start + 40]


def find_meant_variable(text: str) -> str:
    """Return the variable that a text probably means in another way of writing, or an empty text.

    >>> find_meant_variable("$CRM_TOKEN"), find_meant_variable("Bearer ${CRM_TOKEN}"), find_meant_variable("${env.X}")
    ('CRM_TOKEN', 'CRM_TOKEN', '')
    """
    match = _OTHER_SPELLINGS.fullmatch(text.strip())
    return next(filter(None, match.groups()), "") if match else ""
