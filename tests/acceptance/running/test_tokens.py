"""Actions with OAuth 2 on a real worker: one token, which is nowhere, and over which a lost worker loses nothing."""

import json
import signal
import threading
import time
from uuid import uuid4

from helpers.oauth_server import token_server
from helpers.other_process import DUMP, STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

SECRET = "client-s3cret-of-the-tests"
DEFINITION = """
- id: api
  endpoint: {{url: "{url}/api/{{name}}", method: POST}}
  authentication:
    type: oauth2_client_credentials
    clientId: client
    clientSecret: "${{env.TEST_CLIENT_SECRET}}"
    tokenUrl: "{url}/token"
"""
CANCEL = "print(json.dumps(cancel_execution(sys.argv[1]).id))"


def prepare(server, tmp_path):
    """Write the definition of the server's API, and return the environment of its users."""
    server.client = ("client", SECRET)
    (tmp_path / "api.yaml").write_text(DEFINITION.format(url=server.url))
    return {"WORKFLOW_STATE_ACTIONS": str(tmp_path / "api.yaml"), "TEST_CLIENT_SECRET": SECRET}


def end_of(url, execution_id, environment):
    """Wait for an execution's end, and return its state."""

    def ended():
        state = ask_in_another_process(url, STATE, execution_id, **environment)
        return state if state["status"] in {"completed", "failed", "cancelled"} else None

    return wait_until(ended, "the execution ends", timeout_s=40)


def test_twenty_actions_need_one_token_and_leave_no_secret(redis_url, tmp_path):
    """A revoked token in the middle is replaced; neither it nor the client's secret is in Redis, state or log.

    Redis is looked at while the token is asked for, while it is in use, and at the end.
    """
    log_file = tmp_path / "worker.log"
    may_have_token, may_act = threading.Event(), threading.Event()
    with token_server() as server, local_redis() as url:
        environment = prepare(server, tmp_path)
        server.answer_token = lambda _: may_have_token.wait(20) and None
        server.answer_api = lambda _: may_act.wait(20) and None
        first = [action(f"a{number}", actionDefinitionId="api", inputs={"name": uuid4().hex}) for number in range(20)]
        later = action("later", ["a0"], actionDefinitionId="api", inputs={"name": "later"})

        def submit(document):
            return ask_in_another_process(url, SUBMIT, json.dumps(document), **environment)

        def dump():
            return ask_in_another_process(url, DUMP, **environment)

        with forked_worker(url, log_file=log_file, environment=environment, extra_arguments=("-E",)):
            execution_id = submit(plan(*first))
            wait_until(lambda: server.token_requests, "a token is asked for")
            dumps = [dump()]
            may_have_token.set()
            wait_until(lambda: server.api_requests, "the token is used")
            dumps.append(dump())
            may_act.set()
            states = [end_of(url, execution_id, environment)]
            assert (states[0]["status"], len(server.token_requests)) == ("completed", 1)
            server.revoked.update(server.tokens)
            states.append(end_of(url, submit(plan(first[0], later)), environment))
            assert (states[1]["status"], len(server.token_requests)) == ("completed", 2)
            dumps.append(dump())
    trace = states[1]["actionStates"]["a0"]["httpTrace"]
    assert [entry["response"]["status"] for entry in trace] == [401, 200, 200]
    everything = json.dumps([states, dumps]) + log_file.read_text()
    assert "[redacted]" in json.dumps(dumps[2])
    assert [f"{execution_id}~a19" in json.dumps(each) for each in dumps] == [True] * 3
    assert [secret for secret in (SECRET, *server.tokens) if secret in everything] == []


def test_a_worker_that_is_lost_over_the_token_costs_nothing(redis_url, tmp_path):
    """Nothing of the unsafe action had left: another worker gets a token and sends it, once."""
    is_over = threading.Event()
    with token_server() as server, local_redis() as url:
        environment = {**prepare(server, tmp_path), "WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3"}
        server.answer_token = lambda count: is_over.wait(60) and None if count == 1 else None
        with forked_worker(url, log_file=tmp_path / "one.log", environment=environment) as worker:
            pay = action("pay", actionDefinitionId="api", inputs={"name": "pay"})
            execution_id = ask_in_another_process(url, SUBMIT, json.dumps(plan(pay)), **environment)
            wait_until(lambda: server.token_requests, "a token is asked for")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        with forked_worker(url, log_file=tmp_path / "two.log", environment=environment):
            state = end_of(url, execution_id, environment)
        is_over.set()
    assert (state["status"], state["actionStates"]["pay"]["attempts"]) == ("completed", 1)
    assert (len(server.token_requests), len(server.api_requests)) == (2, 1)


def test_nothing_is_sent_that_was_cancelled_while_its_token_was_waited_for(redis_url, tmp_path):
    """Neither by who asked for the token nor by who waited for that; the first one's trace shows the token request."""
    may_have_token = threading.Event()
    with token_server() as server, local_redis() as url:
        environment = prepare(server, tmp_path)
        # Whoever has waited for a moment only is not asked whether it is wanted still.
        server.answer_token = lambda _: may_have_token.wait(20) and time.sleep(1)
        with forked_worker(url, log_file=tmp_path / "worker.log", environment=environment):
            two = [action(name, actionDefinitionId="api", inputs={"name": name}) for name in ("a", "b")]
            execution_id = ask_in_another_process(url, SUBMIT, json.dumps(plan(*two)), **environment)
            wait_until(lambda: server.token_requests, "a token is asked for")

            def both_run():
                state = ask_in_another_process(url, STATE, execution_id, **environment)
                return [item["status"] for item in state["actionStates"].values()] == ["running"] * 2

            wait_until(both_run, "both wait for it")
            ask_in_another_process(url, CANCEL, execution_id, **environment)
            may_have_token.set()
            state = end_of(url, execution_id, environment)
    ends = state["actionStates"].values()
    assert (state["status"], {end["result"]["reason"] for end in ends}) == (
        "cancelled",
        {"the execution was cancelled"},
    )
    assert sorted(len(end["httpTrace"]) for end in ends) == [0, 1]
    assert (len(server.token_requests), server.api_requests) == (1, [])
