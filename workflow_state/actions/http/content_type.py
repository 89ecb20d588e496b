"""What a Content-Type says of a body: which kind it is, and in which charset.

Pure functions. Servers write the header in many ways that RFC 9110 does not know: twice, in quotes, with commas in
place of semicolons. Each of these is read as it was meant: the request was carried out, however its answer is written.
"""

import re
from collections.abc import Iterable
from itertools import islice

from workflow_state.charsets import find_codec, name_charset
from workflow_state.schema import BodyFormat

_JSON = "application/json"
_JSON_LINES = "application/x-ndjson"
_TEXT = "text/plain"
_BINARY = "application/octet-stream"

_JSON_TYPE = re.compile(r"(application|text)/(x-)?json|[^/]+/[^/]+\+json")
_JSON_LINES_TYPE = re.compile(
    r"(application|text)/(x-)?(ndjson|jsonl|jsonlines|json-lines|json-seq|ldjson|stream\+json)"
    r"|[^/]+/[^/]+\+(ndjson|jsonl|json-seq)"
)
_TEXT_TYPE = re.compile(
    r"text/.*|[^/]+/[^/]+\+(xml|yaml)"
    r"|application/(x-)?(xml|javascript|ecmascript|www-form-urlencoded|yaml|yml|csv|toml|sql|graphql)"
)
# RFC 9110, section 8.3.1. By it a single quote is a part of a name, but servers put it around the whole.
_MEDIA_TYPE = re.compile(r"[\s\"']*([!#$%&*+.^_`|~0-9a-z-]+/[!#$%&*+.^_`|~0-9a-z-]+)", re.IGNORECASE)
_BETWEEN_COMMAS = re.compile(r'(?:[^",]|"[^"]*"?)+')
_LONGEST_HEADER = 4_000
_MOST_LINES = 4


def choose_content_type(lines: Iterable[str]) -> str:
    """Return the one Content-Type that counts of all that a response has; an empty text where none is a media type.

    `lines` are the values of the header's lines. Where it was sent twice, in lines of their own or in one with a comma,
    the last valid one counts, as browsers have it (Fetch, "extract a MIME type").
    """
    chosen = ""
    for line in islice(lines, _MOST_LINES):
        for part in _BETWEEN_COMMAS.findall(line[:_LONGEST_HEADER]):
            if _MEDIA_TYPE.match(part) and media_type_of(part) != "*/*":
                bare = part.strip()
                chosen = bare.strip("\"' ") if bare[0] in "\"'" else bare
            elif chosen and "=" in part:
                # A parameter after a comma.
                chosen = f"{chosen}; {part.strip()}"
    return chosen


def declared_content_type(content_type: str, declared: BodyFormat | None) -> str:
    """Return the Content-Type by which a body is read whose format the definition declares.

    The server's own stays where it says the same: it has the charset, and tells one kind of text or of image from
    another.
    """
    charset = charset_of(content_type)
    parameter = f"; charset={charset}" if charset else ""
    match declared:
        case None:
            return content_type
        case "json":
            return content_type if is_json(content_type) else _JSON + parameter
        case "ndjson":
            return content_type if is_json_lines(content_type) else _JSON_LINES + parameter
        case "text":
            is_data = is_json(content_type) or is_json_lines(content_type)
            return content_type if is_text(content_type) and not is_data else _TEXT + parameter
        case "bytes":
            is_binary = media_type_of(content_type) and not is_json(content_type) and not is_text(content_type)
            return content_type if is_binary else _BINARY


def media_type_of(content_type: str) -> str:
    """Return `type/subtype` in lower case, without parameters; an empty text where there is none."""
    found = _MEDIA_TYPE.match(content_type)
    return found[1].lower() if found else ""


def is_json(content_type: str) -> bool:
    """Return whether a body of this type is one JSON value."""
    return _JSON_TYPE.fullmatch(media_type_of(content_type)) is not None and not is_json_lines(content_type)


def is_json_lines(content_type: str) -> bool:
    """Return whether a body of this type has a JSON value in each line (NDJSON, JSON Lines, RFC 7464)."""
    return _JSON_LINES_TYPE.fullmatch(media_type_of(content_type)) is not None


def is_text(content_type: str) -> bool:
    """Return whether a body of this type is text to look at; JSON is not, values in lines are."""
    return is_json_lines(content_type) or _TEXT_TYPE.fullmatch(media_type_of(content_type)) is not None


def charset_of(content_type: str) -> str | None:
    """Return the Python codec of the charset that is named; None where none is, or none that can be used."""
    name = name_charset(content_type)
    return None if name is None else find_codec(name)
