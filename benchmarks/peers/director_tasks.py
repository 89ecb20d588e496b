"""The task of director_bench.py; director imports it from the `tasks` folder of its home."""

import httpx
from director import task

# One for each process; it opens no connection before its first request.
_CLIENT = httpx.Client()


@task(name="GET")
def get(*_: object, payload: dict[str, str], **__: object) -> str:
    """Do one GET, and return the answer's text, which director stores."""
    return _CLIENT.get(payload["url"]).raise_for_status().text
