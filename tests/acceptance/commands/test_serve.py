"""`workflow-state web` and `workflow-state dev`, as a person runs them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from helpers.command import CLI
from helpers.forked_python import run_python, start_python
from helpers.plans import action, asking, plan
from helpers.servers import free_port
from helpers.waiting import wait_until
from helpers.web_server import stream

from workflow_state import cancel_execution, execute_plan
from workflow_state.installation import install_command


def run(*arguments, **variables):
    """Run a command that ends by itself."""
    return run_python([*CLI, *arguments], env={**os.environ, **variables}, text=True)


def run_code(code, *arguments):
    """Run code in a Python that has imported nothing."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def running(*arguments, cwd, **variables):
    """Run a command that goes on, and yield the process and a function that waits for a line that it prints."""
    log = cwd / f"{uuid4().hex}.log"
    with log.open("wb") as output:
        process = start_python(
            [*CLI, *arguments], env={**os.environ, **variables}, stdout=output, stderr=output, cwd=cwd
        )

    def line(pattern):
        def found():
            assert process.poll() is None, log.read_text()
            return re.search(pattern, log.read_text())

        return wait_until(found, f"it prints {pattern!r}", 30)[1]

    try:
        yield process, line
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "workflows.example.com"])  # noqa: S104 - that is refused
def test_it_listens_beyond_loopback_only_with_a_token(redis_url, host):
    """Whoever can open the page can steer every execution."""
    done = run("web", "--host", host, "--port", "0")
    assert done.returncode == 2
    assert "--token" in done.stderr
    assert "WORKFLOW_STATE_WEB_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_a_token_it_listens_anywhere(redis_url, tmp_path):
    """Under any name, and asks for the token; an empty variable is none."""
    assert run("web", "--host", "0.0.0.0", "--port", "0", WORKFLOW_STATE_WEB_TOKEN="").returncode == 2  # noqa: S104
    token = uuid4().hex
    with running("web", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path, WORKFLOW_STATE_WEB_TOKEN=token) as (_, line):  # noqa: S104
        port = line(r"http://0\.0\.0\.0:(\d+)/")
        url = f"http://127.0.0.1:{port}/api/executions"
        assert httpx.get(url).status_code == 401
        answer = httpx.get(url, headers={"Authorization": f"Bearer {token}", "Host": "workflows.example.com"})
        assert answer.status_code == 200


def test_on_loopback_it_answers_to_its_own_names(redis_url, tmp_path):
    """And to those that were allowed."""
    with running("web", "--port", "0", "--allow-host", "ops.example.com", cwd=tmp_path) as (_, line):
        url = line(r"(http://127\.0\.0\.1:\d+/)")
        assert httpx.get(url).status_code == 200
        assert httpx.get(url, headers={"Host": "ops.example.com"}).status_code == 200
        assert httpx.get(url, headers={"Host": "evil.example.com"}).status_code == 421


def test_what_is_wrong_is_one_message(redis_url):
    """A port that is taken, a missing extra, a Redis that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("web", "--port", port)
    assert (done.returncode, port in done.stderr, "--port" in done.stderr) == (2, True, True)
    bare = "import sys; sys.modules['starlette'] = None; from workflow_state.cli import main; main(sys.argv[1:])"
    for arguments in (["web"], ["dev"]):
        done = run_code(bare, *arguments)
        assert done.returncode == 2
        assert done.stderr == f"Error: the run page needs starlette: {install_command('web')}\n"
    done = run_code(bare.replace("from workflow_state.cli", "from workflow_state.web"))
    assert install_command("web") in done.stderr
    done = run("web", WORKFLOW_STATE_REDIS_URL="redis://127.0.0.1:1/0")
    assert (done.returncode, "Redis can't be reached" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


def test_it_stops_at_once_while_somebody_looks(worker, redis_url, tmp_path):
    """Streams that are open are ended, without a word about them; Ctrl-C is how it ends, so that is no error."""
    handle = execute_plan.delay(plan(asking("ask")))
    with running("web", "--port", "0", cwd=tmp_path) as (process, line):
        url = line(r"(http://\S+)")
        with httpx.Client(base_url=url, timeout=10) as client:
            told = stream(client, f"/api/executions/{handle.id}/events", until="never")
            assert next(told)[0] == "snapshot"
            process.send_signal(signal.SIGINT)
            list(told)
            assert process.wait(3) == 0
        (log,) = tmp_path.glob("*.log")
        assert log.read_text().count("\n") == 1, log.read_text()
    cancel_execution(handle.id)


@pytest.fixture
def dev(definitions, tmp_path):
    """Run `workflow-state dev` in an empty folder, without a Redis of ours."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    port = free_port()
    arguments = ("dev", "--port", "0", "--flower-port", str(port), "--actions", str(definitions))
    environment = {"WORKFLOW_STATE_REDIS_URL": "", "WORKFLOW_STATE_ACTIONS": "", "TMPDIR": str(temporary)}
    environment |= {"WORKFLOW_STATE_STORAGE_URL": "", "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": ""}
    environment |= {"FLOWER_UNAUTHENTICATED_API": "1"}
    with running(*arguments, cwd=tmp_path, **environment) as (process, line):
        yield process, line, temporary


def page_of(url):
    """Return what is there; nothing while the server does not listen."""
    try:
        return httpx.get(url).text
    except httpx.TransportError:
        return ""


def test_dev_is_all_there_is_until_ctrl_c(dev, definitions, tmp_path):
    """A Redis that other commands use by the line that it prints, a worker, the page, and Flower; nothing is left."""
    process, line, temporary = dev
    redis_url = line(r"export WORKFLOW_STATE_REDIS_URL=(\S+)").strip("'")
    page, flower = line(r"the run page: (\S+)"), line(r"Flower: (\S+)")
    document = tmp_path / "plan.json"
    document.write_text(json.dumps(plan(action("a"), b=["a"])))
    # Of what happened before Flower listened it knows nothing.
    wait_until(lambda: "flower_worker_online{" in page_of(f"{flower}metrics"), "Flower has heard the worker", 90)
    submitted = run("submit", str(document), "--actions", str(definitions), WORKFLOW_STATE_REDIS_URL=redis_url)
    assert submitted.returncode == 0, submitted.stderr
    with httpx.Client(base_url=page, timeout=20) as client:
        told = list(stream(client, f"/api/executions/{submitted.stdout.strip()}/events"))
        assert told[-2][1]["status"] == "completed"

    wait_until(lambda: "execute_action.b" in page_of(f"{flower}api/tasks"), "Flower has seen the action", 30)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert list(temporary.iterdir()) == []


def test_dev_ends_when_its_worker_does(dev, tmp_path):
    """With what the worker said last, rather than a page on which nothing happens."""
    process, line, _ = dev
    line(r"the run page: (\S+)")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc")
    worker = next(
        int(child) for child in children.read_text().split() if b"worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    os.kill(worker, signal.SIGKILL)
    assert process.wait(20) == 2
    (log,) = tmp_path.glob("*.log")
    assert "the worker has ended" in log.read_text()
