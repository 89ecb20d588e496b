"""Asking about executions on another Redis than this process's own."""

import json
import os
import subprocess
import sys


def ask_in_another_process(redis_url, code, *arguments, **variables):
    """Run code on another Redis than this process's own, and return what it prints as JSON."""
    lines = [
        "import json, sys",
        "from workflow_state import *",
        "from workflow_state.celery import app",
        "client = app.backend.client",
        code,
    ]
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": redis_url, **variables}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


STATE = "print(json.dumps(get_execution_state(sys.argv[1]).to_json_data()))"
SUBMIT = "print(json.dumps(execute_plan.delay(json.loads(sys.argv[1])).id))"
# Every value in the database, as text.
DUMP = """
def value_of(key):
    kind = client.type(key)
    readers = {b"string": client.get, b"hash": client.hgetall, b"zset": lambda key: client.zrange(key, 0, -1),
               b"list": lambda key: client.lrange(key, 0, -1), b"set": client.smembers}
    # Of type none is a key that has just expired.
    return repr((key, readers[kind](key))) if kind != b"none" else ""
print(json.dumps([value_of(key) for key in client.scan_iter()]))
"""
