"""What a test says that a definition's server answers, and what was asked of it.

Pure data and functions; `server.py` sends them.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

_LONGEST_SHOWN_BODY = 500


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as the definition's own server would have received it; the names of headers are in lower case."""

    definition_id: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON data. Raises ValueError where it is none."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, list[str]]:
        """The fields of a form, each with all its values."""
        return parse_qs(self.text, keep_blank_values=True)

    @property
    def path(self) -> str:
        """The path of the URL, percent-encoded as it was sent."""
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters of the URL, each with all its values."""
        return parse_qs(urlsplit(self.url).query, keep_blank_values=True)

    def __str__(self) -> str:
        lines = [f"{self.method} {self.url}"]
        if self.body:
            lines.append(self.body[:_LONGEST_SHOWN_BODY].decode(errors="replace"))
        return "\n  ".join(lines)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response. `disconnects` closes the connection in place of it; `delay_ms` is waited first."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    delay_ms: int = 0
    disconnects: bool = False


class _NoBody:
    """Says that no body was given; None is the JSON value null."""


NO_BODY: Any = _NoBody()
AnswerFunction = Callable[[ReceivedRequest], Answer]


def make_answer(
    json_body: Any = NO_BODY,
    *,
    text: str | None = None,
    content: bytes | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    delay_ms: int = 0,
    disconnects: bool = False,
) -> Answer:
    """Return an answer with a JSON body, a text, bytes, or none; raise ValueError for more than one of them."""
    bodies = {
        "application/json": None if json_body is NO_BODY else json.dumps(json_body).encode(),
        "text/plain; charset=utf-8": None if text is None else text.encode(),
        "application/octet-stream": content,
    }
    given = {content_type: body for content_type, body in bodies.items() if body is not None}
    if len(given) > 1:
        raise ValueError("an answer has one body: a JSON value, text=… or content=…")
    own = dict(headers or {})
    body = b""
    for content_type, body in given.items():  # noqa: B007 - of one at most
        if "content-type" not in {name.lower() for name in own}:
            own["Content-Type"] = content_type
    return Answer(status, own, body, delay_ms, disconnects)


def answer_by(function: Callable[[ReceivedRequest], Any], **given: Any) -> AnswerFunction:
    """Return what answers by a function of the request: an Answer, or the JSON value for one with all that is given."""

    def answer(request: ReceivedRequest) -> Answer:
        made = function(request)
        return made if isinstance(made, Answer) else make_answer(made, **given)

    return answer


@dataclass(slots=True)
class Answers:
    """What one server answers: those that are for some requests, in their order, then the one for all others."""

    limited: deque[tuple[Answer | AnswerFunction, int]] = field(default_factory=deque)
    standing: Answer | AnswerFunction | None = None

    def add(self, answer: Answer | AnswerFunction, times: int | None) -> None:
        """Add an answer for the next `times` requests that have none, or for all others, in place of an earlier one."""
        if times is None:
            self.standing = answer
        elif times > 0:
            self.limited.append((answer, times))
        else:
            raise ValueError("times is how many requests an answer is for, 1 at least")

    def take(self) -> Answer | AnswerFunction | None:
        """Return the answer for the request that has come; None where there is none."""
        if not self.limited:
            return self.standing
        answer, times = self.limited.popleft()
        if times > 1:
            self.limited.appendleft((answer, times - 1))
        return answer


def describe_missing(request: ReceivedRequest, *, had_some: bool, is_token: bool = False) -> str:
    """Return what a test is told of a request for which it has no answer, and what to add."""
    call = "answer_token" if is_token else "answer"
    what = "no answer is left" if had_some else "no answer is set"
    hint = f"workflow.{call}({request.definition_id!r}, {{…}})"
    more = "; an answer without times=… is for all further requests" if had_some else ""
    return f"{what} for {request.definition_id!r}, which sent\n  {request}\nAdd: {hint}{more}"
