"""How a process of ours starts: what it loads, and what Ctrl-C does meanwhile."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflow_state.installation import install_command

ROOT = Path(__file__).parents[3]
SCRIPT = Path(sys.executable).with_name("workflow-state")
VALIDATE = ["validate", str(ROOT / "examples" / "condition.json"), "--actions", str(ROOT / "examples" / "actions")]

# Each takes a tenth of a second and more of every start; most are for workers and for what only some people use.
HEAVY = {"asyncio", "celery", "fsspec", "httpcore", "httpx", "kombu", "openapi_pydantic", "prompt_toolkit", "redis"}
HEAVY |= {"rich", "starlette", "trio", "typer", "uvicorn"}
VALIDATION = {"jsonschema_rs", "pydantic", "yaml"}


def modules_of(code, *arguments):
    """Return which of the heavy modules a new process has loaded when it ends."""
    told = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, sep='\\n', file=sys.stderr)); {code}"
    run = subprocess.run([sys.executable, "-c", told, *arguments], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stderr.split()}


def command(*arguments):
    """Return what a run of the command loads."""
    return modules_of("from workflow_state.cli import main; main()", *arguments)


def test_help_loads_no_command():
    loaded = command("--help")
    assert not loaded & (HEAVY | VALIDATION | {"cel"})
    assert "click" in loaded


def test_validating_a_plan_loads_nothing_that_runs_one():
    """Its condition is compiled as well, without the command line that comes with the library for that."""
    loaded = command(*VALIDATE)
    assert not loaded & HEAVY
    assert loaded >= VALIDATION


@pytest.mark.parametrize(
    "arguments",
    [["completion", "bash"], ["schema"], ["actions", "list"], ["validate", "nowhere.json", "--help"]],
    ids=" ".join,
)
def test_other_commands_without_redis_load_nothing_for_it(arguments):
    """The completion script is made anew whenever a shell starts."""
    assert not command(*arguments) & HEAVY


@pytest.mark.parametrize(
    "code",
    [
        "import workflow_state; dir(workflow_state)",
        "import workflow_state.errors, workflow_state.schema",
        "from workflow_state import validate_execution_plan, read_strict_plan, ExecutionPlan",
    ],
)
def test_importing_the_package_loads_no_celery(code):
    assert not modules_of(code) & HEAVY


def test_a_worker_loads_nothing_that_only_some_people_need():
    """Celery's task modules are what it includes."""
    code = "from workflow_state.celery import app; app.loader.import_default_modules(); app.finalize()"
    loaded = modules_of(code)
    assert not loaded & {"fsspec", "openapi_pydantic", "prompt_toolkit", "typer", "starlette"}
    assert "celery" in loaded


def without(module, *arguments, **variables):
    """Run the command where a package is not installed; return its code and what it said."""
    code = f"import sys; sys.modules['{module}'] = None; from workflow_state.cli import main; main()"
    environment = {**os.environ, **variables}
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    return run.returncode, run.stderr


def test_importing_an_openapi_document_without_the_extra_is_one_message():
    told = without("openapi_pydantic", "actions", "import", str(ROOT / "tests" / "data" / "openapi" / "petstore.json"))
    line = f"importing an OpenAPI document needs openapi_pydantic: {install_command('openapi')}"
    assert told == (2, f"Error: {line}\n")


def test_a_storage_elsewhere_without_the_extra_is_one_message(redis_url):
    """A worker says the same when it starts."""
    variables = {"WORKFLOW_STATE_REDIS_URL": redis_url, "WORKFLOW_STATE_STORAGE_URL": "s3://bucket/outputs"}
    line = f"a storage at s3:// needs an extra that is not installed: {install_command('storage')}"
    assert without("fsspec", "expire", **variables) == (2, f"Error: WORKFLOW_STATE_STORAGE_URL: {line}\n")


def test_a_folder_needs_no_extra(redis_url, tmp_path):
    """What removes old outputs looks into it as everything else does."""
    variables = {"WORKFLOW_STATE_REDIS_URL": redis_url, "WORKFLOW_STATE_STORAGE_URL": str(tmp_path)}
    assert without("fsspec", "expire", **variables) == (0, "")


# --- Ctrl-C ------------------------------------------------------------------------------------------------------


def interrupt_after_import(module, arguments, program):
    """Interrupt the command right after Python has said that it imported a module; return code and what was said."""
    said = []
    with subprocess.Popen(
        [*program, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
    ) as process:
        for line in process.stderr:
            if not line.startswith("import time:"):
                said.append(line)
            elif line.rpartition("|")[2].strip() == module:
                process.send_signal(signal.SIGINT)
    return process.returncode, "".join(said)


@pytest.mark.parametrize(
    "module",
    [
        "click.core",
        "workflow_state.cli.commands",
        "annotated_types",
        "pydantic._internal._model_construction",
        "workflow_state.schema",
    ],
)
def test_ctrl_c_while_python_imports_prints_one_line(module):
    """From the first module that the command imports for itself."""
    assert interrupt_after_import(module, VALIDATE, [str(SCRIPT)]) == (130, "interrupted\n")


def test_ctrl_c_while_python_imports_where_python_runs_the_package():
    """The same goes for `python -m`."""
    program = [sys.executable, "-m", "workflow_state.cli"]
    assert interrupt_after_import("click.types", VALIDATE, program) == (130, "interrupted\n")


@pytest.mark.parametrize("module", ["celery", "redis.client", "workflow_state.executor", "workflow_state.cli.watch"])
def test_ctrl_c_while_what_runs_a_plan_is_imported(module):
    """Nothing has been started yet."""
    arguments = ["run", str(ROOT / "examples" / "demo.json"), "--actions", str(ROOT / "examples" / "actions")]
    assert interrupt_after_import(module, arguments, [str(SCRIPT)]) == (130, "interrupted\n")


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 0.6, 1.0])
def test_ctrl_c_in_the_first_second_of_a_run(delay_s, tmp_path):
    """Also while its own Redis and worker start; `click` is what it imports first."""
    said = []
    with subprocess.Popen(
        [str(SCRIPT), "run", str(ROOT / "examples" / "demo.json"), "--actions", str(ROOT / "examples" / "actions")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
    ) as process:
        for line in process.stderr:
            if not line.startswith("import time:"):
                said.append(line)
            elif line.endswith(" click\n"):
                # This waits for nothing: any instant will do.
                time.sleep(delay_s)
                process.send_signal(signal.SIGINT)
    assert (process.returncode, "".join(said)) == (130, "interrupted\n")
