"""`make check` asks pip-audit, which asks a real service of advisories on loopback."""

import http.server
import importlib.util
import json
import threading
from pathlib import Path

import pytest
from helpers.servers import free_port

SPEC = importlib.util.spec_from_file_location("audit", Path(__file__).parents[3] / "tools" / "audit.py")
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

PINS = ["starlette==0.46.0", "six==1.17.0"]
HOLE = {
    "id": "PYSEC-2026-1942",
    "affected": [
        {
            "package": {"name": "starlette", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.49.1"}]}],
        }
    ],
}


class Advisories(http.server.BaseHTTPRequestHandler):
    """Answers as osv.dev does: with an advisory about starlette, and none about anything else."""

    def do_POST(self):
        """Answer a question about one package."""
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": [HOLE]} if question["package"]["name"] == "starlette" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep the log of the tests readable."""


@pytest.fixture
def advisories(monkeypatch):
    """Let pip-audit ask a service on loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
        yield
        server.shutdown()


def test_an_advisory_about_what_we_install_is_told(advisories):
    """With the version that mends it. One advisory is enough for `make check` to fail."""
    assert audit.describe(audit.ask(PINS)) == (
        ["starlette 0.46.0: PYSEC-2026-1942, mended in 0.49.1", "packages asked about: 2; advisories: 1"],
        1,
    )


def test_that_nobody_could_be_asked_is_told_and_no_failure(monkeypatch):
    """As on a train."""
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{free_port()}/v1/query")
    [line], holes = audit.describe(audit.ask(PINS))
    assert line.startswith("NOT ASKED: ")
    assert holes == 0


def test_an_index_without_advisories_is_told_and_no_failure():
    """A mirror of packages has none."""
    report = {"dependencies": [{"name": "six", "skip_reason": "not found"}]}
    assert audit.describe(report) == (["NOT ASKED: the package index has advisories for none of 1 packages"], 0)


def test_the_oldest_version_of_a_package_is_its_highest_bound():
    stated = ["pytest>=8", "celery[redis]>=5.7,<6", "ruff==0.17.6", "pytest>=9.0.3", "workflow-state[web]"]
    assert audit.oldest_versions(stated) == ["celery==5.7", "pytest==9.0.3", "ruff==0.17.6"]
