"""Binary and large bodies go into the storage."""

import json
import os
import resource
from pathlib import Path

import pytest
from helpers.http_calls import call, definition, failure, outcome

from workflow_state.actions.execute import ActionContext, execute_http_action
from workflow_state.settings import get_settings


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (bytes(range(256)), "image/png"),
        (json.dumps(["x" * 50] * 100).encode(), "application/json"),
        (b"x" * 2_000, "text/plain"),
    ],
)
def test_binary_and_large_outputs_are_stored(server, body, content_type, tmp_path):
    server.respond("200 OK", body, content_type=content_type)
    context = ActionContext(execution_id="..", action_id="a/../../b", attempt=2)
    result = execute_http_action(definition(server), {}, context)
    location = result.output_location
    assert location
    assert result.output == {
        "stored": True,
        "location": location.path,
        "size": len(body),
        "contentType": content_type,
    }
    path = Path(location.path)
    assert path.resolve().is_relative_to(tmp_path)
    assert path.read_bytes() == body
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.name == f"2-{location.checksum}"
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_an_output_that_can_not_be_stored_is_a_failure(server, monkeypatch):
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", "file:///dev/null/outputs")
    get_settings.cache_clear()
    server.respond("200 OK", b"\xff", content_type="image/png")
    assert outcome(server) == ("state_inconsistent", True)
    assert outcome(server, method="POST") == ("state_inconsistent", False)


def test_a_disk_that_is_full_is_a_failure_of_a_request_that_succeeded(server):
    """The system's own refusal, in the middle of the file."""
    server.respond("200 OK", b"\xff" * 9_000, content_type="image/png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    try:
        details = [failure(server, method=method).detail for method in ("GET", "POST")]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {(detail.category, detail.code, detail.status_code) for detail in details} == {
        ("state_inconsistent", "output_not_stored", 200)
    }
    assert [detail.retryable for detail in details] == [True, False]
    assert "File too large" in details[0].message


def test_without_a_setting_outputs_go_to_a_folder_of_ones_own(server, monkeypatch, tmp_path):
    monkeypatch.delenv("WORKFLOW_STATE_STORAGE_URL")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    get_settings.cache_clear()
    server.respond("200 OK", b"\xff", content_type="image/png")
    location = call(server).output_location
    assert location
    [folder] = tmp_path.iterdir()
    assert Path(location.path).is_relative_to(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_someone_else_prepared_is_not_used(server, monkeypatch, tmp_path):
    monkeypatch.delenv("WORKFLOW_STATE_STORAGE_URL")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    get_settings.cache_clear()
    (tmp_path / f"workflow-state-{os.getuid()}").symlink_to(tmp_path)
    server.respond("200 OK", b"\xff", content_type="image/png")
    assert "belongs to someone else" in failure(server).detail.message


@pytest.mark.parametrize("url", ["oci://bucket/x", "file://elsewhere/x", "outputs"])
def test_a_storage_url_that_is_not_supported_says_so(server, monkeypatch, url):
    monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", url)
    get_settings.cache_clear()
    server.respond("200 OK", b"\xff", content_type="image/png")
    assert "WORKFLOW_STATE_STORAGE_URL" in failure(server).detail.message
