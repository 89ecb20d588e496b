"""The server on loopback that a test's definitions are sent to: one for all tests of a process.

A request says by its path for which test it is. One that an earlier test left behind is told so, and is nowhere in the
journal of the next.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from workflow_state.testing.answers import Answer, AnswerFunction, Answers, ReceivedRequest, describe_missing
from workflow_state.testing.rewriting import Rewritten, Route, split_path

_TOKEN = {"access_token": "token-of-the-tests", "token_type": "Bearer", "expires_in": 3600}
_GONE = Answer(410)
_NOT_SET = Answer(501, {"Content-Type": "text/plain"}, b"the test has no answer for this request")


@dataclass(slots=True)
class Place:
    """Where the requests of one route arrive: a definition's, or those to a token server."""

    route: Route
    name: str
    is_token: bool
    answers: Answers = field(default_factory=Answers)
    requests: list[ReceivedRequest] = field(default_factory=list)


class Board:
    """What one test has set up, and what has come of it; its methods may be called from every thread."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.over = threading.Event()
        self.problems: list[str] = []
        self._places: dict[str, Place] = {}
        self._journal: list[ReceivedRequest] = []
        self._lock = threading.Lock()

    def open(self, rewritten: Rewritten) -> None:
        """Take the requests of a definition; one that is there already keeps its answers."""
        with self._lock:
            name = rewritten.definition.id
            self._places[rewritten.route.key] = self._place(rewritten.route, name, is_token=False)
            if rewritten.token:
                place = self._place(rewritten.token, name, is_token=True)
                place.answers.standing = place.answers.standing or _token_answer()
                self._places[rewritten.token.key] = place

    def _place(self, route: Route, name: str, *, is_token: bool) -> Place:
        there = self._places.get(route.key)
        return (
            Place(route, there.name, is_token, there.answers, there.requests) if there else Place(route, name, is_token)
        )

    def add_answer(self, route: Route, answer: Answer | AnswerFunction, times: int | None) -> None:
        """Set what is answered; see Answers."""
        with self._lock:
            self._places[route.key].answers.add(answer, times)

    def requests(self, route: Route | None = None) -> list[ReceivedRequest]:
        """Return the requests of a route, or of all definitions, in the order of their arrival."""
        with self._lock:
            return list(self._places[route.key].requests if route else self._journal)

    def take_problems(self) -> list[str]:
        """Return what the test has to be told, and forget it."""
        with self._lock:
            told, self.problems = self.problems, []
            return told

    def receive(self, path: str, method: str, headers: dict[str, str], body: bytes) -> tuple[Answer, Route | None, str]:
        """Return the answer to a request, its route, and the URL that it was meant for."""
        split = split_path(path)
        place = self._places.get(split[0]) if split and not self.over.is_set() else None
        if not (split and place):
            return _GONE, None, ""
        url = place.route.origin + split[1]
        own = {name.lower(): value for name, value in headers.items()}
        own["host"] = place.route.origin.partition("://")[2]
        request = ReceivedRequest(place.name, method, url, own, body)
        with self._lock:
            had_some = bool(place.requests)
            place.requests.append(request)
            if not place.is_token:
                self._journal.append(request)
            answer = place.answers.take()
        try:
            found = answer(request) if callable(answer) else answer or _NOT_SET
        except Exception as error:  # noqa: BLE001 - the test's own function; the test is told
            self._complain(f"the answer for {place.name!r} raised {type(error).__name__}: {error}\n  {request}")
            return _NOT_SET, place.route, url
        if answer is None:
            self._complain(describe_missing(request, had_some=had_some, is_token=place.is_token))
        return found, place.route, url

    def _complain(self, problem: str) -> None:
        with self._lock:
            if problem not in self.problems:
                self.problems.append(problem)


def _token_answer() -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(_TOKEN).encode())


class CannedServer(ThreadingHTTPServer):
    """The server; `board` is the running test's."""

    daemon_threads = True
    request_queue_size = 128
    board = Board(0)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def canned_server() -> Iterator[CannedServer]:
    """Serve until the block ends."""
    server = CannedServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.board.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one write: otherwise each answer waits 40 ms for a delayed acknowledgement.
    wbufsize = -1
    server: CannedServer

    def handle(self) -> None:
        """Serve a connection; a worker that ends may reset it."""
        with suppress(ConnectionError):
            super().handle()

    def _serve(self) -> None:
        board = self.server.board
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer, route, url = board.receive(self.path, self.command, dict(self.headers.items()), body)
        if answer.delay_ms:
            # A test that has ended keeps nobody waiting.
            board.over.wait(answer.delay_ms / 1000)
        if answer.disconnects:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            leads = name.lower() == "location" and route
            self.send_header(name, route.redirect(url, value) if leads and route else value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: Any) -> None:
        """Say nothing: the journal has it."""
