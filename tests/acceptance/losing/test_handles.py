"""A handle of an execution: what it says while Redis is away, how soon, and in the children of a fork."""

import json
import os
import signal
import subprocess
import sys

import pytest
from helpers.other_process import SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.servers import client_of

from workflow_state.engine.local import local_redis

# All at once, each in a thread of its own: [what it raises, in how many seconds].
ASK = """
import threading, time
handle, told = execute_plan.AsyncResult(sys.argv[1]), {}
verbs = {name: lambda name=name: getattr(handle, name) for name in ("state", "status", "result", "info", "traceback")}
verbs |= {name: getattr(handle, name) for name in ("ready", "successful", "failed", "revoke")}
verbs |= {f"get {at}": lambda: handle.get(timeout=1) for at in range(20)}

def ask(name, verb):
    begun = time.monotonic()
    try:
        raised = repr(verb())
    except Exception as error:
        raised = type(error).__name__
    told[name] = [raised, time.monotonic() - begun]

threads = [threading.Thread(target=ask, args=each, daemon=True) for each in verbs.items()]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(15)
print(json.dumps({name: told.get(name, ["nothing", 99]) for name in verbs}))
"""

# Waited for once, so that the process listens for results; then in a child for one that the parent waits for as well.
FORK = """
import os, threading, time
first = execute_plan.delay(json.loads(sys.argv[1])).get(timeout=20)
handles = [execute_plan.delay(json.loads(sys.argv[1])) for _ in range(3)]
waits = threading.Thread(target=lambda: handles[0].get(timeout=20))
waits.start()
children = []
for at in range(3):
    child = os.fork()
    if not child:
        own = execute_plan.delay(json.loads(sys.argv[1])).get(timeout=20)
        seen = [handle.get(timeout=20) for handle in handles]
        os._exit({state["status"] for state in (own, *seen)} != {"completed"})
    children.append(child)
after = [execute_plan.delay(json.loads(sys.argv[1])).get(timeout=20)["status"] for _ in range(3)]
waits.join()
print(json.dumps([after, [os.waitpid(child, 0)[1] for child in children]]))
"""


# It ends while it listens for a result, by a Redis that is no longer what it was.
END = """
import json, sys
from redis import Redis
from workflow_state import execute_plan
client = Redis(unix_socket_path=execute_plan.app.backend.client.connection_pool.connection_kwargs["path"])
handles = [execute_plan.delay(json.loads(sys.argv[1])) for _ in range(2)]
try:
    handles[0].get(timeout=0.3)
except Exception as error:
    print(type(error).__name__)
client.execute_command(*sys.argv[2:])
"""


@pytest.mark.parametrize(
    "command", [["ACL", "SETUSER", "default", "-@pubsub"], ["CONFIG", "SET", "requirepass", "x"]], ids=lambda it: it[0]
)
def test_a_process_that_ends_with_a_handle_says_nothing(command):
    """Handles are thrown away when the interpreter ends: too late to import what a connection takes."""
    with local_redis() as url:
        environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": url}
        program = [sys.executable, "-c", END, json.dumps(plan(a=[])), *command]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "TimeoutError\n", "")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
@pytest.mark.usefixtures("redis_url")
def test_a_handle_is_not_held_up_by_an_outage(how):
    """No verb waits for Redis' return, and `get` no longer than it was told to."""
    with local_redis() as url:
        execution_id = ask_in_another_process(url, SUBMIT, json.dumps(plan(a=[])))
        with client_of(url) as client:
            server = client.info("server")["process_id"]
        os.kill(server, how)
        try:
            told = ask_in_another_process(url, ASK, execution_id)
        finally:
            if how is signal.SIGSTOP:
                os.kill(server, signal.SIGCONT)
    raised = {name: error for name, (error, _) in told.items()}
    assert raised == {name: "TimeoutError" if name.startswith("get ") else "BrokerUnavailableError" for name in told}
    assert max(took_s for _, took_s in told.values()) < 8


def test_handles_work_in_a_process_and_in_its_forked_children(worker, redis_url):
    """As in a web server that connects, and forks its workers off then; the requests are slower than the forks."""
    document = plan(action("a", inputs={"name": "forked", "query.delay_ms": 300}))
    after, exit_codes = ask_in_another_process(redis_url, FORK, json.dumps(document))
    assert after == ["completed"] * 3
    assert exit_codes == [0] * 3
