r"""Taking known secrets out of what a server sent, in every form in which a server could write them. Pure.

    scrub = make_scrubber(["s3cret"])
    scrub("Basic czNjcmV0 of s3cret")        "Basic [redacted] of [redacted]"
    scrub.overwrite(b"\x00s3cret\xff")       b"\x00******\xff"

The forms are searched for one by one as plain bytes. So the time is linear in the text whatever the secret is. A search
goes on in pieces of a megabyte, because Python's interpreter lock is held in each.
"""

import base64
import html
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from urllib.parse import quote, quote_plus

from pydantic import JsonValue

REDACTED: Final = "[redacted]"
MIN_SECRET_LENGTH: Final = 4
"""Shorter values are not taken for secrets: replacing them would only destroy text."""
MAX_SECRET_CHARACTERS: Final = 8_192
"""Longer credentials are refused: servers take no such header, and each form is searched for in each answer."""

_PIECE_BYTES: Final = 2**20
# A text with more of them is replaced as a whole: only a server that means harm writes one.
_MAX_FOUND: Final = 100_000
# Of a base64 text around a secret only this much or more is looked for. Less is in other texts by chance.
_MIN_BASE64_CHARACTERS: Final = 8
# It is in no text here: half of a surrogate pair has become U+FFFD before.
_BETWEEN_TEXTS: Final = "\ud800"
_BEFORE_HEX_DIGITS: Final = (b"%", b"\\u", b"\\x", b"&#x")
# What httpx leaves as it is in the path and in the query of a URL.
_SAFE_IN_PATH: Final = "!$%&'()*+,-./:;=@[\\]^_|~"
_SAFE_IN_QUERY: Final = _SAFE_IN_PATH + "?`{}"
# JSON writers escape more than they must: PHP the slash, Go `<`, `>` and `&`, .NET more.
_HTML_IN_JSON: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}
_MORE_IN_JSON: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'+`"}


@dataclass(frozen=True, slots=True)
class Scrub:
    """Replace known secrets. Threads may share it.

    `forms` are searched for as they are. `forms_in_any_case` are in lower case: they have hex digits in them, which are
    written in either case.
    """

    forms: tuple[bytes, ...] = field(default=(), repr=False)
    forms_in_any_case: tuple[bytes, ...] = field(default=(), repr=False)

    def __call__(self, text: str) -> str:
        """Return the text with `[redacted]` in the place of each secret; the same object where there is none."""
        return self._replace(text, self.forms)

    def in_any_case(self, text: str) -> str:
        """Do the same whatever the case of letters is, for names of headers and hosts, which clients write small."""
        return self._replace(text, ())

    def _replace(self, text: str, forms: tuple[bytes, ...]) -> str:
        if not self.forms:
            return text
        data = text.encode("utf-8", "surrogatepass")
        spans = self._find(data, forms)
        if spans is None:
            return REDACTED
        if not spans:
            return text
        kept = _between(data, spans)
        return REDACTED.join(piece.decode("utf-8", "surrogatepass") for piece in kept)

    def overwrite(self, data: bytes) -> bytes:
        """Return bytes of the same length with `*` over each secret; the same object where there is none.

        The length stays, because other places in a binary file may count on it.
        """
        spans = self._find(data, self.forms) if self.forms else []
        if spans is None:
            return b"*" * len(data)
        if not spans:
            return data
        cleaned = bytearray(data)
        for start, end in spans:
            cleaned[start:end] = b"*" * (end - start)
        return bytes(cleaned)

    def clean_value(self, value: JsonValue) -> JsonValue:
        """Return a JSON value with the secrets in its texts, names and numbers replaced.

        The same object where there is none. All texts are searched as one, because a value may have a million.
        """
        if not self.forms:
            return value
        texts = _texts_in(value)
        joined = _BETWEEN_TEXTS.join(texts)
        cleaned = self(joined)
        if cleaned is joined:
            return value
        pieces = cleaned.split(_BETWEEN_TEXTS)
        return _with_texts(value, iter(pieces if len(pieces) == len(texts) else [REDACTED] * len(texts)))

    def _find(self, data: bytes, forms: tuple[bytes, ...]) -> list[tuple[int, int]] | None:
        """Return where secrets are, in order and apart from each other; None where there are too many of them.

        Without `forms` all are searched for in any case.
        """
        lowered = data.lower()
        searched = [(data, form) for form in forms] or [(lowered, form.lower()) for form in self.forms]
        searched += ((lowered, form) for form in self.forms_in_any_case)
        found: list[tuple[int, int]] = []
        for place, form in searched:
            found += ((start, start + len(form)) for start in _occurrences(place, form))
            if len(found) > _MAX_FOUND:
                return None
        return _joined(sorted(found))


NO_SECRETS: Final = Scrub()
"""A Scrub that replaces nothing."""


