"""A secret of each kind, echoed by the server in answers and refusals: it is in the requests, and nowhere else."""

import base64
import json
import os
import urllib.parse
from uuid import uuid4

from helpers.command import CLI
from helpers.flower_service import flower_on
from helpers.forked_python import run_python
from helpers.http_service import Service
from helpers.oauth_server import token_server
from helpers.other_process import DUMP, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

# With characters that are written in other ways in URLs, in JSON and in headers.
SECRETS = {name: f"{name}-s3cret/+&= of the tests" for name in ("TOKEN", "KEY", "PASSWORD", "CLIENT", "HOOK", "QUERY")}
AUTHENTICATION = {
    "bearer": {"type": "bearer", "token": "${env.TOKEN}"},
    "api_key": {"type": "api_key", "header": "X-Api-Key", "value": "${env.KEY}"},
    "basic": {"type": "basic", "username": "ada", "password": "${env.PASSWORD}"},
}
CLIENT = {"type": "oauth2_client_credentials", "clientId": "client", "clientSecret": "${env.CLIENT}"}
ENDED = """
import time
while (state := get_execution_state(sys.argv[1])).completed_at is None:
    time.sleep(0.1)
print(json.dumps(state.to_json_data()))
"""
FAILED_IN_PYTHON = """
import pickle, traceback
from workflow_state.actions.execute import execute_http_action
from workflow_state.errors import HttpActionError
told = []
for name in sys.argv[1:]:
    try:
        execute_http_action(name, {"name": "x"}, None)
    except HttpActionError as error:
        told += [str(error), repr(error), traceback.format_exc(), repr(pickle.dumps(error)), repr(error.http_trace)]
print(json.dumps(told))
"""


def definitions(service_url, token_url):
    """Return an action that is answered and one that is refused: for each kind of authentication, and for the URL."""
    made = []
    for name, authentication in AUTHENTICATION.items():
        for suffix, path in (("", "/echo/{name}"), ("_refused", "/status/401/{name}")):
            endpoint = {"url": f"{service_url}{path}", "method": "POST"}
            made.append({"id": f"{name}{suffix}", "endpoint": endpoint, "authentication": authentication})
    for suffix, path in (("", "/echo"), ("_refused", "/status/401")):
        url = f"{service_url}{path}/${{env.HOOK}}/{{name}}?key=${{env.QUERY}}"
        made.append({"id": f"url{suffix}", "endpoint": {"url": url, "method": "POST"}})
    for suffix, host in (("", token_url), ("_refused", service_url)):
        endpoint = {"url": f"{host}/{'status/401' if suffix else 'api'}/{{name}}", "method": "POST"}
        authentication = {**CLIENT, "tokenUrl": f"{token_url}/token"}
        made.append({"id": f"oauth{suffix}", "endpoint": endpoint, "authentication": authentication})
    return made


def forms_of(secret):
    """Return the ways in which a secret may be written somewhere."""
    pair = f"ada:{secret}".encode()
    return {
        secret,
        secret.partition("/")[0],
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(secret, safe="/+&="),
        urllib.parse.quote_plus(secret),
        base64.b64encode(secret.encode()).decode(),
        base64.b64encode(pair).decode(),
    }


def test_a_secret_is_nowhere_but_in_its_request(redis_url, tmp_path, service: Service):
    """Not in Redis, the state, a log, a page of Flower, what the command line prints, or an exception."""
    marker = uuid4().hex
    log_file = tmp_path / "worker.log"
    with token_server() as server, local_redis() as url:
        server.client = ("client", SECRETS["CLIENT"])
        all_definitions = definitions(service.url, server.url)
        (tmp_path / "actions.json").write_text(json.dumps(all_definitions))
        variables = {"WORKFLOW_STATE_ACTIONS": str(tmp_path / "actions.json"), **SECRETS}
        names = [definition["id"] for definition in all_definitions]
        tolerated = {"errorHandling": {"continueOnFailure": True}}
        document = plan(
            *(action(name, actionDefinitionId=name, inputs={"name": marker}, **tolerated) for name in names)
        )
        logging = ("-E", "--loglevel", "DEBUG")
        with (
            forked_worker(url, log_file=log_file, environment=variables, extra_arguments=logging),
            flower_on(url) as flower,
        ):
            execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document), **variables)
            state = ask_in_another_process(url, ENDED, execution_id, **variables)

            def shown():
                tasks = json.loads(flower("/api/tasks?limit=1000"))
                mine = [
                    name for name, task in tasks.items() if name.startswith(execution_id) and task["state"] == "SUCCESS"
                ]
                return mine if len(mine) == len(names) + 1 else None

            tasks = wait_until(shown, "Flower has all tasks")
            pages = "".join(flower(f"/task/{name}") for name in tasks) + flower("/api/tasks?limit=1000")
            dump = ask_in_another_process(url, DUMP, **variables)
            told = ask_in_another_process(url, FAILED_IN_PYTHON, *names, **variables)
            environment = {**os.environ, **variables, "WORKFLOW_STATE_REDIS_URL": url}
            printed = [
                run_python([*CLI, *words], env=environment, text=True)
                for words in (
                    ["status", execution_id],
                    ["status", execution_id, "--json"],
                    ["actions", "show", "basic"],
                )
            ]
    failed = {name for name, item in state["actionStates"].items() if item["status"] == "failed"}
    assert failed == {name for name in names if name.endswith("_refused")}
    sent = json.dumps([service.requests_to("/echo/"), service.requests_to("/status/401/"), server.token_requests])
    for name in ("TOKEN", "KEY", "QUERY"):
        # What is looked for is what was sent.
        assert json.dumps(SECRETS[name])[1:-1] in sent
    assert f"/echo/{urllib.parse.quote(SECRETS['HOOK'], safe='/+&=')}/{marker}" in sent
    places = {
        "state": json.dumps(state, ensure_ascii=False),
        "redis": "".join(dump),
        "log": log_file.read_text(),
        "flower": pages,
        "exceptions": "".join(told),
        "command line": "".join(done.stdout + done.stderr for done in printed),
    }
    looked_for = set().union(*map(forms_of, SECRETS.values()), server.tokens)
    found = [(place, text) for place, content in places.items() for text in looked_for if text in content]
    assert found == []
    assert "[redacted]" in places["state"]
