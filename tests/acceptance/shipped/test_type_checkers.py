"""What an editor with a type checker knows of the package: a user's script, checked as strictly as the checkers can."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.forked_python import run_python
from helpers.plans import plan

SCRIPT = Path(__file__).with_name("typed_user.py")
# With the cache of the project's own check, where there is one.
CACHE = Path(__file__).parents[3] / ".mypy_cache"
CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "--config-file=", f"--cache-dir={CACHE}"],
    "pyright": ["-m", "pyright", "--pythonpath", sys.executable],
}
MISTAKES = """
execute_plan.delay(3)
execute_plan.apply_async(({},), count_down=3)
execute_plan.delay({}).get(timeout="3")
execute_plan.delay({}).get().stats
execute_plan.delay({}).state().stats
get_execution_state("id").output_off("greet")
"""


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_script_has_no_errors_and_each_mistake_is_found(checker, tmp_path):
    """In a folder of the user's own, where none of the project's settings hold."""
    script = SCRIPT.read_text()
    (tmp_path / "right.py").write_text(script)
    (tmp_path / "wrong.py").write_text(script + MISTAKES)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    command = [sys.executable, *CHECKERS[checker], "right.py", "wrong.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)
    found = re.findall(r"(\w+\.py):(\d+)(?::\d+)?(?: -|:) error", done.stdout)
    lines = len(script.splitlines())
    expected = [("wrong.py", str(lines + number)) for number in range(2, 1 + len(MISTAKES.splitlines()))]
    assert sorted(set(found)) == sorted(expected), done.stdout + done.stderr


def test_the_script_does_what_its_types_say(worker, redis_url):
    document = json.dumps(plan(greet=[]))
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": redis_url}
    done = run_python(["-m", SCRIPT.stem], stdin=document, text=True, env=environment, cwd=SCRIPT.parent, check=True)
    assert done.stdout.splitlines() == ["completed True True COMPLETED", "greet"], done.stderr
