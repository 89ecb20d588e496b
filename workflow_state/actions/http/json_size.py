"""How many values a JSON text has, and about how much memory they would take, before they are made. Pure.

Ten megabytes of `[[],[],…]` are a quarter of a gigabyte as lists, and 9 KiB of gzip. So the signs of the text are
counted first. That takes some milliseconds for a megabyte, and next to nothing for a usual answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_VALUES: Final = 1_000_000
MAX_VALUE_BYTES: Final = 64 * 2**20

# A line is read by itself, which takes as long as three values.
_VALUES_OF_LINE: Final = 3
_PIECE_CHARACTERS: Final = 2**18
# About what CPython takes, on a machine of 64 bits.
_LIST_BYTES: Final = 64
_OBJECT_BYTES: Final = 184
_ENTRY_BYTES: Final = 24
_TEXT_BYTES: Final = 56
_NUMBER_BYTES: Final = 32


@dataclass(slots=True)
class _Signs:
    """How often each sign occurs outside of texts, and how many texts there are."""

    commas: int = 0
    lists: int = 0
    objects: int = 0
    colons: int = 0
    breaks: int = 0
    texts: int = 0

    def count(self, piece: str) -> None:
        """Add the signs of a piece."""
        self.commas += piece.count(",")
        self.lists += piece.count("[")
        self.objects += piece.count("{")
        self.colons += piece.count(":")

    def values(self) -> int:
        """Return how many values there are at most; an empty list or object counts twice, a line three times."""
        return 1 + self.commas + self.lists + self.objects + _VALUES_OF_LINE * self.breaks

    def memory_bytes(self) -> int:
        """Return about how much memory the values take, without the characters of texts."""
        texts = max(0, self.texts - self.colons)
        numbers = max(0, self.values() - texts - self.lists - self.objects)
        return (
            self.lists * _LIST_BYTES
            + self.objects * _OBJECT_BYTES
            + self.colons * _ENTRY_BYTES
            + texts * _TEXT_BYTES
            + numbers * _NUMBER_BYTES
        )

    def problem(self) -> str | None:
        """Return which bound is exceeded, in words."""
        if self.values() > MAX_VALUES:
            return f"has more than {MAX_VALUES} values"
        if self.memory_bytes() > MAX_VALUE_BYTES:
            return f"would take more than {MAX_VALUE_BYTES // 2**20} MiB of memory as values"
        return None


def find_size_problem(text: str, separator: str | None = None) -> str | None:
    """Return why the values of a JSON text would be too many or too large, or None where they are not.

    >>> find_size_problem('{"a": [1, 2]}') is None
    True
    >>> find_size_problem("[" + "[]," * 1_000_000 + "[]]")
    'has more than 1000000 values'

    `separator` is what stands between the values of a text that has more than one.
    """
    breaks = text.count(separator) if separator else 0
    rough = _Signs(breaks=breaks, texts=text.count('"') // 2)
    rough.count(text)
    # Most texts have few enough signs even with those that stand in texts.
    return rough.problem() and _count_exactly(text, breaks).problem()


def _count_exactly(text: str, breaks: int) -> _Signs:
    signs = _Signs(breaks=breaks)
    quotes = 0
    for piece, in_piece in _outside_of_texts(text.replace("\\\\", "").replace('\\"', "")):
        signs.count(piece)
        quotes += in_piece
        signs.texts = quotes // 2
        if signs.problem():
            break
    return signs


def _outside_of_texts(text: str) -> Iterator[tuple[str, int]]:
    """Yield, piece by piece, what stands outside of texts, and how many quotes the piece has."""
    quotes = 0
    for start in range(0, len(text), _PIECE_CHARACTERS):
        parts = text[start : start + _PIECE_CHARACTERS].split('"')
        yield "".join(parts[quotes % 2 :: 2]), len(parts) - 1
        quotes += len(parts) - 1
