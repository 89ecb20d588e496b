"""`WORKFLOW_STATE_HTTP_LIBRARY`: a request leaves by the library that is named, in a process of its own."""

import os
import subprocess
import sys

import pytest

from workflow_state.installation import install_command

SEND = """
import sys
from workflow_state.actions.execute import execute_http_action
from workflow_state.schema import ActionDefinition
definition = ActionDefinition.model_validate({"id": "a", "endpoint": {"url": sys.argv[1]}})
print(execute_http_action(definition, {}).output)
print([name for name in ("httpcore", "httpcore2", "httpx", "httpx2") if name in sys.modules])
"""


def run(program, *arguments, library):
    environment = {
        **os.environ,
        "WORKFLOW_STATE_HTTP_LIBRARY": library,
        "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
    }
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("library", "loaded"),
    [("", ["httpcore", "httpx"]), ("httpx", ["httpcore", "httpx"]), ("HTTPX2", ["httpcore2", "httpx2"])],
)
def test_a_request_leaves_by_the_library_that_is_named(server, library, loaded):
    """And the other one is not loaded."""
    server.respond_json({"ok": True})
    done = run(SEND, server.url, library=library)
    assert done.stdout.splitlines() == ["{'ok': True}", str(loaded)], done.stderr


def test_a_library_that_is_not_there_is_one_readable_error():
    program = """
import sys
sys.modules["httpcore2"] = None
from workflow_state.errors import SettingsError
try:
    import workflow_state.actions.network.library
except SettingsError as error:
    print(error)
"""
    said = f"WORKFLOW_STATE_HTTP_LIBRARY: httpcore2 is not installed: {install_command('httpx2')}\n"
    assert run(program, library="httpx2").stdout == said
