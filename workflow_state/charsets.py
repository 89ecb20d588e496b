r"""Text in the charsets that a body may have, in linear time and without holding the interpreter for long. Pure.

    encode_text("Grüße", "latin-1")        b"Gr\xfc\xdfe"

Python knows charsets that take quadratic time: `punycode` works a minute for 20,000 characters, and no time limit ends
it. So only those of a list are used, whoever names them: a server in its answer, or a plan in the header Content-Type.
"""

import codecs
import re
from functools import cache
from typing import Final

_SAFE_CODEC: Final = re.compile(
    r"utf-(8|16|32)(-[bl]e|-sig)?|ascii|iso8859-\d+|cp\d+|koi8-[rtu]|mac-\w+|shift_jis\w*|euc_\w+|gb\w+|big5\w*"
)
# Of these a byte is a character. The ones that are left out are multi-byte, and UTF-8.
_ONE_BYTE_CODEC: Final = re.compile(r"iso8859-\d+|cp(?!932|936|949|950|65001)\d+|koi8-[rtu]|mac-\w+")
_PARAMETER: Final = re.compile(r"(?<=[;,\s])charset\s*+=\s*+[\"']?\s*+([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_LONGEST_CONTENT_TYPE: Final = 4_000
_PIECE_BYTES: Final = 2**20
_MARKS: Final = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_FORM: Final = "application/x-www-form-urlencoded"
_REPLACEMENT: Final = "\ufffd"


def name_charset(content_type: str) -> str | None:
    """Return the charset as a Content-Type names it, whether it can be used or not; None where none is named."""
    match = _PARAMETER.search(content_type[:_LONGEST_CONTENT_TYPE])
    return None if match is None else match[1]


def find_charset_problem(content_type: str) -> str | None:
    """Return why a text can't be sent with this Content-Type, or None where it can. JSON and forms are always UTF-8."""
    name, media_type = name_charset(content_type), content_type.partition(";")[0].strip().lower()
    if name is None or media_type.endswith("json") or media_type == _FORM or find_codec(name):
        return None
    return f"the charset {name} is not among those in use; leave it out for UTF-8"


def find_codec(charset: str) -> str | None:
    """Return the Python codec of a charset; None for one that there is not, or that is not among those in use."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None
    return name if _SAFE_CODEC.fullmatch(name) else None


def decode_bytes(data: bytes, codec: str) -> str:
    """Return bytes as text, with U+FFFD for what can't be decoded; `codec` is one that `find_codec` returned."""
    if _ONE_BYTE_CODEC.fullmatch(codec):
        # Python calls a handler for each byte that stands for nothing, which takes three seconds for ten megabytes.
        return codecs.charmap_decode(data, "strict", _table_of(codec))[0]
    codec, data = _without_mark(codec, data)
    decoder = codecs.getincrementaldecoder(codec)(errors="replace")
    pieces = [decoder.decode(data[start : start + _PIECE_BYTES]) for start in range(0, len(data), _PIECE_BYTES)]
    return "".join([*pieces, decoder.decode(b"", final=True)])


def _without_mark(codec: str, data: bytes) -> tuple[str, bytes]:
    """Return the byte order that the data begin with, for the codecs that have one; without a mark it is little."""
    if codec not in ("utf-16", "utf-32"):
        return codec, data
    little, big = _MARKS[codec]
    if data.startswith(big):
        return f"{codec}-be", data[len(big) :]
    return f"{codec}-le", data.removeprefix(little)


@cache
def _table_of(codec: str) -> str:
    """Return the character of each byte."""
    return "".join(bytes([byte]).decode(codec, errors="replace") or _REPLACEMENT for byte in range(256))


def encode_text(text: str, charset: str) -> bytes:
    """Return a text in a charset.

    Raises UnicodeError for a character that it has not, and LookupError for a charset that `find_codec` does not know.
    """
    codec = find_codec(charset)
    if codec is None:
        raise LookupError(charset)
    return text.encode(codec)
