"""What a page supposes to be there where it says `with=SCENE`: services, an engine, and executions called ID.

A scene is a function of the session (session.py), and is set in the shell that the block is run in.
"""

import shutil
import signal
from pathlib import Path

from helpers.http_service import http_service
from helpers.pages.markdown import ROOT, blocks_of
from helpers.pages.session import DocSession
from helpers.waiting import wait_until

TUTORIAL = ROOT / "docs" / "tutorial.md"
README = ROOT / "README.md"
PAY = """
- id: pay
  endpoint: {{url: "{url}/echo/pay?delay_once_ms=60000", method: POST, timeout: 90000}}
"""
PAY_PLAN = '{"name": "Pay", "actions": [{"id": "pay", "actionDefinitionId": "pay"}]}'


def service(session: DocSession) -> None:
    """Run the tutorial's shop in place of the servers that the README names, and write the README's files."""
    session.substitutes = {
        "https://crm.example": f"http://127.0.0.1:{session.ports['18080']}",
        "https://mail.example": f"http://127.0.0.1:{session.ports['18080']}",
    }
    _write(session, TUTORIAL, "shop.py")
    _write(session, README, "plan.json", "actions/shop.yaml")
    session.run("export CRM_TOKEN=t MAIL_KEY=k WORKFLOW_STATE_ACTIONS=$PWD/actions")
    session.start("python shop.py", "ready")


def redis(session: DocSession) -> None:
    """Run a Redis for the commands as well."""
    service(session)
    session.run("export WORKFLOW_STATE_REDIS_URL=redis://127.0.0.1:6379/0")
    session.run("export WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS=loopback")
    session.start("redis-server --port 6379 --save ''", "ready")


def engine(session: DocSession) -> None:
    """Run a worker as well."""
    redis(session)
    session.start("celery -A workflow_state worker --loglevel INFO", "ready")


def completed(session: DocSession) -> None:
    """Let a plan complete."""
    engine(session)
    session.run("workflow-state submit plan.json --id ID && workflow-state status ID --watch")


def failed(session: DocSession) -> None:
    """Let a plan fail."""
    engine(session)
    # The README's goes on where this action fails.
    _write(session, TUTORIAL, "plan.json")
    session.run("touch mail.down")
    session.run("workflow-state submit plan.json --id ID && workflow-state status ID --watch", code=1)


def unknown(session: DocSession) -> None:
    """Kill a worker while a payment is under way."""
    redis(session)
    server = session.stack.enter_context(http_service())
    (session.folder / "actions" / "pay.yaml").write_text(PAY.format(url=server.url))
    (session.folder / "pay.json").write_text(PAY_PLAN)
    session.run("export WORKFLOW_STATE_VISIBILITY_TIMEOUT_S=3")
    worker = "celery -A workflow_state worker --loglevel INFO"
    first = session.start(f"exec {worker}", "ready")
    session.run("workflow-state submit pay.json --id ID")
    wait_until(lambda: server.requests_to("/echo/pay"), "the payment is sent")
    first.send_signal(signal.SIGKILL)
    session.start(worker, "ready")
    session.run("workflow-state status ID --watch", code=1)
    assert "the outcome is unknown" in session.output, session.output


def openapi(session: DocSession) -> None:
    """Write the OpenAPI document of a service."""
    shutil.copy(ROOT / "tests" / "data" / "openapi" / "galaxy.yaml", session.folder / "openapi.yaml")
    session.run("mkdir actions")


def fish(session: DocSession) -> None:
    """Make the folder that fish makes when it is first started."""
    session.run("mkdir -p ~/.config/fish/completions")


def _write(session: DocSession, page: Path, *names: str) -> None:
    for block in blocks_of(page):
        if block.words.get("file") in names:
            session.do(block)
