"""Known secrets are found in every form, at any place, in linear time."""

import base64
import json
import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_state.actions.http.clean_body import clean_body
from workflow_state.actions.http.redaction import redact_headers
from workflow_state.actions.http.scrubbing import MAX_SECRET_CHARACTERS, NO_SECRETS, REDACTED, make_scrubber

SECRET = "Tok-3n/of+välue&9"
SCRUB = make_scrubber([SECRET])
ESCAPED = "".join(f"\\u{ord(sign):04X}" for sign in SECRET)
MEGABYTE = 2**20
AT_ONCE_S = 2


@pytest.mark.parametrize(
    "form",
    [
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        repr(SECRET.encode())[2:-1],
        SECRET.encode().decode("latin-1"),
        "Tok-3n/of+v%C3%a4lue&9",
        "tok-3n%2fof%2Bv%c3%A4lue%269",
        "Tok-3n/of+v\\u00E4lue&9",
    ],
)
def test_a_form_is_found(form):
    assert SCRUB(f"<{form}>") == f"<{REDACTED}>"


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b"user:", b"\xff" * 50])
@pytest.mark.parametrize("after", [b"", b"z", b"zz"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_found_wherever_the_secret_begins_in_it(before, after, encode):
    encoded = encode(before + SECRET.encode() + after).decode()
    kept = SCRUB(encoded)
    assert REDACTED in kept
    # What is left holds a few bits of the secret at its ends, and none of its characters.
    rest = kept.replace(REDACTED, "A" * (len(encoded) - len(kept) + len(REDACTED)))
    decoded = base64.urlsafe_b64decode(rest.replace("+", "-").replace("/", "_") + "==")
    assert not any(SECRET.encode()[start : start + 2] in decoded for start in range(len(SECRET.encode()) - 1))


@given(st.binary(max_size=40), st.text(min_size=8, max_size=40), st.binary(max_size=40))
def test_no_hex_or_base64_of_a_secret_is_left(before, secret, after):
    scrub = make_scrubber([secret])
    data = before + secret.encode() + after
    for text in (
        data.hex(),
        data.hex().upper(),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
    ):
        assert REDACTED in scrub(text)


def test_names_and_values_of_headers_are_clean_in_any_case():
    token = "AbCdEf-123456"
    headers = [(f"x-{token.lower()}", "1"), ("x-echo", f"{token.upper()} {token.encode().hex()}")]
    assert redact_headers(headers, make_scrubber([token])) == {
        f"x-{REDACTED}": "1",
        "x-echo": f"{REDACTED} {REDACTED}",
    }


def test_a_text_in_another_case_stays():
    """An output must stay usable: `Admin` may be the user name, and `admin` a role."""
    assert make_scrubber(["Admin"])("admin") == "admin"


def test_bytes_keep_their_length():
    data = b"\x00\xff" + SECRET.encode() + b"\xff\xff" + SECRET.encode("utf-16-le")
    cleaned = SCRUB.overwrite(data)
    assert len(cleaned) == len(data)
    assert cleaned == b"\x00\xff" + b"*" * 18 + b"\xff\xff" + b"*" * 34


def test_a_value_without_secrets_is_the_same_object():
    value = {"a": [1, None, True, "text", {"b": 2.5}]}
    assert SCRUB.clean_value(value) is value
    assert NO_SECRETS("x") == "x"


def test_texts_names_and_numbers_of_a_value_are_clean():
    scrub = make_scrubber(["12345678", "s3cret"])
    value = {"s3cret": ["s3cret!", 12345678, 912345678.5, 12, True, None, ""], "": {"s3crets3cret": []}}
    assert scrub.clean_value(value) == {
        REDACTED: [f"{REDACTED}!", REDACTED, f"9{REDACTED}.5", 12, True, None, ""],
        "": {REDACTED: []},
    }


def test_a_text_full_of_secrets_is_replaced_as_a_whole():
    assert make_scrubber(["aaaa"])("a" * MEGABYTE) == REDACTED
    assert make_scrubber(["aaaa"]).clean_value(["a" * MEGABYTE, "b"]) == [REDACTED, REDACTED]


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("Ab9" * (MAX_SECRET_CHARACTERS // 3), "Ab9" * 2_000 + "x"),
        ("a" * 44 + "b" + "a" * 45, "a"),
        ("x" * 16_384, "x" * 16_383 + "y"),
        ("%25" * 2_000, "%25" * 1_999 + "%"),
    ],
    ids=["a long token", "a period", "longer than any", "escapes"],
)
def test_megabytes_are_searched_at_once(secret, text):
    """A token of 16 KB stopped a whole process for 17 s for each megabyte."""
    data = (text * (4 * MEGABYTE // len(text))).encode()
    started = time.process_time()
    make_scrubber([secret])(data.decode())
    make_scrubber([secret]).overwrite(data)
    assert time.process_time() - started < AT_ONCE_S


def test_a_secret_across_two_pieces_of_a_search_is_found():
    for length in range(MEGABYTE - 20, MEGABYTE + 2, 3):
        assert SCRUB("x" * length + SECRET) == "x" * length + REDACTED


def test_an_input_longer_than_any_credential_is_found_whole():
    long = "".join(random.Random(15).choices(string.ascii_letters, k=MAX_SECRET_CHARACTERS * 2 + 77))
    assert make_scrubber([long])(f"<{long}>") == f"<{REDACTED}>"


# --- Bodies


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps({"a": SECRET}).encode(), "application/json"),
        (json.dumps({"a": SECRET}, ensure_ascii=False).encode(), "application/json"),
        (json.dumps({"a": SECRET}).encode("utf-16"), "application/json"),
        (json.dumps({"a": SECRET}).encode("utf-16-be"), "application/json"),
        # Of a name that occurs twice the last one counts.
        (b'{"a": "%s", "a": 1}' % SECRET.encode(), "application/json"),
        (b'{"a": "%s", "a": 1}' % ESCAPED.encode(), "application/json"),
        (f'{{"ü": "{ESCAPED}", "ü": 1}}'.encode(), "application/json"),
        (f'{{"ü": "{ESCAPED}", "ü": 1}}'.encode("utf-16"), "application/json"),
        (b'1\n"%s"\n' % SECRET.encode(), "application/x-ndjson"),
        (SECRET.encode(), "text/plain"),
        (SECRET.encode("latin-1"), "text/plain; charset=latin-1"),
        (SECRET.encode("utf-16"), "text/plain; charset=utf-16"),
        # What is sent is in another charset than the one that is named.
        (SECRET.encode() + b"!", "text/plain; charset=utf-16-le"),
        (SECRET.encode("utf-16-be"), "text/plain"),
        (SECRET.encode(), "text/plain; charset=cp1252"),
        (b"\x89PNG" + SECRET.encode(), "image/png"),
        (b"\xff\x00" + SECRET.encode("utf-16-le"), ""),
        (b"\xff\x00" + base64.b64encode(b"x" + SECRET.encode()), "application/octet-stream"),
    ],
)
def test_neither_the_value_nor_what_is_stored_has_a_secret(body, content_type):
    clean = clean_body(body, content_type, SCRUB)
    kept = [repr(clean.found), repr(clean.text), json.dumps([clean.found, clean.text])]
    for charset in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
        kept += [clean.data.decode(charset, "replace"), clean.data[1:].decode(charset, "replace")]
        kept.append((clean.text or "").encode(charset, "replace").decode("latin-1"))
    assert not any(
        part in text for text in kept for part in ("Tok-3n", "lue&9", base64.b64encode(b"xTok-3n/").decode()[:8])
    )


def test_a_body_without_secrets_is_stored_as_it_came():
    body = b'{ "a" : 1.50, "b": "\\u0041" }'
    clean = clean_body(body, "application/json; charset=utf-8", SCRUB)
    assert (clean.data, clean.content_type, clean.found) == (
        body,
        "application/json; charset=utf-8",
        ({"a": 1.5, "b": "A"},),
    )


def test_a_type_with_a_secret_in_it_is_not_kept():
    for content_type, own in (
        (f"application/json; x={SECRET}", "application/json"),
        (f"application/x-ndjson; x={SECRET}", "application/x-ndjson"),
        (f"text/html; x={SECRET}", "text/plain; charset=utf-8"),
        (f"image/png; x={SECRET}", "application/octet-stream"),
    ):
        assert clean_body(b"1", content_type, SCRUB).content_type == own


def test_a_word_of_json_that_is_a_secret_too_breaks_no_body():
    """An environment variable may be `true`, and a header may have its value."""
    body = b'{"a": true, "b": [null]}'
    clean = clean_body(body, "application/json", make_scrubber(["true", "null"]))
    assert clean.found == ({"a": True, "b": [None]},)
    assert json.loads(clean.data) == json.loads(body)
