"""Reading a response's bytes into a value that the state can hold.

Whatever a server answers, storing the state must not fail because of it. So lengths are bounded while the body is read
and decompressed, and what the state's JSON can't hold is refused or replaced here: NaN, half of a surrogate pair, a
number of a thousand digits.
"""

import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from pydantic import JsonValue

from workflow_state.actions.http.content_type import charset_of, is_json, is_json_lines, is_text, media_type_of
from workflow_state.actions.http.json_size import find_size_problem
from workflow_state.actions.http.redaction import map_strings
from workflow_state.actions.network.library import httpx
from workflow_state.actions.network.turns import parsing_turn
from workflow_state.charsets import decode_bytes

MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 308
"""As far as a double reaches. Longer integers break readers of the state in other languages."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PIECE_CHARACTERS = 2**20
_JSON_SPACE = " \t\r\n"
_BYTE_ORDER_MARK = "\ufeff"
_RECORD_SEPARATOR = "\x1e"
"""What begins each value of a JSON text sequence (RFC 7464)."""
# Codings that are not undone here: those that are registered, and others in use. Any other word is none: servers write
# a charset, `none`, or how they send.
_OTHER_CODINGS = frozenset(
    {"br", "compress", "dcb", "dcz", "deflate", "exi", "pack200-gzip", "zstd", "aes128gcm"}
    | {"bzip2", "lz4", "lzma", "sdch", "snappy", "xz"}
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
    codings = _read_codings(response.headers.get("content-encoding", ""))
    chunks: Iterator[bytes] = response.iter_raw()
    if codings == ["gzip"]:
        chunks = _decompress(chunks, limit_bytes)
    elif codings:
        # Each is a word of the lists above, and none is the server's own text.
        told = ", ".join(dict.fromkeys(codings))
        raise MalformedResponseError("unsupported_coding", f"the content coding '{told}' was not asked for")
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
    return bytes(body)


def _read_codings(header: str) -> list[str]:
    """Return the codings in a Content-Encoding, without parameters, quotes and words that are no codings."""
    words = [part.partition(";")[0].strip(" \t\"'").lower().removeprefix("x-") for part in header.split(",")]
    return [word for word in words if word == "gzip" or word in _OTHER_CODINGS]


def _too_large(limit_bytes: int) -> MalformedResponseError:
    return MalformedResponseError("response_too_large", f"the response is larger than {limit_bytes} bytes")


def _decompress(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
    """Undo gzip (RFC 1952), several members too; no piece is larger than the limit by more than a byte.

    Zeros behind a member are padding, as for gzip itself.
    """
    decoder = zlib.decompressobj(wbits=31)
    complete = True
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if decoder.eof:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    decoder = zlib.decompressobj(wbits=31)
                complete = False
                yield decoder.decompress(data, limit_bytes + 1)
                complete = decoder.eof
                data = decoder.unused_data or decoder.unconsumed_tail
    except zlib.error:
        raise MalformedResponseError("bad_gzip", "the body is not gzip, as its content coding says") from None
    if not complete:
        raise MalformedResponseError("bad_gzip", "the gzip body ends early")


def decode_text(body: bytes, content_type: str) -> str | None:
    """Return a body that is not JSON as text, or None where it is binary.

    An unknown charset is read as UTF-8, and bytes that can't be decoded become U+FFFD. A body without a type is text
    where it is valid UTF-8.
    """
    if not media_type_of(content_type):
        try:
            return body.decode().removeprefix(_BYTE_ORDER_MARK)
        except UnicodeDecodeError:
            return None
    if not is_text(content_type):
        return None
    text = decode_bytes(body, charset_of(content_type) or "utf-8")
    return _without_surrogates(text.removeprefix(_BYTE_ORDER_MARK))


def parse_value(body: bytes, content_type: str) -> tuple[JsonValue] | None:
    """Return the value of a body that is JSON, or a list of its lines' values; None where its type is neither.

    The value is in a tuple, because null is one too. Raises MalformedResponseError like `parse_json`.
    """
    with parsing_turn(len(body)):
        if is_json(content_type):
            return (parse_json(body, content_type),)
        return (_parse_json_lines(body, content_type),) if is_json_lines(content_type) else None


def parse_json(body: bytes, content_type: str = "") -> JsonValue:
    """Return the value of a JSON body. Half of a surrogate pair becomes U+FFFD.

    White space alone is an empty body, and gives None. Of equal names in an object the last one counts. Raises
    MalformedResponseError for a body that is not JSON, or that the state can't hold.
    """
    text = _decode_json(body, content_type)
    _require_bounded(text)
    value = _load(_decoder_for(text), text) if text.strip(_JSON_SPACE) else None
    checked: JsonValue = _check_value(value, text)
    return checked


def _parse_json_lines(body: bytes, content_type: str) -> list[JsonValue]:
    """Return the values of a body with one in each line; lines without any are left out."""
    text = _decode_json(body, content_type)
    separator = _RECORD_SEPARATOR if _RECORD_SEPARATOR in text else "\n"
    _require_bounded(text, separator)
    decoder = _decoder_for(text)
    parts = text.split(separator)
    values = [_load(decoder, part, number) for number, part in enumerate(parts, 1) if part.strip(_JSON_SPACE)]
    checked: list[JsonValue] = _check_value(values, text)
    return checked


def is_read_as_utf8(body: bytes) -> bool:
    """Return whether a JSON body is read as UTF-8, whichever charset its type names."""
    if not json.detect_encoding(body).startswith("utf-8"):
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decode_json(body: bytes, content_type: str) -> str:
    """Return a JSON body as text: as Unicode (RFC 8259, section 8.1), and where it is none, in the named charset."""
    detected = json.detect_encoding(body)
    try:
        text = body.decode(detected)
    except UnicodeDecodeError:
        try:
            text = body.decode(charset_of(content_type) or detected)
        except UnicodeDecodeError as error:
            raise MalformedResponseError("bad_json", f"the JSON body is not {error.encoding}") from None
    return text.removeprefix(_BYTE_ORDER_MARK)


def _require_bounded(text: str, separator: str | None = None) -> None:
    if problem := find_size_problem(text, separator):
        raise MalformedResponseError("too_many_values", f"the JSON body {problem}")


def _decoder_for(text: str) -> json.JSONDecoder:
    # A million calls of Python for a million numbers take longer than all the rest.
    digits = text.translate(_DIGITS) if text.isascii() else ""
    is_plain = text.isascii() and not any(sign in digits for sign in _TO_BE_CHECKED)
    return _QUICK_DECODER if is_plain else _DECODER


def _load(decoder: json.JSONDecoder, text: str, line: int | None = None) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        raise MalformedResponseError("bad_json", f"the body is not JSON: {error.msg} at {where}") from None


def _check_value(value: Any, text: str) -> Any:
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
        raise MalformedResponseError("bad_json", "the JSON body contains a number that is too large")
    return number


def _without_surrogates(text: str) -> str:
    # In pieces: the interpreter is held for each.
    pieces = (text[start : start + _PIECE_CHARACTERS] for start in range(0, len(text), _PIECE_CHARACTERS))
    return "".join(_SURROGATE.sub("\ufffd", piece) for piece in pieces)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_parse_int, parse_float=_parse_float)
# For a text without numbers that must be checked.
_QUICK_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
# Every digit and point becomes a zero here.
_DIGITS = str.maketrans("123456789.E", "0000000000e")
# An exponent of one digit after less than 290 digits is far from what a double can't hold.
_TO_BE_CHECKED = ("0e00", "0e+00", "0" * 290)
