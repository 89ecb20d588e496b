"""What the engine costs beside the HTTP calls: `.venv/bin/python benchmarks/overhead.py`.

Twenty actions in four levels of five, each call answered after a fixed time, on one worker with the default settings.
The baseline, in the same run, is those calls alone: the same client, five threads, level after level. Rounds are
interleaved, medians are shown.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from http_service import http_service
from plans import action, plan

from workflow_state.local import local_redis, local_worker

ROUNDS = 15
DELAYS_MS = (0, 20, 100)
LEVELS = [[f"level{level}_{index}" for index in range(5)] for level in range(4)]


def measured_s(work: Callable[[], object]) -> float:
    """Return how long the work takes."""
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


def main() -> None:
    """Print a Markdown table."""
    with http_service() as service, local_redis() as url, tempfile.TemporaryDirectory() as folder:
        definition = {"id": "echo", "endpoint": {"url": f"{service.url}/echo/{{name}}", "method": "GET"}}
        Path(folder, "echo.json").write_text(str(definition).replace("'", '"'))
        os.environ |= {"WORKFLOW_STATE_REDIS_URL": url, "WORKFLOW_STATE_ACTIONS": folder}
        os.environ["WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS"] = "loopback"
        from workflow_state import execute_http_action, execute_plan  # noqa: PLC0415 - it reads the environment

        with local_worker(url), ThreadPoolExecutor(5) as pool:
            print("| a call takes | the calls alone | the plan | beyond the calls | ratio |\n|---|---|---|---|---|")
            for delay_ms in DELAYS_MS:
                inputs = {"query.delay_ms": delay_ms}

                def calls_alone(inputs: dict[str, int] = inputs) -> None:
                    for level in LEVELS:
                        sent = [pool.submit(execute_http_action, "echo", {"name": name, **inputs}) for name in level]
                        for future in sent:
                            future.result()

                document = plan(
                    *(
                        action(name, LEVELS[depth - 1] if depth else [], inputs={"name": name, **inputs})
                        for depth, level in enumerate(LEVELS)
                        for name in level
                    )
                )

                def whole_plan(document: dict[str, object] = document) -> None:
                    state = execute_plan.delay(document).get(timeout=60)
                    if state["status"] != "completed":
                        raise SystemExit(f"the plan ended {state['status']}")

                measured_s(calls_alone)
                measured_s(whole_plan)
                pairs = [(measured_s(calls_alone), measured_s(whole_plan)) for _ in range(ROUNDS)]
                alone_ms, plan_ms = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
                print(
                    f"| {delay_ms} ms | {alone_ms:.0f} ms | {plan_ms:.0f} ms | {plan_ms - alone_ms:.0f} ms "
                    f"| {plan_ms / alone_ms:.2f} |"
                )


if __name__ == "__main__":
    main()
