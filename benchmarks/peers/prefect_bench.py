"""The plan of twenty GETs on Prefect 3: `<its venv>/bin/python prefect_bench.py URL [ROUNDS]`.

A self-hosted server of its own with SQLite, in a temporary PREFECT_HOME and with its default settings, and a flow in
this process on a ThreadPoolTaskRunner of 16. A round is one call of the flow: it returns when the server has taken note
of the flow run's end.

Two things are in Prefect's favour. The flow run's heartbeat is off: with it the call waits at its end for a thread that
sleeps in steps of one second (`prefect.flow_engine._send_heartbeats`), so that 1.1 s were measured whatever the flow
did. And each round is followed by a rest, which is not measured, in which the server stores the round's events.
"""

import json
import os
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import httpx
from children import child_process

LEVELS = 4
ACTIONS_A_LEVEL = 5
THREADS = 16
START_DEADLINE_S = 60.0
POLL_S = 0.1
REST_S = 1.0


def private_environment(home: str, api_url: str) -> dict[str, str]:
    """Return an environment in which Prefect keeps to itself.

    The server's heartbeat and the SDK's events are off; there is no other telemetry without Prefect Cloud. Should a
    later version send something of another name, it goes to a proxy that is not there.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    loopback = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    return {
        **ours,
        **nowhere,
        **loopback,
        "PREFECT_HOME": home,
        "PREFECT_API_URL": api_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def prefect_server(environment: Mapping[str, str], port: int) -> Iterator[None]:
    """Run a server on that port of loopback until the block ends."""
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    # Standard output is for the one line.
    with child_process(command, environment, stdout=sys.stderr, stderr=sys.stderr) as server:
        deadline_s = time.monotonic() + START_DEADLINE_S
        while not is_healthy(environment["PREFECT_API_URL"]):
            if server.poll() is not None:
                raise SystemExit(f"Prefect's server ended with {server.returncode}")
            if time.monotonic() > deadline_s:
                raise SystemExit(f"Prefect's server was not there after {START_DEADLINE_S:.0f} s")
            time.sleep(POLL_S)
        yield


def is_healthy(api_url: str) -> bool:
    """Tell whether the server answers."""
    try:
        return httpx.get(f"{api_url}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def make_flow() -> Callable[[str], None]:
    """Return the flow; Prefect reads the environment when it is imported."""
    from prefect import flow, task  # noqa: PLC0415 - see above
    from prefect.cache_policies import NO_CACHE  # noqa: PLC0415 - likewise
    from prefect.futures import wait  # noqa: PLC0415 - likewise
    from prefect.settings import (  # noqa: PLC0415 - likewise
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )
    from prefect.task_runners import ThreadPoolTaskRunner  # noqa: PLC0415 - likewise

    client = httpx.Client()

    # Twenty calls with the same argument would be one, where tasks are cached by their inputs.
    @task(cache_policy=NO_CACHE)
    def get(url: str) -> str:
        return client.get(url).raise_for_status().text

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=THREADS))
    def levels(url: str) -> None:
        for _ in range(LEVELS):
            futures = [get.submit(url) for _ in range(ACTIONS_A_LEVEL)]
            wait(futures)
            for future in futures:
                future.result()

    def levels_without_heartbeat(url: str) -> None:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            levels(url)

    return levels_without_heartbeat


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def measured_ms(flow: Callable[[str], None], url: str) -> float:
    """Return how long one run of the flow takes, and rest; a run that fails raises."""
    begun_s = time.perf_counter()
    flow(url)
    took_ms = (time.perf_counter() - begun_s) * 1000
    time.sleep(REST_S)
    return took_ms


def main() -> None:
    """Print one JSON line with the wall times, or a traceback; then leave at once."""
    status = 1
    try:
        measure()
        status = 0
    except Exception as error:  # noqa: BLE001 - whatever it is, it is shown, and the process must not hang
        traceback.print_exc()
        print(str(error).partition("\n")[0], file=sys.stderr)
    except SystemExit as stopped:
        print(stopped, file=sys.stderr)
    finally:
        sys.stdout.flush()
        # Prefect's threads for events and logs would try for minutes to reach the server, which has ended.
        os._exit(status)


def measure() -> None:
    """Run the rounds against a server of our own, and print the line when that has ended."""
    url, rounds = sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 15
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True) as home:
        environment = private_environment(home, f"http://127.0.0.1:{port}/api")
        os.environ |= environment
        with prefect_server(environment, port):
            flow = make_flow()
            # The first is the warm-up.
            ms = [measured_ms(flow, url) for _ in range(rounds + 1)][1:]
    print(json.dumps({"peer": "prefect", "version": version("prefect"), "ms": ms}))


if __name__ == "__main__":
    main()
