"""The private Redis and worker behind `workflow-state run`."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers.servers import client_of
from helpers.waiting import wait_until

from workflow_state.engine import local
from workflow_state.errors import SettingsError

HOLD_AN_ENGINE = textwrap.dedent("""
    import time
    from workflow_state.engine.local import local_engine
    with local_engine() as engine:
        print(engine.redis_url, engine.worker.pid, flush=True)
        time.sleep(60)
""")


def test_a_private_server_starts_and_leaves_nothing():
    """It answers, evicts nothing, listens on no port, and its folder goes with it."""
    with local.local_redis() as url, client_of(url) as client:
        assert client.ping()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("port") == {"port": "0"}
        folder = Path(client.config_get("dir")["dir"])
        assert folder.exists()
    assert not folder.exists()


def test_two_servers_do_not_disturb_each_other():
    """Each has its own socket and data."""
    with local.local_redis() as one, local.local_redis() as two, client_of(one) as first, client_of(two) as second:
        first.set("a", 1)
        assert second.get("a") is None


def test_awkward_temporary_folders(tmp_path, monkeypatch):
    """A space in the path, and a path too long for a socket."""
    for name in ("with a space", "long" * 40):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(local.tempfile, "tempdir", str(folder))
        with local.local_redis() as url:
            assert url.startswith("redis+socket:///")


def test_a_data_folder_keeps_what_was_written(tmp_path):
    """Its append-only file is read again, and nobody else may use it meanwhile."""
    data = tmp_path / "data"
    with local.local_redis(data) as url, client_of(url) as client:
        client.set("kept", "yes")
        with pytest.raises(SettingsError, match="another command"), local.local_redis(data):
            pass
    with local.local_redis(data) as url, client_of(url) as client:
        assert client.get("kept") == b"yes"


def test_no_server_at_all_is_one_readable_error(monkeypatch):
    """It says what to install, or to set."""
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match=r"pip install.*WORKFLOW_STATE_REDIS_URL"):
        local.find_server()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_command(how, tmp_path):
    """Neither server nor worker, whether the command is killed or interrupted."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "WORKFLOW_STATE_REDIS_URL": ""}
    command = subprocess.Popen(
        [sys.executable, "-c", HOLD_AN_ENGINE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    with command:
        url, worker = command.stdout.readline().split()
        with client_of(url) as client:
            server = client.info("server")["process_id"]
        command.send_signal(how)
        command.wait(30)
    for process in (int(worker), server):
        wait_until(lambda process=process: not is_running(process), f"{process} ends")
    if how is signal.SIGINT:
        assert list(tmp_path.iterdir()) == []


def is_running(process: int) -> bool:
    """Return whether the process is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
