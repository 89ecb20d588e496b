"""Texts of a list's elements, stored once for the list. Pure.

    packed = pack('{"to": "grace"}', like=b'{"to": "ada"}')
    unpack(packed, like=b'{"to": "ada"}')                   b'{"to": "grace"}'

Ten thousand elements that ask a person differ in a few characters each. So what the first of them stores is the
template of its list, and the others store what differs from it (zlib with a preset dictionary). The template never
changes once it is stored. What is stored without a template stays as it is: JSON begins with another byte.
"""

import zlib

_PACKED = b"z"
# How far back zlib can point.
_WINDOW_BYTES = 32 * 1024


def pack(text: str, like: bytes | None) -> bytes:
    """Return the text as it is stored beside that template; as it is where there is none."""
    plain = text.encode()
    if not like:
        return plain
    packer = zlib.compressobj(zdict=like[-_WINDOW_BYTES:])
    return _PACKED + packer.compress(plain) + packer.flush()


def unpack(stored: bytes, like: bytes | None) -> bytes:
    """Return the text that was stored beside that template."""
    if not stored.startswith(_PACKED):
        return stored
    unpacker = zlib.decompressobj(zdict=(like or b"")[-_WINDOW_BYTES:])
    return unpacker.decompress(stored.removeprefix(_PACKED)) + unpacker.flush()
