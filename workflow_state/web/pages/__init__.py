"""The pages' HTML: the same for everybody, without any data; the scripts ask for that.

Addresses are relative, so that the application can be mounted anywhere.
"""

from functools import cache
from pathlib import Path

from starlette.requests import Request


def read_page(name: str, request: Request) -> str:
    """Return a page whose addresses lead from where the request was to the root of the application."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return _read(name).replace("{{root}}", "../" * (path.count("/") - 1))


@cache
def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
