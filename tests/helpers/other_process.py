"""Asking about executions on another Redis than this process's own.

Each question is answered by a process of its own. It is forked off one that has the application set up for that Redis
(other_process_main.py), because whoever waits for an end asks often.
"""

import atexit
import json
import os
import subprocess
from pathlib import Path

from helpers.forked_python import start_python

MAIN = "helpers.other_process_main"
TESTS = Path(__file__).parents[1]
MAX_FORKERS = 2

_forkers = {}


def ask_in_another_process(redis_url, code, *arguments, **variables):
    """Run code on another Redis than this process's own, and return what it prints as JSON."""
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": redis_url, **variables}
    # Which test runs, pytest says there.
    environment.pop("PYTEST_CURRENT_TEST", None)
    key = frozenset(environment.items())
    forker = _forkers.pop(key, None) or start(environment)
    forker.stdin.write(json.dumps([code, *arguments]) + "\n")
    forker.stdin.flush()
    line = forker.stdout.readline()
    assert line, f"{MAIN} has ended: {forker.stderr.read()}"
    # One that was left in the middle of an answer is not asked again.
    _forkers[key] = forker
    while len(_forkers) > MAX_FORKERS:
        end(_forkers.pop(next(iter(_forkers))))
    done = json.loads(line)
    assert done["code"] == 0, f"exit code {done['code']}: {done['stderr']}"
    return json.loads(done["stdout"])


def start(environment):
    """Start a process that answers for this environment."""
    return start_python(
        ["-m", MAIN],
        cwd=TESTS,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(forker):
    """End a process that is asked nothing more."""
    forker.kill()
    forker.wait()
    for stream in (forker.stdin, forker.stdout, forker.stderr):
        stream.close()


@atexit.register
def end_all():
    """End them with this process."""
    while _forkers:
        end(_forkers.popitem()[1])


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
