"""A level of actions with OAuth 2 on a real worker: one token, which is nowhere afterwards."""

import json
from uuid import uuid4

from oauth_server import token_server
from plans import action, plan
from processes import DUMP, STATE, SUBMIT, ask_in_another_process
from support import wait_until

from workflow_state.local import local_redis, local_worker

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


def test_twenty_actions_need_one_token_and_leave_no_secret(redis_url, tmp_path):
    """A revoked token in the middle is replaced; neither it nor the client's secret is in Redis, state or log."""
    log_file = tmp_path / "worker.log"
    with token_server() as server, local_redis() as url:
        server.client, server.delay_s = ("client", SECRET), 0.2
        (tmp_path / "api.yaml").write_text(DEFINITION.format(url=server.url))
        environment = {"WORKFLOW_STATE_ACTIONS": str(tmp_path / "api.yaml"), "TEST_CLIENT_SECRET": SECRET}
        first = [action(f"a{number}", actionDefinitionId="api", inputs={"name": uuid4().hex}) for number in range(20)]
        later = action("later", ["a0"], actionDefinitionId="api", inputs={"name": "later"})

        def run(document):
            execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document), **environment)

            def ended():
                state = ask_in_another_process(url, STATE, execution_id, **environment)
                return state if state["status"] in {"completed", "failed"} else None

            return wait_until(ended, "the execution ends", timeout_s=30)

        with local_worker(url, log_file=log_file, environment=environment, extra_arguments=("-E",)):
            states = [run(plan(*first))]
            assert (states[0]["status"], len(server.token_requests)) == ("completed", 1)
            server.revoked.update(server.tokens)
            states.append(run(plan(first[0], later)))
            assert (states[1]["status"], len(server.token_requests)) == ("completed", 2)
            dump = ask_in_another_process(url, DUMP, **environment)
    trace = states[1]["actionStates"]["a0"]["httpTrace"]
    assert [entry["response"]["status"] for entry in trace] == [401, 200, 200]
    everything = json.dumps([states, dump]) + log_file.read_text()
    assert "[redacted]" in everything
    assert [secret for secret in (SECRET, *server.tokens) if secret in everything] == []
