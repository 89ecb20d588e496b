"""Credentials as a definition writes them: `${env.NAME}` in a text.

Pure, and nothing is looked up here: whoever reads definitions needs no HTTP library for it.
"""

from workflow_state.schema import ENV_REFERENCE


def find_bad_env_reference(text: str) -> str | None:
    """Return the first `${…}` that is not `${env.NAME}`, or None where all are well written."""
    rest = ENV_REFERENCE.sub("", text)
    start = rest.find("${")
    return None if start < 0 else rest[start : start + 40]
