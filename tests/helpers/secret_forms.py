"""The forms in which a server could write a secret, and a search for them: written apart from the code under test."""

import base64
import html
import json
import urllib.parse
from collections.abc import Iterable, Mapping


def forms_of(secret: str) -> dict[str, str]:
    """Return the forms by name; base64 and hex with other text around the secret as well."""
    raw = secret.encode()
    forms = {
        "plain": secret,
        "quoted": urllib.parse.quote(secret, safe=""),
        "quoted small": urllib.parse.quote(secret, safe="").lower(),
        "form": urllib.parse.quote_plus(secret),
        "json": json.dumps(secret)[1:-1],
        "html": html.escape(secret),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "repr": repr(raw)[2:-1],
    }
    for before in range(4):
        text = base64.b64encode(b"user"[:before] + raw + b"zz").decode()
        forms[f"base64 after {before}"] = text
        forms[f"base64url after {before}"] = text.replace("+", "-").replace("/", "_")
    return forms


def traces_of(secret: str) -> set[str]:
    """Return what may be nowhere: parts of the forms that can't be there by chance."""
    raw = secret.encode()
    parts = {secret, secret.lower(), secret[:8], secret[-8:], urllib.parse.quote(secret, safe=""), raw.hex()[4:-4]}
    parts |= {raw.hex()[4:-4].upper(), repr(raw)[2:-1]}
    for before in range(3):
        for text in (base64.b64encode(bytes(before) + raw), base64.urlsafe_b64encode(bytes(before) + raw)):
            parts.add(text.decode()[4:-6])
    return parts


def find_traces(places: Mapping[str, str | bytes], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Return the places that a trace of a secret was found in, with what was found; bytes are read in four charsets."""
    parts = set().union(*map(traces_of, secrets))
    found = []
    for place, content in places.items():
        charsets = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
        texts = [content] if isinstance(content, str) else [content.decode(name, "replace") for name in charsets]
        found += [(place, part) for text in texts for part in parts if part in text]
    return found
