"""Reading a response's bytes into a value that the state can hold.

Whatever a server answers, storing the state must not fail because of it. So lengths are bounded while the body is read
and decompressed, and what the state's JSON can't hold is refused or replaced here: NaN, half of a surrogate pair, a
number of a thousand digits.
"""

import codecs
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import httpx
from pydantic import JsonValue

from workflow_state.actions.http.redaction import map_strings

MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 308
"""As far as a double reaches. Longer integers break readers of the state in other languages."""

_JSON_TYPE = re.compile(r"(application|text)/json|[^/]+/[^/]+\+json")
_TEXT_TYPE = re.compile(r"text/.*|application/(xml|javascript|ecmascript|x-www-form-urlencoded|yaml)|[^/]+/[^/]+\+xml")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Codecs that take linear time. Python has others (punycode, idna) that do not, and a server may name any.
_SAFE_CODEC = re.compile(
    r"utf-(8|16|32)(-[bl]e|-sig)?|ascii|iso8859-\d+|cp\d+|koi8-[rtu]|mac-\w+|shift_jis\w*|euc_\w+|gb\w+|big5\w*"
)


class MalformedResponseError(Exception):
    """The body can't be used. `code` is a word for the reason, and the message says it. Only `actions` sees it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_body(response: httpx.Response, limit_bytes: int) -> bytes:
    """Read and decompress the body, at most `limit_bytes` of it; raise MalformedResponseError for more.

    The bytes are taken raw: httpx would undo any number of codings in one step, which turns 300 bytes into a
    gigabyte (`Content-Encoding: gzip, gzip, gzip`). Raises httpx.TransportError where the connection fails.
    """
    announced = response.headers.get("content-length", "")
    if re.fullmatch(r"[0-9]+", announced) and (len(announced) > len(str(limit_bytes)) or int(announced) > limit_bytes):
        raise _too_large(limit_bytes)
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        chunks: Iterator[bytes] = response.iter_raw()
    elif coding in ("gzip", "x-gzip"):
        chunks = _decompress(response.iter_raw(), limit_bytes)
    else:
        raise MalformedResponseError("unsupported_coding", f"the content coding '{coding[:40]}' was not asked for")
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
    return bytes(body)


def _too_large(limit_bytes: int) -> MalformedResponseError:
    return MalformedResponseError("response_too_large", f"the response is larger than {limit_bytes} bytes")


def _decompress(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
    """Undo gzip (RFC 1952), several members too; no piece is larger than the limit by more than a byte."""
    decoder = zlib.decompressobj(wbits=31)
    complete = True
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if decoder.eof:
                    decoder = zlib.decompressobj(wbits=31)
                complete = False
                yield decoder.decompress(data, limit_bytes + 1)
                complete = decoder.eof
                data = decoder.unused_data or decoder.unconsumed_tail
    except zlib.error:
        raise MalformedResponseError("bad_gzip", "the body is not gzip, as its content coding says") from None
    if not complete:
        raise MalformedResponseError("bad_gzip", "the gzip body ends early")


def media_type_of(content_type: str) -> str:
    """Return `type/subtype` in lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Return whether a body of this type is JSON."""
    return _JSON_TYPE.fullmatch(media_type_of(content_type)) is not None


def decode_text(body: bytes, content_type: str) -> str | None:
    """Return the body as text, or None where it is binary.

    An unknown charset is read as UTF-8, and bytes that can't be decoded become U+FFFD. A body without a type is text
    where it is valid UTF-8.
    """
    media_type = media_type_of(content_type)
    if not media_type:
        try:
            return body.decode()
        except UnicodeDecodeError:
            return None
    if not _TEXT_TYPE.fullmatch(media_type):
        return None
    return _without_surrogates(body.decode(_charset_of(content_type) or "utf-8", errors="replace"))


def parse_json(body: bytes, content_type: str = "") -> JsonValue:
    """Return the value of a JSON body. Half of a surrogate pair becomes U+FFFD.

    Raises MalformedResponseError for a body that is not JSON, or that the state can't hold.
    """
    try:
        text = body.decode(_charset_of(content_type) or json.detect_encoding(body))
        value = json.loads(
            text.removeprefix("\ufeff"), parse_constant=_refuse_constant, parse_int=_parse_int, parse_float=_parse_float
        )
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise MalformedResponseError("bad_json", f"the JSON body is not {error.encoding}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedResponseError("bad_json", f"the body is not JSON: {error.msg} at {where}") from None
    _check_depth(value)
    # Surrogates come from escapes such as \ud800 only. Most bodies have none, and need no copy.
    has_surrogates = "\\ud" in text or "\\uD" in text
    return map_strings(value, _without_surrogates) if has_surrogates else value


def _check_depth(value: Any) -> None:
    # Level by level: a recursion would fail for a body that is too deep.
    containers = _containers_in([value])
    for _ in range(MAX_DEPTH):
        containers = _containers_in(
            item
            for container in containers
            for item in (container.values() if isinstance(container, dict) else container)
        )
    if containers:
        raise _too_deep()


def _containers_in(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, list | dict)]


def _too_deep() -> MalformedResponseError:
    return MalformedResponseError("bad_json", f"the JSON body is nested more than {MAX_DEPTH} deep")


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedResponseError("bad_json", f"the JSON body contains {name}, which is no JSON")


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise MalformedResponseError("bad_json", f"the JSON body contains an integer of {len(digits)} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedResponseError("bad_json", f"the JSON body contains {digits[:40]}, which is too large a number")
    return number


def _without_surrogates(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _charset_of(content_type: str) -> str | None:
    match = re.search(r";\s*charset\s*=\s*\"?([A-Za-z0-9._:-]{1,40})", content_type, re.IGNORECASE)
    if match is None:
        return None
    try:
        name = codecs.lookup(match.group(1)).name
    except (LookupError, ValueError):
        return None
    return name if _SAFE_CODEC.fullmatch(name) else None
