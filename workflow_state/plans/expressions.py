"""A CEL expression rewritten so that its operators are ours, and the calls and fields that are in it. Pure.

    a * 2 > 30   becomes   compare_(calculate_(a, "*", 2)[0], ">", 30)[0]

CEL's library can't be given other operators, but it can be given functions. `&&`, `||`, `!`, `?:`, macros and all other
functions stay CEL's own. Each of our functions returns a list with its value, or an empty one where it failed: then the
index fails within CEL, which goes on where the other side of an `||` decides.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from workflow_state.errors import ConditionError
from workflow_state.plans.condition_limits import TOKEN

CALCULATE: Final = "calculate_"
COMPARE: Final = "compare_"
SIZE: Final = "size_"
INDEX: Final = "index_"
TRUTH: Final = "truth_"

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_SIGN: Final = re.compile(r"&&|\|\||[=!<>]=|[-+*/%!<>?:.,()\[\]{}]")
_REFERENCE: Final = re.compile(r"\(*reference_[0-9]+\)*")
_BLANK: Final = re.compile(r"\s+")
# From what binds least; those with a function are ours.
_LEVELS: Final[Sequence[tuple[frozenset[str], str]]] = (
    (frozenset({"||"}), ""),
    (frozenset({"&&"}), ""),
    (frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}), COMPARE),
    (frozenset({"+", "-"}), CALCULATE),
    (frozenset({"*", "/", "%"}), CALCULATE),
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the author wrote it: `receiver.name(arguments)`; `receiver` is None for a function."""

    name: str
    receiver: str | None
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field that is read of something: `receiver.name`."""

    name: str
    receiver: str


@dataclass(slots=True)
class Rewritten:
    """The expression with our operators, and what it calls and reads, in the order of writing."""

    cel: str = ""
    calls: list[Call] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)


def rewrite(expression: str) -> Rewritten:
    """Return a CEL expression (without comments) with our operators; linear in its length.

    Raises ConditionError for what is no expression, and for CEL's messages (`Type{field: value}`), which JSON has not.
    """
    return _Reader(expression).read()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def _split(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        literal = TOKEN.match(text, position)
        if literal and literal["literal"]:
            kind, found = "literal", literal
        elif number := _NUMBER.match(text, position):
            kind, found = "number", number
        elif name := _NAME.match(text, position):
            kind, found = "sign" if name[0] == "in" else "name", name
        elif sign := _SIGN.match(text, position):
            kind, found = "sign", sign
        else:
            raise _unreadable()
        tokens.append(_Token(kind, found[0], position, found.end()))
        position = found.end()
    return [*tokens, _Token("end", "", len(text), len(text))]


def _unreadable() -> ConditionError:
    return ConditionError("the condition is no CEL expression: it can't be read")


def _as_truth(written: str) -> str:
    """Return a reference that stands where true or false belongs as its truth value, as it has where it is alone."""
    return f"{TRUTH}({written})[0]" if _REFERENCE.fullmatch(written) else written


class _Reader:
    """One pass over the tokens, by the grammar of CEL; each method returns what it has read, rewritten."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _split(text)
        self._at = 0
        self._found = Rewritten()

    def read(self) -> Rewritten:
        self._found.cel = self._expression()
        if self._tokens[self._at].kind != "end":
            raise _unreadable()
        return self._found

    def _expression(self) -> str:
        parts = [self._level(0)]
        # `a ? b : c ? d : …` as a loop: a recursion could be hundreds deep.
        while self._accept("?"):
            parts[-1] = _as_truth(parts[-1])
            parts += [" ? ", self._level(0), " : "]
            self._require(":")
            parts.append(self._level(0))
        return "".join(parts)

    def _level(self, number: int) -> str:
        if number == len(_LEVELS):
            return self._unary()
        signs, function = _LEVELS[number]
        parts = [self._level(number + 1)]
        while self._tokens[self._at].kind == "sign" and self._tokens[self._at].text in signs:
            sign = self._take().text
            parts += [f'"{sign}"' if function else sign, self._level(number + 1)]
        if len(parts) == 1:
            return parts[0]
        return f"{function}({', '.join(parts)})[0]" if function else " ".join(map(_as_truth, parts))

    def _unary(self) -> str:
        if self._accept("!"):
            return f"!{_as_truth(self._unary())}"
        if self._accept("-"):
            if self._tokens[self._at].kind == "number":
                return f"-{self._member()}"
            return f'{CALCULATE}(0, "-", {self._unary()})[0]'
        return self._member()

    def _member(self) -> str:
        start = self._at
        written = self._primary()
        while True:
            receiver = self._source(start)
            if self._accept("."):
                written = self._dotted(written, receiver)
            elif self._accept("["):
                written = f"{written}[{self._index()}]"
            else:
                return written

    def _dotted(self, written: str, receiver: str) -> str:
        name = self._name()
        if not self._accept("("):
            self._found.fields.append(Field(name, receiver))
            return f"{written}.{name}"
        arguments = self._arguments(name, receiver, ")")
        if name == "size" and not arguments:
            return f"{SIZE}({written})[0]"
        return f"{written}.{name}({', '.join(arguments)})"

    def _index(self) -> str:
        first = self._tokens[self._at]
        is_plain = (first.kind == "literal" or first.text.isdecimal()) and self._tokens[self._at + 1].text == "]"
        written = self._expression()
        self._require("]")
        return written if is_plain else f"{INDEX}({written})[0]"

    def _primary(self) -> str:
        token = self._take()
        if token.kind in ("literal", "number"):
            return token.text
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            written = self._expression()
            self._require(")")
            return f"({written})"
        if token.text == "[":
            return f"[{', '.join(self._list(']'))}]"
        if token.text == "{":
            return f"{{{', '.join(self._entries())}}}"
        raise _unreadable()

    def _named(self, token: _Token) -> str:
        if not self._accept("("):
            return token.text
        arguments = self._arguments(token.text, None, ")")
        if token.text == "size" and len(arguments) == 1:
            return f"{SIZE}({arguments[0]})[0]"
        return f"{token.text}({', '.join(arguments)})"

    def _arguments(self, name: str, receiver: str | None, end: str) -> list[str]:
        place = len(self._found.calls)
        sources: list[str] = []
        written = self._list(end, sources)
        # Before the calls in its arguments, as it was written.
        self._found.calls.insert(place, Call(name, receiver, tuple(sources)))
        return written

    def _list(self, end: str, sources: list[str] | None = None) -> list[str]:
        items: list[str] = []
        while not self._accept(end):
            start = self._at
            items.append(self._expression())
            if sources is not None:
                sources.append(self._source(start))
            if not self._accept(","):
                self._require(end)
                break
        return items

    def _entries(self) -> list[str]:
        entries: list[str] = []
        while not self._accept("}"):
            key = self._expression()
            self._require(":")
            entries.append(f"{key}: {self._expression()}")
            if not self._accept(","):
                self._require("}")
                break
        return entries

    def _name(self) -> str:
        token = self._take()
        if token.kind != "name":
            raise _unreadable()
        return token.text

    def _source(self, start: int) -> str:
        return self._text[self._tokens[start].start : self._tokens[self._at - 1].end]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind == "end":
            raise _unreadable()
        self._at += 1
        return token

    def _accept(self, sign: str) -> bool:
        token = self._tokens[self._at]
        if token.kind != "sign" or token.text != sign:
            return False
        self._at += 1
        return True

    def _require(self, sign: str) -> None:
        if not self._accept(sign):
            raise _unreadable()
