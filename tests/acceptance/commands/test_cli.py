"""The `workflow-state` command, as a person runs it."""

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest
from helpers.command import COMMAND
from helpers.plans import action, asking, plan
from helpers.waiting import wait_for_question, wait_until

from workflow_state import get_execution_state


def test_run_brings_its_own_redis_and_worker(cli, plan_file, tmp_path):
    """A plan completes, each step is a line, and nothing is left behind."""
    document = plan(
        action("first", inputs={"name": "${inputs.who}"}),
        action("flaky", actionDefinitionId="flaky", inputs={"failures": 1, "name": uuid4().hex}),
        action("second", ["first", "flaky"], inputs={"name": "${first.output.name}"}),
    )
    done = cli("run", plan_file({**document, "inputs": {"who": "nobody"}}), "--input", "who=somebody")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "level 1 of 2: first, flaky"
    assert any("level 2 of 2: second" in line for line in lines)
    assert "completed in" in lines[-1]
    assert lines[-1].endswith(": 3 completed, 0 failed, 0 skipped")
    assert [path for path in tmp_path.iterdir() if path.suffix != ".json"] == []


def test_run_json_prints_only_the_final_state(cli, plan_file):
    """What is printed is one JSON document."""
    done = cli("run", plan_file(plan(a=[])), "--json")
    state = json.loads(done.stdout)
    assert state["status"] == "completed"
    assert state["actionStates"]["a"]["result"]["output"]["name"] == "a"


def test_a_failed_run_says_which_request_failed(cli, plan_file):
    """Exit code 1; the failing request, its status and its attempts are there, later levels are skipped."""
    document = plan(action("bad", actionDefinitionId="status", inputs={"code": 500, "name": "bad"}), after=["bad"])
    done = cli("run", plan_file(document))
    assert done.returncode == 1
    assert "error: action bad failed: the server answered 500" in done.stdout
    assert done.stdout.count("→ 500 after") >= 2
    assert "after: skipped" in done.stdout


