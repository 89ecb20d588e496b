"""What goes wrong is one readable message and exit code 2, and says what to do next."""

import json
import os

import pytest
from helpers.plans import plan
from helpers.resp_answers import answering

NOT_UTF8 = os.fsdecode(b"\xff")
REFUSALS = {
    "loading": (b"-LOADING Valkey is loading the dataset in memory\r\n", "is still loading its data; try again"),
    "no login": (b"-NOAUTH Authentication required.\r\n", "redis://NAME:PASSWORD@HOST:PORT/0"),
    "wrong login": (b"-WRONGPASS invalid username-password pair\r\n", "redis://NAME:PASSWORD@HOST:PORT/0"),
    "no rights": (b"-NOPERM this user has no permissions\r\n", "redis://NAME:PASSWORD@HOST:PORT/0"),
    "replica": (b"-READONLY You can't write against a read only replica.\r\n", "name its primary"),
    "out of memory": (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "has no memory left"),
    "no Redis": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no Redis"),
    "silent": (b"", "Redis can't be reached at redis://:**@127.0.0.1:"),
}


def refused(done, message, code=2):
    """Require one message, for a person, and the exit code."""
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("execution_id", ["", NOT_UTF8, "no such", "a\tb", "${x}", "x" * 5_000])
@pytest.mark.parametrize(
    "arguments", [["status"], ["cancel"], ["resume"], ["confirm", "x"], ["output", "x"]], ids=lambda words: words[0]
)
def test_an_odd_id_is_the_id_of_nothing(cli, redis_url, arguments, execution_id):
    """Empty, not UTF-8, with spaces: there is no such execution, and the list of them is a command away."""
    command, *rest = arguments
    done = cli(command, "--", execution_id, *rest, redis_url=redis_url)
    refused(done, "error: ")
    assert "`workflow-state list` shows the executions" in done.stderr


@pytest.mark.parametrize("execution_id", ["", "a b", NOT_UTF8, "../x", "x" * 129])
def test_no_odd_id_is_given_to_an_execution(cli, redis_url, plan_file, execution_id):
    """An empty one is a caller's mistake too: with a random one the same key would start the plan again."""
    refused(
        cli("submit", plan_file(plan(a=[])), "--id", execution_id, redis_url=redis_url), "1 to 128 of the characters"
    )


@pytest.mark.parametrize(("answer", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_redis_in_trouble_is_told_by_what_it_answers(cli, answer, message):
    """With its address, without its password, and with what to do."""
    with answering(answer) as port:
        done = cli("list", redis_url=f"redis://:hunter2@127.0.0.1:{port}/0")
    refused(done, message, code=1)
    assert f"127.0.0.1:{port}" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:hunter2@127.0.0.1:99999/0", "WORKFLOW_STATE_REDIS_URL: is no URL"),
        ("redis://:hunter2/@127.0.0.1:6379/0", "WORKFLOW_STATE_REDIS_URL: is no URL"),
        ("redis://[::1", "WORKFLOW_STATE_REDIS_URL: is no URL"),
        ("redis://:hunter2@127.0.0.1:0/0", "WORKFLOW_STATE_REDIS_URL: has a port"),
        ("redis://127.0.0.1:6379/prod", "WORKFLOW_STATE_REDIS_URL: must end in the number of a database"),
        ("127.0.0.1:6379", "WORKFLOW_STATE_REDIS_URL: must start with redis://"),
    ],
)
def test_an_odd_redis_url_is_told_by_its_setting(cli, url, message):
    """Before anything connects, and without the password that it has."""
    done = cli("list", redis_url=url)
    refused(done, message)
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://nosuch.invalid/0", "WORKFLOW_STATE_REDIS_URL; `workflow-state run` without"),
        ("redis+socket:///nowhere/redis.sock", "/nowhere/redis.sock"),
    ],
)
def test_a_redis_that_is_not_there_is_told_by_its_address(cli, url, message):
    """The setting is right; the exit code tells it from a wrong one."""
    refused(cli("list", redis_url=url), message, code=1)


def test_a_redis_behind_tls_has_to_prove_who_it_is(cli):
    """`rediss://` alone is enough, and what speaks no TLS is told so."""
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        refused(cli("list", redis_url=f"rediss://127.0.0.1:{port}/0"), "SSL", code=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "folder"], "'folder' is a directory"),
        (["validate", "folder"], "'folder' is a directory"),
        (["resume", "x", "--plan", "folder"], "'folder' is a directory"),
        (["validate", "missing.json"], "'missing.json' does not exist"),
        (["validate", "latin1.json"], "is not UTF-8 text"),
        (["validate", "empty.json"], "is not valid JSON"),
        (["graph", "empty.json"], "is not valid JSON"),
        (["graph", "plan.json", "--out", "nowhere/x.svg"], "nowhere/x.svg: No such file or directory"),
        (["actions", "list", "--actions", "plan.json"], "is missing"),
        (["actions", "list", "--actions", "latin1.json"], "is not UTF-8 text"),
        (["actions", "import", "latin1.json"], "error: "),
        (["actions", "import", "empty.json"], "error: "),
        (["statsu", "x"], "Did you mean 'status'?"),
    ],
    ids=" ".join,
)
def test_odd_files_are_told_by_their_names(cli, tmp_path, arguments, message):
    """Folders, what is no text, and what is not there."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "plan.json").write_text(json.dumps(plan(a=[])))
    (tmp_path / "latin1.json").write_bytes('{"name": "Grüße"}'.encode("latin-1"))
    (tmp_path / "empty.json").touch()
    refused(cli(*arguments), message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_folders_and_files_are_told_by_their_names(cli, tmp_path):
    """Without the right to read them."""
    for name in ("folder", "folder/inner"):
        (tmp_path / name).mkdir()
    (tmp_path / "plan.json").write_text(json.dumps(plan(a=[])))
    (tmp_path / "plan.json").chmod(0)
    (tmp_path / "folder").chmod(0)
    try:
        refused(cli("validate", "plan.json"), "plan.json")
        refused(cli("actions", "list", "--actions", "folder"), "folder: can't be read: Permission denied")
    finally:
        (tmp_path / "folder").chmod(0o700)


def test_an_unknown_definition_leads_to_the_list_of_them(cli, plan_file):
    """Both where a plan names it and where a person does."""
    done = cli("validate", plan_file({"name": "x", "actions": [{"id": "a", "actionDefinitionId": "nope"}]}))
    refused(done, "`workflow-state actions list` shows the definitions")
    refused(cli("actions", "show", "nope"), "`workflow-state actions list` shows the definitions")
