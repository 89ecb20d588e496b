"""The first use of the application, in a process of its own each time."""

import os

import pytest
from helpers.forked_python import run_python

FIRST_PLANS = """
import threading
from workflow_state import execute_plan

plan = {"name": "x", "actions": [{"id": "a", "actionDefinitionId": "d"}]}
begin, errors = threading.Barrier(8), []

def submit():
    begin.wait()
    try:
        execute_plan.delay(plan)
    except Exception as error:
        errors.append(type(error).__name__)

threads = [threading.Thread(target=submit) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(set(errors)), len(errors))
"""


@pytest.mark.parametrize("attempt", range(3))
def test_threads_that_submit_first_at_once_find_the_settings(tmp_path, attempt):
    """Some met an application without a result backend. Here all learn that their Redis is away."""
    (tmp_path / "api.py").write_text(FIRST_PLANS)
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": "redis://127.0.0.1:1/0", "WORKFLOW_STATE_ACTIONS": ""}
    done = run_python(["-m", "api"], cwd=tmp_path, env=environment, text=True, check=True)
    assert done.stdout == "['BrokerUnavailableError'] 8\n"
