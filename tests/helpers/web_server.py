"""The run page on a real server, asked over HTTP, and in a real browser where there is one."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from helpers.waiting import wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def served(application: Any, port: int = 0) -> Iterator[httpx.Client]:
    """Serve an ASGI application on loopback until the block ends, and yield a client of it."""
    server = uvicorn.Server(
        uvicorn.Config(application, port=port, log_level="warning", timeout_graceful_shutdown=1, lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server listens")
        address = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{address}", timeout=10) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)


def events(client: httpx.Client, path: str, until: str = "end", **options: Any) -> list[tuple[str, Any]]:
    """Return a stream's events, (name, data), up to the first of that name."""
    return list(stream(client, path, until, **options))


def stream(client: httpx.Client, path: str, until: str = "end", **options: Any) -> Iterator[tuple[str, Any]]:
    """Yield a stream's events as they come, up to the first of that name."""
    with client.stream("GET", path, **options) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        name = ""
        for line in answer.iter_lines():
            key, _, value = line.partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                yield name, json.loads(value)
                if name == until:
                    return


@contextmanager
def chromium(profile: Any) -> Iterator[Any]:
    """Run a headless Chromium until the block ends; skip the test where there is none."""
    if not CHROMIUM or not CHROMEDRIVER:
        pytest.skip(
            "there is no chromium with its chromedriver here (Debian: apt-get install chromium chromium-driver)"
        )
    from selenium import webdriver  # noqa: PLC0415 - only where it is used

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=CHROMEDRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()
