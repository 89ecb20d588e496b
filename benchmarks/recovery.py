"""How soon a lost worker's actions run elsewhere, and what looking after executions costs: `make recovery`.

With the default settings, on a private Redis. The cost is what Redis counts in `INFO commandstats`, over a minute in
which a thousand executions wait and nothing else happens, against the same minute without any execution.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.http_service import http_service
from helpers.plans import action, plan
from redis import Redis

from workflow_state.engine.local import local_redis, local_worker

ROUNDS = 5
EXECUTIONS = 1_000
WATCHED_S = 60


def main() -> None:
    """Print both as Markdown."""
    with http_service() as service, local_redis() as url, tempfile.TemporaryDirectory() as folder:
        definition = {"id": "echo", "endpoint": {"url": f"{service.url}/echo/{{name}}", "method": "GET"}}
        Path(folder, "echo.json").write_text(str(definition).replace("'", '"'))
        os.environ |= {"WORKFLOW_STATE_REDIS_URL": url, "WORKFLOW_STATE_ACTIONS": folder}
        os.environ["WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS"] = "1"
        from workflow_state import execute_plan, get_execution_state  # noqa: PLC0415 - it reads the environment

        client = Redis(unix_socket_path=url.removeprefix("redis+socket://").partition("?")[0])

        def commands() -> int:
            return sum(int(stats["calls"]) for stats in client.info("commandstats").values())

        def in_a_minute() -> int:
            before = commands()
            time.sleep(WATCHED_S)
            return commands() - before

        killed_s = []
        for number in range(ROUNDS):
            name = f"killed-{number}"
            with local_worker(url) as first:
                handle = execute_plan.delay(plan(action("a", inputs={"name": name, "query.delay_ms": 20_000})))
                while not service.requests_to(f"/echo/{name}"):
                    time.sleep(0.01)
                with local_worker(url):
                    first.send_signal(signal.SIGKILL)
                    begun_s = time.monotonic()
                    while len(service.requests_to(f"/echo/{name}")) == 1:
                        time.sleep(0.01)
                    killed_s.append(time.monotonic() - begun_s)
                    handle.get(timeout=60)
        print(
            f"kill -9 → the action runs elsewhere: {statistics.median(killed_s):.1f} s, at most {max(killed_s):.1f} s"
        )
        with local_worker(url):
            alone = in_a_minute()
            asks = {"required": True, "title": "Send it?", "message": "Really?"}
            ids = [execute_plan.delay(plan(action("a", userConfirmation=asks))).id for _ in range(EXECUTIONS)]
            while any(get_execution_state(name).status != "paused_for_confirmation" for name in ids):
                time.sleep(0.5)
            print("\n| a worker at rest | Redis commands a minute |\n|---|---|")
            print(f"| without executions | {alone} |")
            print(f"| {EXECUTIONS} executions wait for a person, the first minute | {in_a_minute()} |")
            print(f"| the second minute | {in_a_minute()} |")


if __name__ == "__main__":
    main()
