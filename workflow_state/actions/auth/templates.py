"""Credentials as a definition writes them: `${env.NAME}` in a text, and the header that they go into.

Pure, and nothing is looked up here: whoever reads definitions needs no HTTP library for it.
"""

from workflow_state.schema import ENV_REFERENCE, ApiKeyAuthentication, Authentication


def find_bad_env_reference(text: str) -> str | None:
    """Return the first `${…}` that is not `${env.NAME}`, or None where all are well written."""
    rest = ENV_REFERENCE.sub("", text)
    start = rest.find("${")
    return None if start < 0 else rest[start : start + 40]


def name_authentication_header(authentication: Authentication | None) -> str | None:
    """Return the name of the header that carries the credentials, or None where there are none."""
    if authentication is None:
        return None
    return authentication.header if isinstance(authentication, ApiKeyAuthentication) else "Authorization"
