"""The compose file and the image: valid, confined, and each service's own command runs."""

import json
import os
import re
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
from redis.exceptions import AuthenticationError, RedisError

from workflow_state.engine.local import find_server

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BIN = Path(sys.executable).parent
WANTED = {"REDIS_PASSWORD": "1f2e3d", "FLOWER_BASIC_AUTH": "ops:secret"}


def natively(command, port):
    """Return a service's command for this machine: our own binaries, and a free port for Flower."""
    names = {"celery": str(BIN / "celery"), "python": sys.executable}
    return [names.get(command[0], command[0]), *(part.replace("5555", str(port)) for part in command[1:])]


def start_redis_natively(command, port, folder):
    """Return the command of Redis for this machine; Compose fills the settings in, and writes $ for $$."""
    *shell, script = command
    script = script.replace("$$", "$").replace("${REDIS_MAXMEMORY:-512mb}", "64mb")
    options = f"--port {port} --bind 127.0.0.1 --dir {folder}"
    return [*shell, script.replace("redis-server -", f"{find_server()[0]} - {options}", 1)]


def compose(*arguments, environment):
    """Run the real Compose binary on the file, with no .env beside it."""
    binary = shutil.which("docker-compose", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    command = [binary, "-f", str(ROOT / "docker-compose.yml"), "--env-file", os.devnull, *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, check=False, capture_output=True, text=True)


def test_compose_itself_accepts_the_file():
    """And each password is required."""
    assert compose("config", "-q", environment=WANTED).returncode == 0
    for name in WANTED:
        refused = compose("config", "-q", environment={other: WANTED[other] for other in WANTED if other != name})
        assert refused.returncode != 0
        assert name in refused.stderr


def test_linters_find_nothing_in_the_compose_file_and_the_image():
    """What they need not say has its reason in .compose-lint.yml."""
    checks = (
        ["compose-lint", "check", "--fail-on", "low", "--strict-config", "--no-env", "docker-compose.yml"],
        ["hadolint", "--failure-threshold", "info", "Dockerfile"],
    )
    for check in checks:
        done = subprocess.run([BIN / check[0], *check[1:]], cwd=ROOT, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_service_may_do_more_than_it_needs():
    """As Compose reads it, so that an override of a shared part would be seen."""
    merged = json.loads(compose("config", "--format", "json", environment=WANTED).stdout)["services"]
    assert set(merged) == {"redis", "worker", "flower"}
    for service in merged.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["mem_limit"]) <= 2**30
        assert service["pids_limit"] == 256
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))
    assert list(merged["redis"]["networks"]) == ["redis"]
    assert merged["redis"]["user"] == "999:1000"
    assert re.fullmatch(r"redis:[0-9]+\.[0-9]+\.[0-9]+-alpine(@sha256:[0-9a-f]{64})?", merged["redis"]["image"])


def test_the_image_is_pinned_and_has_a_user_of_its_own():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    [base] = [line for line in lines if line.startswith("FROM ")]
    assert re.fullmatch(r"FROM python:3\.[0-9]+\.[0-9]+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert any(line.startswith("HEALTHCHECK ") for line in lines)


def test_secrets_are_the_workers_alone(tmp_path):
    """What .env has, Flower and Redis do not get, and the worker's definitions can't read the passwords of others."""
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    env = {**WANTED, "CRM_TOKEN": "s3cret"}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    binary = shutil.which("docker-compose", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run([binary, "config", "--format", "json"], cwd=tmp_path, check=True, capture_output=True)
    services = json.loads(done.stdout)["services"]
    seen = {name: service["environment"] for name, service in services.items()}
    # A command line can be read by everybody on the machine.
    assert not any(secret in str(service["command"]) for secret in env.values() for service in services.values())
    assert seen["worker"]["CRM_TOKEN"] == "s3cret"
    assert not seen["worker"]["FLOWER_BASIC_AUTH"]
    assert not seen["worker"]["REDIS_PASSWORD"]
    assert set(seen["flower"]) == {"WORKFLOW_STATE_REDIS_URL", "FLOWER_BASIC_AUTH"}
    assert set(seen["redis"]) == {"REDISCLI_AUTH"}


def test_redis_loses_nothing_and_everyone_is_checked():
    """Append-only and noeviction; every service restarts and has a health check."""
    assert "--appendonly yes --maxmemory-policy noeviction --maxmemory " in " ".join(
        COMPOSE["services"]["redis"]["command"]
    )
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
        "WORKFLOW_STATE_REDIS_URL": f"redis://:{WANTED['REDIS_PASSWORD']}@127.0.0.1:{redis_port}/0",
        "REDISCLI_AUTH": WANTED["REDIS_PASSWORD"],
        "WORKFLOW_STATE_ACTIONS": str(definitions),
        "FLOWER_BASIC_AUTH": "ops:secret",
        "HOSTNAME": socket.gethostname(),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    processes = []
    for name in ("redis", "worker", "flower"):
        command = COMPOSE["services"][name]["command"]
        if name == "redis":
            command = start_redis_natively(command, redis_port, tmp_path)
        else:
            command = natively(command, flower_port)
        log = (tmp_path / f"{name}.log").open("w")
        processes.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log))
        log.close()
    try:
        with Redis(port=redis_port, password=WANTED["REDIS_PASSWORD"]) as client:
            wait_until(lambda: answers(client), "Redis answers")
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with Redis(port=redis_port) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
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
