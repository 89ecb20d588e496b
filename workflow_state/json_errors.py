"""What is wrong with a text that is no JSON, in words for whoever wrote it: what is there, where, and what to do."""

import json
import re
from dataclasses import dataclass
from typing import Final

from workflow_state.wording import shown

# What is there: a text, a word or a number, or one character.
_TOKEN: Final = re.compile(r"\"[^\"\n]{0,30}\"?|[\w$.+-]{1,30}|//|/\*|\S")
_LONGEST_TOKEN: Final = 60
_CHARACTERS: Final = {"'": "a single quote", "`": "a backquote"}
_WORDS: Final = {"True": "true", "False": "false", "None": "null", "undefined": "null", "nil": "null"}
# How they are called, and how they are written in a text.
_CONTROLS: Final = {"\n": ("a line break", "\\n"), "\r": ("a line break", "\\r"), "\t": ("a tab", "\\t")}
# What belongs there, by how Python's message begins.
_WANTED: Final = {
    "Expecting property name": "the name of a field in double quotes belongs",
    "Expecting ':'": "':' belongs, after the name of a field",
    "Expecting ','": "',' or the end of the object or the list belongs",
    "Expecting value": "a value belongs",
}


@dataclass(frozen=True, slots=True)
class JsonFault:
    """What is wrong, with its line and column, which count from 1. `advice` is empty where nobody knows."""

    line: int
    message: str
    advice: str


def explain_json_error(error: json.JSONDecodeError) -> JsonFault:
    """Return what Python's JSON parser has found, in words of ours: they are the same for all versions of Python."""
    text, start = error.doc, error.pos
    if not text.strip():
        return JsonFault(1, "the text is empty (line 1, column 1)", "")
    start += len(text[start:]) - len(text[start:].lstrip())
    found, before = text[start : start + _LONGEST_TOKEN], text[: error.pos].rstrip()
    if error.msg.startswith("Illegal trailing comma") or (before.endswith(",") and found[:1] in ("}", "]")):
        comma = error.pos if text[error.pos] == "," else len(before) - 1
        return _fault(text, comma, "there is a comma {place}, and nothing comes after it", "remove the comma")
    if error.msg.startswith(("Unterminated", "Invalid")):
        return _explain_in_text(text, error)
    if not found:
        return _fault(text, start, "the text ends {place}, before the JSON does", "add what is missing at its end")
    if error.msg.startswith("Extra data"):
        return _fault(text, start, f"there is {_name(found)} {{place}}, after the end of the JSON", "remove it")
    wanted = next((words for begin, words in _WANTED.items() if error.msg.startswith(begin)), "something else belongs")
    advice = _advise(found, error.msg) if before else _advise_at_start(found)
    return _fault(text, start, f"there is {_name(found)} {{place}}, where {wanted}", advice)


def _explain_in_text(text: str, error: json.JSONDecodeError) -> JsonFault:
    """Explain what is wrong between double quotes."""
    start = error.pos
    if error.msg.startswith("Unterminated"):
        return _fault(text, start, "the text that begins {place} has no end", 'add the missing "')
    if error.msg.startswith("Invalid control"):
        code = ord(text[start])
        name, escape = _CONTROLS.get(text[start], (f"the control character U+{code:04X}", f"\\u{code:04x}"))
        return _fault(text, start, f"there is {name} {{place}}, between double quotes", f"write {escape} for it")
    return _fault(text, start, "there is no such escape as the one {place}", "write \\\\ for a backslash")


def _fault(text: str, position: int, message: str, advice: str) -> JsonFault:
    line = text.count("\n", 0, position) + 1
    place = f"at line {line}, column {position - text.rfind(chr(10), 0, position)}"
    # What is there may have a brace in it.
    return JsonFault(line, message.replace("{place}", place, 1), advice)


def _advise_at_start(found: str) -> str:
    return "send the JSON by itself, without ``` around it" if found.startswith("```") else "JSON begins with { or ["


def _advise(found: str, message: str) -> str:
    first = _token(found)
    wants_word = message.startswith(("Expecting value", "Expecting property"))
    is_word = first[0].isalpha() or first[0] in "_$"
    if first == "'":
        return "JSON has double quotes only"
    if first in ("//", "/*", "#"):
        return "JSON has no comments: remove it"
    if message.startswith("Expecting value") and first in _WORDS:
        return f"write {_WORDS[first]}"
    if is_word and wants_word:
        return f'write "{shown(first)}", in double quotes'
    return "add the missing comma" if message.startswith("Expecting ','") and first[0] in '"{[' else ""


def _name(found: str) -> str:
    token = _token(found)
    if not token.isprintable():
        return f"the character U+{ord(token[0]):04X}"
    return _CHARACTERS.get(token) or (shown(token) if token.startswith('"') else f"'{shown(token)}'")


def _token(found: str) -> str:
    match = _TOKEN.match(found)
    return match[0] if match else found[:1]
