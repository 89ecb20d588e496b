"""Which headers a definition or an input may set (RFC 9110, section 5). Pure, and needs no HTTP library."""

import re

from workflow_state.overrides import FRAMING_HEADERS

_FORBIDDEN_HEADERS = FRAMING_HEADERS | {"cookie", "cookie2"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_BAD_IN_HEADER_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def find_header_problem(name: str, value: str = "") -> str | None:
    """Return why a header can't be sent, as a sentence, or None where it can (RFC 9110, section 5)."""
    if not _HEADER_NAME.fullmatch(name):
        return f"'{name}' is no header name"
    if name.lower() in _FORBIDDEN_HEADERS or name.lower().startswith("proxy-"):
        return f"the header {name} is set by the client itself or not at all"
    if _BAD_IN_HEADER_VALUE.search(value):
        return f"the value of the header {name} contains a line break, a control character or half a character"
    return None
