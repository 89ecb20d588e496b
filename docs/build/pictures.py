"""The pictures of the docs, made of real runs: `make pictures` writes docs/pictures.

It needs a Chromium with its chromedriver (Debian: chromium, chromium-driver).
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.http_service import http_service
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.web_server import chromium, served
from rich.console import Console

from workflow_state.celery import app
from workflow_state.cli.screen import live_view
from workflow_state.engine.local import local_redis, local_worker
from workflow_state.plans.levels import beside_primaries
from workflow_state.schema import ExecutionState
from workflow_state.store.execution import open_store
from workflow_state.store.records import read_record

PICTURES = ROOT / "docs" / "pictures"
DEFINITIONS = """
- id: read
  endpoint: {{url: "{url}/echo/{{name}}", method: GET}}
- id: write
  endpoint: {{url: "{url}/echo/{{name}}", method: POST}}
- id: rates
  endpoint: {{url: "{url}/flaky/1/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 3, initialDelayMs: 200, maxDelayMs: 400, backoffMultiplier: 2}}
- id: refuse
  endpoint: {{url: "{url}/status/409/{{name}}", method: POST}}
"""
QUESTION = {"required": True, "title": "Charge the card?", "message": "249.00 EUR will be charged to Ada Lovelace."}


def order(*, delay_ms: int = 60, asks: bool = False, is_refused: bool = False) -> dict[str, Any]:
    """Return a plan of fourteen actions, as a shop may have one."""

    def step(name: str, *after: str, uses: str = "read", **fields: Any) -> dict[str, Any]:
        inputs = {"name": name} | ({"query.delay_ms": delay_ms} if uses in ("read", "write") else {})
        return action(name, list(after), actionDefinitionId=uses, inputs=inputs | fields.pop("more", {}), **fields)

    question = {"userConfirmation": QUESTION} if asks else {}
    amount = {"body.amount": "249.00", "body.currency": "EUR", "body.customer": "${customer.output.name}"}
    return plan(
        step("customer"),
        step("cart"),
        step("rates", uses="rates"),
        step("warehouse"),
        step("prices", "cart", "rates"),
        step("credit_check", "customer"),
        step("stock", "cart", "warehouse"),
        step("shipping", "customer", "stock", errorHandling={"alternativeActionId": "flat_rate"}),
        step("flat_rate"),
        step("total", "prices", "shipping"),
        step("charge", "total", "credit_check", "customer", uses="write", more=amount, **question),
        step("reserve", "stock", "total", uses="refuse" if is_refused else "write"),
        step("label", "reserve"),
        step("mail", "charge", "label", uses="write"),
        name="Order 10-2291: charge, reserve and ship",
    )


def many(count: int) -> dict[str, Any]:
    """Return a plan of that many actions, twenty a level."""
    names = [f"step_{index:03}" for index in range(count)]
    return plan(
        *(
            action(name, names[index - 20 : index - 18] if index >= 20 else [], actionDefinitionId="read")  # noqa: PLR2004
            for index, name in enumerate(names)
        ),
        name=f"{count} actions",
    )


def draw_progress(state: ExecutionState, file: Path) -> None:
    """Write what `workflow-state run` shows on a terminal while this state is so."""
    record = read_record(open_store(app.backend, state.id))
    if record is None:
        raise SystemExit("the execution is gone")
    levels = [[step.id for step in level] for level in beside_primaries(record.levels, record.standby)]
    console = Console(record=True, width=84, file=io.StringIO(), force_terminal=True)
    console.print(live_view(str(record.plan["name"]), state, levels, datetime.now(UTC)))
    drawn = console.export_svg(title="workflow-state run order.json", unique_id="progress")
    # The fonts of whoever looks, and none from the net.
    file.write_text(re.sub(r"@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL))
    print(f"docs/pictures/{file.name}", file=sys.stderr)  # noqa: T201 - progress


def main() -> None:
    """Write all of them anew."""
    PICTURES.mkdir(exist_ok=True)
    with http_service() as service, local_redis() as url, tempfile.TemporaryDirectory() as folder:
        Path(folder, "actions.yaml").write_text(DEFINITIONS.format(url=service.url))
        os.environ |= {
            "WORKFLOW_STATE_REDIS_URL": url,
            "WORKFLOW_STATE_ACTIONS": folder,
            "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
        }
        from workflow_state import execute_plan, get_execution_state  # noqa: PLC0415 - it reads the environment
        from workflow_state.web import create_web_app  # noqa: PLC0415 - likewise

        with (
            local_worker(url),
            served(create_web_app()) as client,
            tempfile.TemporaryDirectory() as profile,
            chromium(profile) as browser,
        ):

            def submit(document: dict[str, Any], status: str) -> str:
                handle = execute_plan.delay(document)
                wait_until(lambda: get_execution_state(handle.id).status == status, f"it is {status}", timeout_s=60)
                return handle.id

            def shoot(name: str, execution_id: str, selector: str | None = None, *, is_dark: bool = False) -> None:
                scheme = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
                browser.set_window_size(1280, 860)
                browser.get(f"{client.base_url}/executions/{execution_id}")
                wait_until(lambda: browser.find_elements("css selector", "[data-id], .node, button"), "it is drawn")
                wait_until(lambda: "Level" in browser.find_element("tag name", "body").text, "levels are drawn")
                if selector:
                    browser.find_element("xpath", selector).click()
                    wait_until(lambda: "Inputs" in browser.find_element("tag name", "body").text, "the panel is there")
                (PICTURES / f"{name}.png").write_bytes(browser.get_screenshot_as_png())
                print(f"docs/pictures/{name}.png", file=sys.stderr)  # noqa: T201 - progress

            waiting = submit(order(asks=True), "paused_for_confirmation")
            shoot("waiting", waiting, "//button[contains(., 'Review')]")
            shoot("failed", submit(order(is_refused=True), "failed"), "//button[contains(., 'reserve')]")
            shoot("200-actions", submit(many(200), "completed"), is_dark=True)
            slow = submit(order(delay_ms=2_000), "running")
            wait_until(lambda: get_execution_state(slow).action_states["stock"].status == "running", "level 2 runs")
            shoot("running", slow)
            draw_progress(get_execution_state(slow), PICTURES / "progress.svg")
            done = submit(order(), "completed")
            for form, name in (("svg", "graph"), ("gantt", "gantt")):
                out = PICTURES / f"{name}.svg"
                command = [sys.executable, "-m", "workflow_state.cli", "graph", done, "--format", form, "--out", out]
                subprocess.run(command, check=True)  # noqa: S603 - our own command
                print(f"docs/pictures/{name}.svg", file=sys.stderr)  # noqa: T201 - progress


if __name__ == "__main__":
    main()
