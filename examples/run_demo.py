"""Run a plan against httpbin on loopback: what `./run demo [PLAN.json] [options]` does.

The plan is demo.json unless another is named; the options go to `workflow-state run`.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def find_free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Start the service, run the plan, and return its exit code."""
    port = find_free_port()
    service = subprocess.Popen(  # noqa: S603 - our own file
        [sys.executable, str(HERE / "demo_service.py"), str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        if not service.stdout or service.stdout.readline() != "ready\n":
            print("error: the demo's HTTP service did not start", file=sys.stderr)  # noqa: T201
            return 1
        with tempfile.TemporaryDirectory(prefix="workflow-state-demo-") as folder:
            definitions = (HERE / "actions" / "httpbin.yaml").read_text()
            Path(folder, "httpbin.yaml").write_text(re.sub(r"\b18081\b", str(port), definitions))
            # Whatever this machine is set up for, the demo brings a Redis and a worker of its own.
            others = {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOW_STATE_")}
            environment = {
                **others,
                "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "loopback",
                "DEMO_TOKEN": "a-token-that-no-state-shows",
                "DEMO_API_KEY": "a-key-that-no-state-shows",
            }
            arguments = sys.argv[1:]
            plan = arguments.pop(0) if arguments and not arguments[0].startswith("-") else str(HERE / "demo.json")
            command = [sys.executable, "-m", "workflow_state.cli", "run", plan, "--actions", folder, *arguments]
            return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
    except KeyboardInterrupt:
        return 130
    finally:
        service.terminate()
        service.wait()
        if service.stdout:
            service.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
