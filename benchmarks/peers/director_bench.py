"""The plan of twenty GETs on celery-director: `<its venv>/bin/python director_bench.py URL REDIS_URL [ROUNDS]`.

One worker with a pool of 16 threads, Redis as broker and result backend, and the SQLite database that director's own
quickstart sets up; SQLite and the worker's files are in a temporary folder. Workflows are submitted as director's API
does it, but without the HTTP request to that, and their end is polled in the database.

Director's last task of each workflow sleeps for 500 ms (`director.tasks.workflows.end`, to hide a race with the status
"error"), and the workflow is not over before. It is part of what a user of director waits for, and so of these figures.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from children import child_process

WORKFLOW = "bench.LEVELS"
LEVELS = 4
ACTIONS_A_LEVEL = 5
THREADS = 16
POLL_S = 0.003
DEADLINE_S = 30.0


@contextmanager
def director_home() -> Iterator[Path]:
    """Make a folder with the workflow and its task, as `director init` would."""
    with tempfile.TemporaryDirectory(prefix="director-") as name:
        home = Path(name)
        levels = [{f"LEVEL_{level}": {"type": "group", "tasks": ["GET"] * ACTIONS_A_LEVEL}} for level in range(LEVELS)]
        # JSON is YAML.
        (home / "workflows.yml").write_text(json.dumps({WORKFLOW: {"tasks": levels}}))
        # Without one, director reads the .env of the next folder above that has one.
        (home / ".env").touch()
        (home / "tasks").mkdir()
        shutil.copy(Path(__file__).with_name("director_tasks.py"), home / "tasks" / "get.py")
        yield home


def connect_director(home: Path, redis_url: str) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """Return `submit(url)`, which gives a workflow's id, and `status_of(id)`; the database is there by then."""
    os.environ |= {
        "DIRECTOR_HOME": str(home),
        "DIRECTOR_DATABASE_URI": f"sqlite:///{home}/director.db",
        "DIRECTOR_BROKER_URI": redis_url,
        "DIRECTOR_RESULT_BACKEND_URI": redis_url,
    }
    from director._auto import app  # noqa: PLC0415 - it reads the environment
    from director.builder import WorkflowBuilder  # noqa: PLC0415 - likewise
    from director.extensions import db  # noqa: PLC0415 - likewise
    from director.models.workflows import Workflow  # noqa: PLC0415 - likewise

    app.app_context().push()
    db.create_all()

    def submit(url: str) -> str:
        project, name = WORKFLOW.split(".")
        workflow = Workflow(project=project, name=name, payload={"url": url})
        workflow.save()
        WorkflowBuilder(workflow.id).run()
        return str(workflow.id)

    def status_of(workflow_id: str) -> str:
        # A new transaction: the old one shows what the database was when it began.
        db.session.remove()
        return str(Workflow.query.filter_by(id=workflow_id).first().status.value)

    return submit, status_of


def main() -> None:
    """Print one JSON line with the wall times."""
    url, redis_url, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else 15
    with director_home() as home:
        submit, status_of = connect_director(home, redis_url)

        def run_workflow_ms(deadline_s: float = DEADLINE_S) -> float:
            begun_s = time.perf_counter()
            workflow_id = submit(url)
            while (status := status_of(workflow_id)) in {"pending", "progress"}:
                if time.perf_counter() - begun_s > deadline_s:
                    raise SystemExit(f"director's workflow was not over after {deadline_s:.0f} s")
                time.sleep(POLL_S)
            if status != "success":
                raise SystemExit(f"director's workflow ended {status}")
            return (time.perf_counter() - begun_s) * 1000

        worker = [sys.executable, "-m", "celery", "-A", "director._auto:cel", "worker", "--pool", "threads"]
        worker += ["--concurrency", str(THREADS), "--without-mingle", "--without-gossip", "--loglevel", "WARNING"]
        # Standard output is for the one line.
        with child_process(worker, os.environ, stdout=sys.stderr, stderr=sys.stderr):
            # The first is the warm-up, and waits until the worker is there.
            ms = [run_workflow_ms() for _ in range(rounds + 1)][1:]
        print(json.dumps({"peer": "celery-director", "version": version("celery-director"), "ms": ms}))


if __name__ == "__main__":
    main()
