"""What survives when every process is killed: a Redis with an append-only file, and workers, of this file's own."""

import json
import os
import signal
from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

CONFIRM = """
*_, asked = get_execution_state(sys.argv[1]).confirmations
print(json.dumps(confirm_action(sys.argv[1], 'ask', True, 'ada', digest=asked.digest).confirmed))
"""
AT_REST = """
inspect = app.control.inspect(timeout=2)
answers = [inspect.active(), inspect.reserved(), inspect.scheduled()]
# A worker that has not answered in time is not known to be at rest.
tasks = [task for answer in answers for held in (answer or {"": ["?"]}).values() for task in held]
print(json.dumps([tasks, client.llen("workflow_state"), client.hlen("workflow_state:unacked")]))
"""


@pytest.mark.usefixtures("redis_url")
def test_a_waiting_action_holds_nothing_and_outlives_all_processes(tmp_path, service: Service):
    """No task and no message while it waits; with Redis and worker killed by -9 and started again, it completes."""
    name = uuid4().hex
    confirmation = {"required": True, "title": "Send it?", "message": "Really?"}
    document = plan(action("ask", inputs={"name": name}, userConfirmation=confirmation), beside=[], last=["ask"])
    with local_redis(tmp_path / "data") as url:
        with forked_worker(url, log_file=tmp_path / "one.log") as worker:
            execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document))

            def is_waiting():
                state = ask_in_another_process(url, STATE, execution_id)
                paused = state["status"] == "paused_for_confirmation"
                return paused and state["actionStates"]["beside"]["status"] == "completed"

            wait_until(is_waiting, "the action waits, and the other branch is done")
            wait_until(lambda: ask_in_another_process(url, AT_REST) == [[], 0, 0], "nothing is held")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        kill_the_server(url)
    with local_redis(tmp_path / "data") as url:
        assert ask_in_another_process(url, STATE, execution_id)["status"] == "paused_for_confirmation"
        with forked_worker(url, log_file=tmp_path / "two.log"):
            assert ask_in_another_process(url, CONFIRM, execution_id) is True

            def has_completed():
                return ask_in_another_process(url, STATE, execution_id)["status"] == "completed"

            wait_until(has_completed, "the execution completes")
    assert len(service.requests_to(f"/echo/{name}")) == 1


@pytest.mark.usefixtures("redis_url")
def test_a_person_is_asked_again_where_another_request_would_be_sent(tmp_path, service: Service):
    """The operator changes the definition between question and request: the answer was to another question."""
    name = uuid4().hex
    confirmation = {"required": True, "title": "Send it?", "message": "Really?"}
    document = plan(action("ask", actionDefinitionId="moving", inputs={"name": name}, userConfirmation=confirmation))

    def definitions(path):
        folder = tmp_path / path
        folder.mkdir()
        definition = {"id": "moving", "endpoint": {"url": f"{service.url}/{path}/{{name}}", "method": "POST"}}
        (folder / "moving.json").write_text(json.dumps(definition))
        return {"WORKFLOW_STATE_ACTIONS": str(folder)}

    before, after = definitions("echo"), definitions("text")
    with local_redis() as url:

        def questions(answered):
            asked = ask_in_another_process(url, STATE, execution_id)["confirmations"]
            return asked if [item.get("confirmed") for item in asked] == answered else None

        with forked_worker(url, log_file=tmp_path / "one.log", environment=before):
            execution_id = ask_in_another_process(url, SUBMIT, json.dumps(document), WORKFLOW_STATE_ACTIONS="")
            wait_until(lambda: questions([None]), "the first question")
        ask_in_another_process(url, CONFIRM, execution_id)
        with forked_worker(url, log_file=tmp_path / "two.log", environment=after):
            first, second = wait_until(lambda: questions([True, None]), "the second question")
            assert f"/echo/{name}" in first["request"]["url"]
            assert f"/text/{name}" in second["request"]["url"]
            ask_in_another_process(url, CONFIRM, execution_id)

            def has_completed():
                return ask_in_another_process(url, STATE, execution_id)["status"] == "completed"

            wait_until(has_completed, "the execution completes")
    assert service.requests_to(f"/echo/{name}") == []
    assert len(service.requests_to(f"/text/{name}")) == 1


def kill_the_server(url):
    """End the Redis server at once, as a crash would."""
    server = ask_in_another_process(url, "print(json.dumps(client.info('server')['process_id']))")
    os.kill(server, signal.SIGKILL)