def test_run_reaches_this_machine_unless_the_settings_say_where_actions_may_go(cli, plan_file):
    """Out of the box; what was set counts, be it by the word 0 or a list of hosts, and the error names it."""
    path = plan_file(plan(a=[]))
    assert cli("run", path, WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS="").returncode == 0
    listed = {"WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "", "WORKFLOW_STATE_ALLOWED_HOSTS": "api.example"}
    for variables in ({"WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS": "0"}, listed):
        refused = cli("run", path, **variables)
        assert refused.returncode == 1
        assert f"the destination is not allowed ({list(variables)[-1]})" in refused.stdout
        assert refused.stdout.count("attempt 1:") == 1
        assert "attempt 2" not in refused.stdout


def test_validate_lists_six_mistakes_at_once(cli, plan_file):
    """As JSON, with exit code 2."""
    document = {
        "name": "six mistakes",
        "actions": [
            action("a", ["nobody"]),
            action("b", ["b"]),
            action("c", inputs={"name": "${a.output.x}"}),
            action("d", actionDefinitionId="eco"),
            action("e", inputs={}),
            {**action("f"), "dependancies": []},
        ],
    }
    done = cli("validate", plan_file(document), "--json")
    assert done.returncode == 2
    assert sorted(error["code"] for error in json.loads(done.stdout)["errors"]) == [
        "missing_input",
        "reference_not_a_dependency",
        "schema",
        "self_dependency",
        "unknown_action_definition",
        "unknown_dependency",
    ]
    told = cli("validate", plan_file(document))
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("error: the plan has 6 problems\n")
    assert "Traceback" not in told.stderr


def test_a_valid_plan_from_standard_input(cli):
    """`-` reads it, and the answer counts actions and levels."""
    done = cli("validate", "-", stdin=json.dumps(plan(a=[], b=["a"])))
    assert (done.returncode, done.stdout) == (0, "valid: 2 actions in 2 levels\n")


def test_a_variable_that_is_no_setting_is_told_once(cli):
    """As a warning on standard error; the command does what it was asked to."""
    done = cli("validate", "-", "--json", stdin=json.dumps(plan(a=[])), WORKFLOW_STATE_LOG_LEVLE="hunter2")
    assert (done.returncode, json.loads(done.stdout)["valid"]) == (0, True)
    assert done.stderr == (
        "warning: WORKFLOW_STATE_LOG_LEVLE is no setting and changes nothing; "
        "did you mean 'WORKFLOW_STATE_LOG_LEVEL'?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "message"),
    [
        (["run", "missing.json"], {}, 2, "does not exist"),
        (["run", "-"], {}, 2, "not valid JSON"),
        (["run", "-", "--input", "x"], {}, 2, "NAME=VALUE"),
        (["list"], {"WORKFLOW_STATE_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}, 1, "Redis can't be reached"),
        (["list"], {"WORKFLOW_STATE_REDIS_URL": "http://x"}, 2, "WORKFLOW_STATE_REDIS_URL"),
        (["actions", "list"], {"WORKFLOW_STATE_ACTIONS": "nowhere"}, 2, "nowhere"),
        (["actions", "show", "ech"], {}, 2, "echo"),
        (["list"], {"WORKFLOW_STATE_RETENTION_S": "soon"}, 2, "WORKFLOW_STATE_RETENTION_S"),
    ],
)
def test_what_goes_wrong_is_one_readable_message(cli, arguments, variables, code, message):
    """Never a traceback, never a password."""
    done = cli(*arguments, stdin="{", **variables)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_submit_status_and_list(cli, plan_file, redis_url, worker):
    """With a Redis and a worker elsewhere."""
    execution_id = f"cli-{uuid4()}"
    path = plan_file(plan(a=[], b=["a"], name="sent away"))
    submitted = cli("submit", path, "--id", execution_id, redis_url=redis_url)
    assert (submitted.returncode, submitted.stdout.strip()) == (0, execution_id)
    watched = cli("status", "--watch", execution_id, redis_url=redis_url)
    assert watched.returncode == 0
    assert f"{execution_id}  completed" in watched.stdout
    shown = json.loads(cli("status", execution_id, "--json", redis_url=redis_url).stdout)
    assert shown["status"] == "completed"
    listed = cli("list", "--status", "completed", redis_url=redis_url).stdout
    assert any(execution_id in line and "sent away" in line for line in listed.splitlines())
    unknown = cli("status", "no-such-id", redis_url=redis_url)
    assert (unknown.returncode, "no-such-id" in unknown.stderr) == (2, True)


def test_confirm_shows_all_that_would_be_sent(cli, plan_file, redis_url, worker, service, tmp_path):
    """Headers, the end of a long body, and what can't be seen; a body of megabytes is saved, not shown."""
    name = uuid4().hex
    inputs = {"name": name, "header.X-Token-Limit": "5", "body.to": "ada\u200b", "body.far": "x" * 70_000 + " Mallory"}
    form = {"name": name, "header.Content-Type": "application/x-www-form-urlencoded", "body.text": "&" * 400_000}
    path = plan_file(
        plan(
            asking("ask", actionDefinitionId="post", inputs=inputs),
            asking("long", actionDefinitionId="post", inputs=form),
        )
    )
    execution_id = cli("submit", path, redis_url=redis_url).stdout.strip()
    wait_for_question(execution_id)
    shown = cli("confirm", execution_id, "ask", "--yes", redis_url=redis_url)
    lines = shown.stdout.splitlines()
    assert lines[0] == "ask asks, in the plan's own words: Send ask?"
    assert "  x-token-limit: 5" in lines
    assert r'  |   "to": "ada\u200b",' in lines
    assert any(line.startswith("  | ") and line.endswith(' Mallory"') for line in lines)
    assert "user-agent: workflow-state" in lines[-2]
    assert lines[-1] == "confirmed"

    question = wait_for_question(execution_id, "long")
    kept = cli("confirm", execution_id, "long", "--save-body", "body.txt", redis_url=redis_url)
    assert kept.stdout == "the body that long would send is in body.txt; nothing was answered\n"
    assert len((tmp_path / "body.txt").read_bytes()) == question.request.body_location.size == 1_200_005
    told = cli("confirm", execution_id, "long", "--yes", redis_url=redis_url)
    assert f"a body of 1,200,005 bytes, SHA-256 {question.request.body_location.checksum}" in told.stdout
    assert len(told.stdout) < 2_000
    cli("cancel", execution_id, redis_url=redis_url)
    (sent,) = wait_until(lambda: service.requests_to(f"/echo/{name}"), "the one that was confirmed is sent")
    assert sent["body"] == {"to": "ada\u200b", "far": "x" * 70_000 + " Mallory"}


def test_confirm_cancel_and_resume(cli, plan_file, redis_url, worker):
    """What a person does to an execution, from the command line."""
    confirmation = {"required": True, "title": "Send it?", "message": "It is only a test."}
    path = plan_file(plan(action("ask", userConfirmation=confirmation), beside=[]))

    def paused():
        execution_id = cli("submit", path, redis_url=redis_url).stdout.strip()

        def is_paused():
            state = get_execution_state(execution_id)
            return state.status == "paused_for_confirmation" and state.action_states["beside"].result

        wait_until(is_paused, "it asks")
        return execution_id

    first = paused()
    confirmed = cli("confirm", first, "ask", "--yes", redis_url=redis_url)
    assert confirmed.returncode == 0
    assert "Send it?" in confirmed.stdout
    assert "/echo/ask" in confirmed.stdout
    assert cli("status", "--watch", first, redis_url=redis_url).returncode == 0
    again = cli("confirm", first, "ask", "--reject", redis_url=redis_url)
    assert (again.returncode, "already" in again.stderr) == (2, True)

    second = paused()
    assert cli("cancel", second, "--user", "ada", redis_url=redis_url).stdout == "cancelling\n"
    assert "the execution was cancelled by ada" in cli("status", second, "--watch", redis_url=redis_url).stdout
    assert cli("status", "--watch", second, redis_url=redis_url).returncode == 3
    assert "has ended already: cancelled" in cli("cancel", second, redis_url=redis_url).stdout

    resumed = json.loads(cli("resume", second, "--json", "--user", "grace", redis_url=redis_url).stdout)
    state = get_execution_state(resumed["id"])
    assert (state.resumed.user_id, get_execution_state(second).cancelled_by) == ("grace", "ada")
    assert {name: item["kept"] for name, item in resumed["actions"].items()} == {"ask": False, "beside": True}
    refused = cli("resume", first, redis_url=redis_url)
    assert (refused.returncode, "is completed" in refused.stderr) == (2, True)


def test_run_on_a_shared_redis_uses_its_workers(cli, plan_file, redis_url, worker):
    """It starts nothing of its own, and says the execution's id."""
    done = cli("run", plan_file(plan(a=[])), redis_url=redis_url)
    assert done.returncode == 0
    assert done.stdout.startswith("execution ")


def test_ctrl_c_leaves_nothing_behind(plan_file, definitions, tmp_path):
    """Exit code 130, and no process and no file of it."""
    path = plan_file(plan(action("slow", inputs={"name": "slow", "query.delay_ms": 20_000})))
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": "", "TMPDIR": str(tmp_path / "tmp")}
    environment["WORKFLOW_STATE_ACTIONS"] = str(definitions)
    (tmp_path / "tmp").mkdir()
    command = subprocess.Popen(
        [*COMMAND, "run", path], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with command:
        assert "slow" in command.stdout.readline()
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 130
        assert command.stderr.read().strip() == "interrupted"
    assert list((tmp_path / "tmp").iterdir()) == []
    wait_until(lambda: str(tmp_path / "tmp") not in all_command_lines(), "server and worker are gone")


def all_command_lines():
    """Return the command lines of all processes."""
    return " ".join(
        path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/environ") if readable(path)
    )


def readable(path):
    """Return whether it can be read now."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_a_terminal_sees_a_live_picture(plan_file, definitions, tmp_path):
    """Marks for each action, drawn again as they change."""
    path = plan_file(plan(action("slow", inputs={"name": "slow", "query.delay_ms": 600}), last=["slow"]))
    environment = {**os.environ, "WORKFLOW_STATE_REDIS_URL": "", "TERM": "xterm", "COLUMNS": "100"}
    environment["WORKFLOW_STATE_ACTIONS"] = str(definitions)
    ours, theirs = pty.openpty()
    command = subprocess.Popen([*COMMAND, "run", path], env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    seen = b""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        try:
            seen += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert command.wait(10) == 0
    screen = seen.decode()
    assert "▶ slow" in screen
    assert "✔ last" in screen
    assert "2 of 2 actions" in screen


def test_action_definitions_are_listed_and_shown(cli):
    """With method, effect and URL; secrets as the operator wrote them, unresolved."""
    listed = cli("actions", "list")
    assert any(line.split()[:3] == ["post", "POST", "unsafe"] for line in listed.stdout.splitlines())
    shown = json.loads(cli("actions", "show", "secret").stdout)
    assert shown["authentication"]["token"] == "${env.TEST_API_TOKEN}"


def test_actions_are_imported_from_an_openapi_document(cli, tmp_path):
    """The file loads as it is; what could not be expressed is told beside it, and nothing at all is an error."""
    document = str(Path(__file__).parents[2] / "data" / "openapi" / "petstore.json")
    done = cli(
        "actions", "import", document, "--server", "https://pets.test", "--prefix", "pets.", "--out", "pets.yaml"
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "imported 19 operations" in done.stderr
    assert "POST /pet/{petId}/uploadImage: a request body of type multipart/form-data has no counterpart" in done.stderr
    assert "SWAGGER_PETSTORE_AUTH_TOKEN" in done.stderr
    shown = json.loads(cli("actions", "show", "pets.getPetById", "--actions", "pets.yaml").stdout)
    assert shown["endpoint"]["url"] == "https://pets.test/pet/{petId}"
    printed = cli("actions", "import", "-", stdin=Path(document).read_text())
    assert printed.stdout.startswith("# Imported from the OpenAPI document of Swagger Petstore 1.0.0\n- id: addPet\n")
    nothing = cli("actions", "import", "-", stdin="openapi: 3.1.0\npaths: {}")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "nothing was imported\n  it has no operations" in nothing.stderr
    assert cli("actions", "import", "-", stdin="swagger: '2.0'").returncode == 2
