"""The application in other places: a wheel, a team's own celeryconfig, a wrong environment."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*command, cwd, **variables):
    """Run a command with these variables over the environment's, and return it when it has ended."""
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": "", **variables}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_wheel_installs_one_package_and_nothing_beside_it(tmp_path):
    """No top-level module could shadow a team's own, and the settings are inside as a real file."""
    built = run("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {name.split("/")[0].split("-")[0] for name in names} == {"workflow_state"}
        assert b"broker_url" in archive.read("workflow_state/celeryconfig.py")
        assert "workflow_state/py.typed" in names
        assert {"workflow_state/web/static/style.css", "workflow_state/web/pages/execution.html"} <= set(names)
        scripts = {str(path.relative_to(ROOT)) for path in (ROOT / "workflow_state").rglob("*.lua")}
        assert "workflow_state/store/lua/claim_attempt.lua" in scripts
        assert scripts <= set(names)


def test_a_teams_own_celeryconfig_counts_but_for_what_must_hold(tmp_path):
    """Their server and their tuning; not their queue or their serializer."""
    (tmp_path / "celeryconfig.py").write_text(
        "import os\n"
        "broker_url = result_backend = 'redis://127.0.0.1:1/7'\n"
        "worker_concurrency = 3\n"
        "task_default_queue = 'theirs'\n"
        "task_serializer = 'pickle'\n"
    )
    ask = (
        "from workflow_state.celery import app; c = app.conf;"
        "print(c.broker_url, c.result_backend, c.worker_concurrency, c.task_default_queue, c.task_serializer)"
    )
    theirs = "redis://127.0.0.1:1/7"
    assert run("-c", ask, cwd=tmp_path).stdout == f"{theirs} {theirs} 3 workflow_state json\n"
    ours = "redis://127.0.0.1:1/8"
    told = run("-c", ask, cwd=tmp_path, WORKFLOW_STATE_REDIS_URL=ours)
    assert told.stdout == f"{ours} {ours} 3 workflow_state json\n"


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_a_teams_own_application_stays_the_current_one(tmp_path, first):
    """Whichever is imported first, their shared tasks and bare results stay theirs."""
    lines = ["import celery; theirs = celery.Celery('theirs')", "import workflow_state.celery"]
    ask = "; ".join([*(lines if first == "theirs" else reversed(lines)), "print(celery.current_app.main)"])
    assert run("-c", ask, cwd=tmp_path).stdout == "theirs\n"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORKFLOW_STATE_RETENTION_S": "soon"}, "Error: WORKFLOW_STATE_RETENTION_S"),
        ({"WORKFLOW_STATE_ACTIONS": "nowhere"}, "nowhere"),
    ],
)
def test_a_worker_does_not_start_with_a_wrong_environment(tmp_path, variables, message):
    """One readable error, and no traceback."""
    ended = run("-m", "celery", "-A", "workflow_state", "worker", cwd=tmp_path, **variables)
    assert ended.returncode != 0
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
