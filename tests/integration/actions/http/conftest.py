"""A server of the test's own, and settings that let actions reach it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.raw_http_server import Server

from workflow_state.actions.definitions.catalog import forget_catalog
from workflow_state.actions.network.client import close_client
from workflow_state.settings import get_settings


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(socket.create_server(("127.0.0.1", 0)))
    accepting = threading.Thread(target=server.serve)
    accepting.start()
    yield server
    server.stopped.set()
    close_client()
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    for thread in [accepting, *server.threads]:
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", f"file://{tmp_path}")
    monkeypatch.setenv("WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS", "loopback")
    monkeypatch.setenv("WORKFLOW_STATE_MAX_RESPONSE_BYTES", "1000000")
    monkeypatch.setenv("WORKFLOW_STATE_INLINE_OUTPUT_BYTES", "1000")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()
    forget_catalog()