def make_scrubber(secrets: Iterable[str]) -> Scrub:
    """Return a Scrub that replaces each of the secrets."""
    long_enough = {secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH}
    parts = {part for secret in long_enough for part in _parts(secret)}
    forms = {form for part in parts for form in _forms_of(part)}
    has_digits = {form.lower() for form in forms if any(sign in form for sign in _BEFORE_HEX_DIGITS)}
    has_digits |= {part.encode("utf-8", "surrogatepass").hex().encode() for part in parts}
    return Scrub(tuple(sorted(forms)), tuple(sorted(has_digits)))


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret in pieces that can be searched for. Only an input can be longer than one of them."""
    if len(secret) <= MAX_SECRET_CHARACTERS:
        yield secret
        return
    for start in range(0, len(secret), MAX_SECRET_CHARACTERS):
        # The last piece is a whole one as well: a short one would be in other texts by chance.
        end = min(start + MAX_SECRET_CHARACTERS, len(secret))
        yield secret[end - MAX_SECRET_CHARACTERS : end]


def _occurrences(data: bytes, form: bytes) -> Iterator[int]:
    """Yield where the form begins, at most one more than `_MAX_FOUND` times."""
    count = 0
    for piece in range(0, len(data), _PIECE_BYTES):
        position, end = piece, piece + _PIECE_BYTES + len(form) - 1
        while (position := data.find(form, position, end)) >= 0:
            yield position
            count += 1
            if count > _MAX_FOUND:
                return
            position += len(form)


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _between(data: bytes, spans: list[tuple[int, int]]) -> Iterator[bytes]:
    position = 0
    for start, end in spans:
        yield data[position:start]
        position = end
    yield data[position:]


# --- The forms of a secret --------------------------------------------------------------------------------------


def _forms_of(secret: str) -> set[bytes]:
    raw = secret.encode("utf-8", "surrogatepass")
    texts = {
        *_in_urls(raw),
        *_in_json(secret),
        *_in_html(secret),
        *_in_base64(raw),
        repr(raw)[2:-1],
        repr(secret)[1:-1],
    }
    # A header that is no UTF-8 as a whole is read as Latin-1.
    texts |= {secret, raw.decode("latin-1")}
    return {form.encode("utf-8", "surrogatepass") for form in texts} | _in_other_charsets(secret)


def _in_urls(raw: bytes) -> set[str]:
    quoted = {quote(raw, safe=safe) for safe in ("", "/", _SAFE_IN_PATH, _SAFE_IN_QUERY)}
    return quoted | {quote_plus(raw), quote_plus(raw, safe="/")}


def _in_json(secret: str) -> set[str]:
    forms = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {form.replace("/", "\\/") for form in forms}
    forms |= {form.translate(table) for form in forms for table in (_HTML_IN_JSON, _MORE_IN_JSON)}
    # .NET writes a quote so.
    return forms | {form.replace('\\"', "\\u0022") for form in forms}


def _in_html(secret: str) -> set[str]:
    forms = {html.escape(secret), html.escape(secret, quote=False)}
    return forms | {form.replace("&#x27;", "&#39;").replace("&quot;", "&#34;") for form in forms}


def _in_base64(raw: bytes) -> set[str]:
    """Return the base64 of a secret, by itself and inside of that of a longer text, where it may begin anywhere."""
    forms: set[str] = set()
    for before in range(3):
        text = base64.b64encode(bytes(before) + raw).decode()
        # The characters that have bits of this secret and of nothing else.
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        inner = text[first:last]
        if len(inner) >= _MIN_BASE64_CHARACTERS:
            forms.add(inner)
        if before == 0:
            forms |= {text, text.rstrip("=")}
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}


def _in_other_charsets(secret: str) -> set[bytes]:
    forms: set[bytes] = set()
    for charset in ("latin-1", "cp1252", "utf-16-le", "utf-16-be"):
        try:
            forms.add(secret.encode(charset))
        except UnicodeEncodeError:
            continue
    return forms


# --- JSON values ------------------------------------------------------------------------------------------------
# Level by level, and without a call for each text: a value may have a million.

_Container = list[JsonValue] | dict[str, JsonValue]


def _texts_in(root: JsonValue) -> list[str]:
    """Return the texts, names and numbers in a value: the names of an object come before what it holds."""
    texts: list[str] = []
    pending: deque[_Container] = deque([[root]])
    while pending:
        container = pending.popleft()
        if isinstance(container, dict):
            texts += container
        for item in container.values() if isinstance(container, dict) else container:
            if isinstance(item, str):
                texts.append(item)
            elif isinstance(item, (dict, list)):
                pending.append(item)
            elif item is not None and not isinstance(item, bool):
                texts.append(str(item))
    return texts


def _with_texts(root: JsonValue, texts: Iterator[str]) -> JsonValue:
    """Return a copy of the value with these texts in the places of its own, in the order of `_texts_in`."""
    top: list[JsonValue] = []
    pending: deque[tuple[_Container, _Container]] = deque([([root], top)])
    while pending:
        container, copied = pending.popleft()
        names = list(islice(texts, len(container))) if isinstance(container, dict) else []
        items: list[JsonValue] = []
        for item in container.values() if isinstance(container, dict) else container:
            if isinstance(item, (dict, list)):
                inner: _Container = {} if isinstance(item, dict) else []
                pending.append((item, inner))
                items.append(inner)
            elif item is None or isinstance(item, bool):
                items.append(item)
            else:
                text = next(texts)
                items.append(text if isinstance(item, str) or REDACTED in text else item)
        if isinstance(copied, dict):
            copied.update(zip(names, items, strict=True))
        else:
            copied.extend(items)
    return top[0]
