"""Serve httpbin on loopback for the demo: `python demo_service.py PORT`.

/demo/rates is httpbin's /json, having a bad moment: its first request is answered by 503 with Retry-After.
"""

import logging
import sys
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

# httpbin says at import which of its optional parts are missing; the demo needs none of them.
logging.disable(logging.WARNING)
from httpbin import app as httpbin  # noqa: E402 - after the line above

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class QuietHandler(WSGIRequestHandler):
    """Answer, and print nothing: the demo's own output is what is to be seen."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name that werkzeug gives it
        """Print nothing."""


def with_a_bad_moment(application: Application) -> Application:
    """Return the application with /demo/rates in front of it."""
    requests = count()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/demo/rates":
            return application(environ, start_response)
        if next(requests) == 0:
            start_response("503 Service Unavailable", [("Retry-After", "1"), ("Content-Length", "0")])
            return [b""]
        return application({**environ, "PATH_INFO": "/json"}, start_response)

    return answer


if __name__ == "__main__":
    server = make_server(
        "127.0.0.1", int(sys.argv[1]), with_a_bad_moment(httpbin.wsgi_app), threaded=True, request_handler=QuietHandler
    )
    print("ready", flush=True)  # noqa: T201 - what run_demo.py waits for
    server.serve_forever()
