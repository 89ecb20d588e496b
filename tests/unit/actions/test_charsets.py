"""Charsets: those in use are read and written in linear time, and all others are refused."""

import codecs
import encodings.aliases
import random
import time

import pytest
from helpers.plans import action, plan

from workflow_state.actions.definitions.rules import find_definition_problems
from workflow_state.actions.http.content_type import charset_of, choose_content_type
from workflow_state.actions.http.request import build_request
from workflow_state.charsets import decode_bytes, encode_text, find_codec
from workflow_state.errors import HttpActionError, PlanValidationError
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ActionDefinition

AT_ONCE_S = 2
# These two are of Windows only.
KNOWN = sorted({codecs.lookup(name).name for name in {*encodings.aliases.aliases.values()} - {"mbcs", "oem"}})
IN_USE = [name for name in KNOWN if find_codec(name)]
BYTES = bytes(range(256)) + random.Random(15).randbytes(5_000)


def post(content_type, body):
    definition = ActionDefinition.model_validate({"id": "d", "endpoint": {"url": "https://h/", "method": "POST"}})
    return build_request(definition, {"header.Content-Type": content_type, "body": body})


@pytest.mark.parametrize("codec", IN_USE)
def test_bytes_are_read_as_python_reads_them(codec):
    assert decode_bytes(BYTES, codec) == BYTES.decode(codec, errors="replace")


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE])
@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
def test_a_byte_order_mark_is_obeyed(codec, mark):
    data = mark + BYTES
    assert decode_bytes(data, codec) == data.decode(codec, errors="replace")


@pytest.mark.parametrize("codec", ["cp1253", "iso8859-7", "mac-roman", "gb18030", "euc_jp", "utf-8"])
def test_megabytes_of_what_is_no_text_are_read_at_once(codec):
    """Python alone takes a third of a second for each megabyte in some charsets, and holds its lock all the while."""
    started = time.process_time()
    decode_bytes(b"\xff" * 4 * 2**20, codec)
    assert time.process_time() - started < AT_ONCE_S


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "unicode_escape", "rot13", "hex", "no-such"])
def test_other_charsets_are_refused_before_anything_is_sent(charset):
    started = time.process_time()
    with pytest.raises(HttpActionError, match=f"charset {charset} is not among those in use"):
        post(f"text/plain; charset={charset}", "ä" * 20_000)
    assert time.process_time() - started < AT_ONCE_S


def test_a_charset_that_is_not_in_use_is_reported_when_a_plan_is_validated():
    """With and without definitions; a text that is not known yet is left to the worker."""
    inputs = {"header.content-type": "text/plain; charset=punycode", "body": "x"}
    refused = plan(action("a", inputs=inputs))
    with pytest.raises(PlanValidationError, match="punycode") as caught:
        validate_plan_with(None, refused)
    assert [(problem["code"], problem["path"]) for problem in caught.value.errors] == [
        ("bad_input", "/actions/0/inputs/header.content-type")
    ]
    for content_type in ("text/plain; charset=latin1", "application/json; charset=punycode", "${inputs.type}"):
        allowed = plan(action("a", inputs={**inputs, "header.content-type": content_type}))
        validate_plan_with(None, {**allowed, "inputs": {"type": "text/css"}})


def test_a_charset_that_is_not_in_use_is_reported_when_a_definition_is_read():
    endpoint = {"url": "https://h/", "method": "POST", "headers": {"Content-Type": "text/plain; charset=punycode"}}
    problems = find_definition_problems(ActionDefinition.model_validate({"id": "d", "endpoint": endpoint}))
    assert [problem.path for problem in problems] == [("endpoint", "headers", "Content-Type")]


def test_a_text_is_sent_in_its_charset():
    assert post("text/plain; charset=latin1", "Grüße").body == "Grüße".encode("latin-1")
    assert post('text/plain; Charset="UTF-8"', "Grüße").body == "Grüße".encode()
    assert encode_text("Grüße", "utf-16-le") == "Grüße".encode("utf-16-le")


def test_a_character_that_a_charset_has_not_is_refused():
    with pytest.raises(HttpActionError, match="can't be written as latin1"):
        post("text/plain; charset=latin1", "漢")


@pytest.mark.parametrize(
    "lines",
    [
        ["a/b;" + " " * 60_000 + "x"],
        ["a/b; charset=" + " " * 60_000 + "?"],
        ["a/b", *["a=," * 20_000] * 50],
        ['a/b;"' * 20_000],
    ],
    ids=["blanks", "blanks of a charset", "parameters", "quotes"],
)
def test_a_long_content_type_is_read_at_once(lines):
    started = time.process_time()
    charset_of(choose_content_type(lines))
    charset_of(lines[0])
    assert time.process_time() - started < AT_ONCE_S
