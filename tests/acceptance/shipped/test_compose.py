"""The compose file: valid, and each service's own command runs."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from helpers.servers import free_port
from helpers.waiting import wait_until
from redis import Redis
from redis.exceptions import RedisError

from workflow_state.engine.local import find_server

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BIN = Path(sys.executable).parent


def natively(command, port):
    """Return a service's command for this machine: our own binaries, and a free port for Flower."""
    names = {"celery": str(BIN / "celery"), "redis-server": str(find_server()[0]), "python": sys.executable}
    return [names.get(command[0], command[0]), *(part.replace("5555", str(port)) for part in command[1:])]


def test_compose_itself_accepts_the_file():
    """The real Compose binary, and Flower's credentials are required."""
    compose = shutil.which("docker-compose", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    check = [compose, "-f", str(ROOT / "docker-compose.yml"), "config", "-q"]
    environment = {**os.environ, "FLOWER_BASIC_AUTH": "a:b"}
    assert subprocess.run(check, env=environment, check=False, cwd=ROOT).returncode == 0
    del environment["FLOWER_BASIC_AUTH"]
    refused = subprocess.run(check, env=environment, check=False, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "FLOWER_BASIC_AUTH" in refused.stderr


def test_redis_loses_nothing_and_everyone_is_checked():
    """Append-only and noeviction; every service restarts and has a health check."""
    assert "--appendonly yes --maxmemory-policy noeviction" in " ".join(COMPOSE["services"]["redis"]["command"])
    for service in COMPOSE["services"].values():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


def test_outputs_outlive_the_worker_that_stored_them():
    """Where they go unless .env says something else is a volume, which the worker's user may write to."""
    worker = COMPOSE["services"]["worker"]
    assert worker["environment"]["WORKFLOW_STATE_STORAGE_URL"] == "${WORKFLOW_STATE_STORAGE_URL:-/var/outputs}"
    assert "outputs:/var/outputs" in worker["volumes"]
    assert "--owner worker --mode 700 /var/outputs" in (ROOT / "Dockerfile").read_text()


@pytest.fixture
def stack(tmp_path, definitions):
    """Every service's own command, natively, with one Redis; Flower's port."""
    redis_port, flower_port = free_port(), free_port()
    environment = {
        **os.environ,
        "WORKFLOW_STATE_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "WORKFLOW_STATE_ACTIONS": str(definitions),
        "FLOWER_BASIC_AUTH": "ops:secret",
        "HOSTNAME": socket.gethostname(),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    processes = []
    for name in ("redis", "worker", "flower"):
        command = natively(COMPOSE["services"][name]["command"], flower_port)
        if name == "redis":
            command += ["--port", str(redis_port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
        log = (tmp_path / f"{name}.log").open("w")
        processes.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log))
        log.close()
    try:
        with Redis(port=redis_port) as client:
            wait_until(lambda: answers(client), "Redis answers")
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        yield environment, flower_port
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def answers(client):
    """Return whether the server is up."""
    try:
        return client.ping()
    except RedisError:
        return False


def test_each_service_is_healthy_by_its_own_check(stack):
    """The worker's and Flower's health checks pass, and Flower asks for its credentials."""
    environment, flower_port = stack
    for name in ("worker", "flower"):
        kind, *check = COMPOSE["services"][name]["healthcheck"]["test"]
        check = ["sh", "-c", check[0].replace("$$", "$")] if kind == "CMD-SHELL" else natively(check, flower_port)

        def is_healthy(check=check):
            return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0

        wait_until(is_healthy, f"{name} is healthy", timeout_s=40)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{flower_port}/api/workers", timeout=30)
