"""The run page in a real headless Chromium: seen, clicked and typed at; skipped where there is none.

After each test the browser's console must be empty: an error of a script, or a breach of the content security policy,
fails it.
"""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from helpers.command import CLI
from helpers.forked_python import start_python
from helpers.http_service import Service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, asking, plan
from helpers.waiting import answer_question, wait_for_question, wait_until
from helpers.web_server import chromium, served
from helpers.workers import forked_worker

from workflow_state import execute_plan, get_execution_state
from workflow_state.celery import app
from workflow_state.engine.local import local_redis
from workflow_state.store.names import progress_key
from workflow_state.web import create_web_app

TIMEOUT_S = 30
WIDE, NARROW = (1280, 800), (390, 844)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def address(redis_url):
    with served(create_web_app()) as client:
        yield str(client.base_url).rstrip("/")


class Page:
    """What a person sees and does."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url, size=WIDE):
        """Open a page as if for the first time, in a window of this size."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get("about:blank")
        self.driver.get(url)

    def run(self, script, *arguments):
        """Return what a script returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        """Return what stands in the first such element that is shown, or None."""
        return self.run(
            "const found = [...document.querySelectorAll(arguments[0])].find((item) => item.offsetParent || "
            "getComputedStyle(item).position === 'fixed'); return found ? found.innerText : null",
            selector,
        )

    def see(self, selector, text, timeout_s=TIMEOUT_S):
        """Wait until this text stands there."""
        wait_until(lambda: text in (self.text(selector) or ""), f"{selector} says {text!r}", timeout_s)

    def click(self, selector):
        """Click, as soon as it can be."""
        wait_until(lambda: self.text(selector) is not None, f"{selector} is shown")
        self.driver.find_element("css selector", selector).click()

    def press(self, key):
        """Press a key where the focus is."""
        self.driver.switch_to.active_element.send_keys(key)

    def focus(self):
        """Return which action, or else which element, has the focus."""
        return self.run(
            "const at = document.activeElement; return at.dataset.id ?? at.dataset.key ?? at.id ?? at.tagName"
        )

    def states(self):
        """Return each action's state by its look."""
        return self.run(
            "return Object.fromEntries([...document.querySelectorAll('button.node')].map((node) => [node.dataset.id, "
            "['pending','running','waiting','retrying','completed','failed','skipped']"
            ".filter((name) => node.classList.contains(name)).join()]))"
        )


@pytest.fixture
def page(browser):
    """Return the page; afterwards nothing must have gone wrong in it."""
    browser.get_log("browser")
    yield Page(browser)
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def key(name):
    """Return a key's code."""
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415 - only where it is used

    return getattr(Keys, name)


def test_a_run_is_seen_live(worker, page, address):
    """Each state by colour, icon and word while it changes, without a reload; the title says how it ended."""
    slow = {"query.delay_ms": 900}
    document = plan(
        action("first", inputs={"name": "first", **slow}),
        action("second", ["first"], inputs={"name": "second", **slow}),
        action("flaky", actionDefinitionId="patient", inputs={"name": uuid4().hex}),
        name="Seen live",
    )
    handle = execute_plan.delay(document)
    page.open(f"{address}/executions/{handle.id}")
    page.see("h1", "Seen live")
    seen = []

    def is_over():
        states = page.states()
        if not seen or seen[-1] != states:
            seen.append(states)
        return states and set(states.values()) == {"completed"}

    wait_until(is_over, "all are green", TIMEOUT_S)
    assert {state["first"] for state in seen if state} >= {"running", "completed"}
    assert {state["second"] for state in seen if state} >= {"pending", "running", "completed"}
    assert {state["flaky"] for state in seen if state} >= {"retrying", "completed"}
    page.see("#status", "completed")
    page.see("#counts", "3 completed")
    wait_until(lambda: page.driver.title == "✓ Seen live", "the title says so")
    assert (
        page.run("return document.querySelector('[data-id=flaky]').ariaLabel")
        == "flaky, completed, 2 attempts, level 1"
    )
    assert page.run("return document.querySelectorAll('path.edge').length") == 1


def test_only_the_whole_is_said_aloud(worker, page, address):
    """A screen reader hears how the execution goes, not each of its actions."""
    handle = execute_plan.delay(plan(action("slow", inputs={"name": "slow", "query.delay_ms": 1200}), after=["slow"]))
    wait_until(lambda: get_execution_state(handle.id).status == "running", "it runs")
    page.open(f"{address}/executions/{handle.id}")
    page.see("#status", "running")
    page.run(
        "window.said = []; new MutationObserver(() => said.push(document.getElementById('announcement').textContent))"
        ".observe(document.getElementById('announcement'), {childList: true, characterData: true, subtree: true})"
    )
    page.see("#status", "completed")
    assert page.run("return said") == ["Execution completed: 2 completed"]
    assert page.run("return document.querySelectorAll('[aria-live]').length") == 0


def test_everything_can_be_done_with_keys(worker, page, address):
    """Arrows move between actions, Enter opens one, Escape closes it and gives the focus back."""
    handle = execute_plan.delay(plan(a=[], b=[], c=["a"], d=["b"], e=["c", "d"]))
    handle.get(timeout=TIMEOUT_S)
    page.open(f"{address}/executions/{handle.id}")
    page.see("#status", "completed")
    page.run("document.getElementById('search').focus()")
    page.press(key("TAB"))
    assert page.focus() == "a"
    for name, wanted in [
        ("ARROW_RIGHT", "b"),
        ("ARROW_DOWN", "d"),
        ("ARROW_DOWN", "e"),
        ("ARROW_UP", "c"),
        ("END", "d"),
        ("HOME", "c"),
    ]:
        page.press(key(name))
        assert page.focus() == wanted, name
    page.press(key("ENTER"))
    page.see("#panel", "Output")
    assert page.focus() == "title"
    assert page.text("#panel-title") == "c"
    assert page.driver.current_url.endswith("#c")
    page.press(key("ESCAPE"))
    assert page.text("#panel") is None
    assert page.focus() == "c"
    # One stop for the Tab key, however many actions there are.
    assert page.run("return document.querySelectorAll('button.node[tabindex=\"0\"]').length") == 1


def test_focus_and_what_was_opened_stay_when_the_state_changes(worker, page, address):
    """In an action's details, and in the graph."""
    handle = execute_plan.delay(plan(asking("ask"), asking("other"), last=["ask", "other"]))
    wait_for_question(handle.id)
    wait_for_question(handle.id, "other")
    page.open(f"{address}/executions/{handle.id}#ask")
    page.see(".question", "Exactly this request will be sent")
    page.run("document.querySelector('[data-key=plan-summary]').focus()")
    page.press(key("ENTER"))
    answer_question(handle.id)
    page.see("#panel", "Output")
    assert page.focus() == "plan-summary"
    assert page.run("return document.querySelector('[data-key=plan]').open") is False
    page.run("document.querySelector('[data-id=other]').focus()")
    answer_question(handle.id, "other")
    page.see("#status", "completed")
    assert page.focus() == "other"


HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"


def test_a_person_confirms_exactly_what_is_shown(worker, page, address, service: Service):
    """Others' markup is text, what reverses text is written out, and nothing is sent before the click."""
    name = uuid4().hex
    document = plan(
        {
            **asking(
                "ask",
                actionDefinitionId="post",
                inputs={"name": name, "body.to": "\u202egro.live", "body.html": HOSTILE},
            ),
            "userConfirmation": {"required": True, "title": HOSTILE, "message": "pay \u2067now"},
        },
        name=HOSTILE,
    )
    handle = execute_plan.delay(document)
    wait_for_question(handle.id)
    page.open(f"{address}/executions/{handle.id}")
    page.see("#notices", "1 request waits for an answer")
    page.click("#notices button")
    page.see(".question", "Exactly this request will be sent")
    shown = page.text(".question")
    assert HOSTILE in shown
    assert r"\u202egro.live" in shown
    assert r"pay \u2067now" in shown
    assert f"/echo/{name}" in shown
    assert page.run("return document.querySelectorAll('img, #panel script, h1 *').length") == 0
    assert service.requests_to(f"/echo/{name}") == []
    page.click("[data-key=yes]")
    page.see("#status", "completed")
    (sent,) = service.requests_to(f"/echo/{name}")
    assert sent["body"] == {"to": "\u202egro.live", "html": HOSTILE}
    page.see("#panel", "ask: confirmed by web")
    assert page.driver.title.startswith("✓ ")


def test_nothing_of_a_request_hides_from_the_person(worker, page, address, service: Service):
    """Not behind its length, a name, a number, a character without a width, or a line that looks like the page's."""
    name, far = uuid4().hex, "x" * 90_000 + " and pay Mallory"
    headers = {f"header.X-{number}": f"value {number}" for number in range(80)}
    body = {
        "far": far,
        "tokenAmount": 1_000_000,
        "secretary": "bob",
        "account": 12_345_678_901_234_567_890,
        "to": "ada\u200b\u3164\ufe0f\u00a0\U000e0041.",
    }
    document = plan(asking("ask", actionDefinitionId="secret", inputs={"name": name, **headers, "body": body}))
    document["actions"][0]["userConfirmation"] |= {"title": "Is it \u00adsafe?", "message": "Yes.\nIt is."}
    handle = execute_plan.delay(document)
    wait_for_question(handle.id)
    page.open(f"{address}/executions/{handle.id}#ask")
    page.see(".question", "Exactly this request will be sent")
    shown = page.text(".question")
    for text in (far, '"tokenAmount": 1000000', '"secretary": "bob"', '"account": 12345678901234567890'):
        assert text in shown, text[-40:]
    assert r'"to": "ada\u200b\u3164\ufe0f\u00a0\u{e0041}."' in shown
    assert all(f"x-{number}\nvalue {number}" in shown for number in range(80))
    assert "The plan says, in its own words:\n\n" + r"Is it \u00adsafe?" in shown
    assert page.text(".question h3") == "ask asks"
    assert "s3cr3t" not in page.driver.page_source
    # Words of right-to-left scripts change no places.
    assert page.run("return getComputedStyle(document.querySelector('.question .json')).unicodeBidi") == "bidi-override"
    # What the client adds comes last, and is folded.
    order = ["own words", "/echo/", "x-0", "tokenAmount", "Headers that the client adds"]
    assert sorted(order, key=shown.index) == order
    assert "user-agent" not in shown
    page.click("[data-key=transport-summary]")
    page.see(".question", "user-agent")
    page.click("[data-key=yes]")
    page.see("#status", "completed")
    (sent,) = service.requests_to(f"/echo/{name}")
    assert sent["body"] == body


def test_a_body_of_megabytes_is_told_with_its_digest_and_can_be_kept(worker, page, address, tmp_path):
    """One that can't be read can't be confirmed either."""
    piece = "&" * 500_000
    inputs = {"name": "x", "header.Content-Type": "application/x-www-form-urlencoded", "body.text": piece}
    handle = execute_plan.delay(plan(asking("ask", actionDefinitionId="post", inputs=inputs)))
    place = wait_for_question(handle.id).request.body_location
    page.open(f"{address}/executions/{handle.id}#ask")
    page.see(".question", place.checksum)
    link = page.run("return document.querySelector('[data-key=body]').href")
    assert httpx.get(link).text == f"text={quote(piece, safe='')}"
    answer_question(handle.id, confirmed=False)

    handle = execute_plan.delay(plan(asking("ask", actionDefinitionId="post", inputs={"name": "y", "body": piece})))
    Path(wait_for_question(handle.id).request.body_location.path).unlink()
    page.open(f"{address}/executions/{handle.id}#ask")
    page.see(".question", "can't be read, so nobody can confirm it")
    assert page.run("return document.querySelector('[data-key=yes]').disabled") is True
    page.click("[data-key=no]")
    page.see("#status", "failed")


def test_a_viewer_sees_everything_and_no_button(worker, page):
    """Neither for the question, nor for the execution."""
    handle = execute_plan.delay(plan(asking("ask")))
    wait_for_question(handle.id)
    with served(create_web_app(role=lambda _: "viewer")) as client:
        page.open(f"{client.base_url}/executions/{handle.id}#ask")
        page.see(".question", "You may look at this, and not answer it.")
        assert "/echo/ask" in page.text(".question")
        assert [page.text(selector) for selector in ("[data-key=yes]", "[data-key=no]", "#cancel")] == [None] * 3
        answer_question(handle.id, confirmed=False)
        page.see("#status", "failed")
        assert page.text("#resume") is None
        # Before the server ends: the page would ask it, and say in the console that it is gone.
        page.driver.get("about:blank")


def test_a_question_that_changes_under_the_pointer_must_be_read_again(worker, page, address):
    """The buttons are dead until what would be sent now has been shown."""
    handle = execute_plan.delay(plan(asking("ask")))
    wait_for_question(handle.id)
    page.open(f"{address}/executions/{handle.id}#ask")
    page.see(".question", "Exactly this request will be sent")
    # As the worker writes it that asks anew because the definition has changed.
    client, fields = app.backend.client, progress_key(handle.id)
    asks = json.loads(client.hget(fields, "ask:asks"))
    asks[-1]["digest"] = "1" * 64
    asks[-1]["request"]["url"] += "-elsewhere"
    claim = json.loads(client.hget(fields, "ask")) | {"digest": "1" * 64}
    client.hset(fields, mapping={"ask:asks": json.dumps(asks), "ask": json.dumps(claim)})
    page.see(".question", "has changed")
    assert page.run("return document.querySelector('[data-key=yes]').disabled") is True
    page.click("[data-key=again]")
    page.see(".question", "-elsewhere")
    page.click("[data-key=no]")
    page.see("#status", "failed")
    assert get_execution_state(handle.id).action_states["ask"].result.error.category == "user_cancelled"


def test_another_person_was_faster(worker, page, address):
    """The page says who and when."""
    handle = execute_plan.delay(plan(asking("ask", ["before"]), before=[], after=["ask"]))
    wait_for_question(handle.id)
    page.open(f"{address}/executions/{handle.id}#ask")
    page.see(".question", "Exactly this request will be sent")
    answer_question(handle.id, user_id="grace")
    page.see("#panel", "ask: confirmed by grace")
    assert page.text(".question") is None


def test_a_person_cancels_and_resumes(worker, page, address):
    """Both ask first; resuming leads to the new execution, which says where it comes from."""
    handle = execute_plan.delay(plan(asking("ask", ["before"]), before=[], after=["ask"]))
    wait_for_question(handle.id)
    page.open(f"{address}/executions/{handle.id}", NARROW)
    page.click("#cancel")
    page.see("dialog", "Nothing more is started")
    page.press(key("ESCAPE"))
    assert page.focus() == "cancel"
    page.click("#cancel")
    page.click("dialog .danger")
    page.see("#status", "cancelled")
    page.click("#resume")
    page.see("dialog", "1 completed action of 3 is kept")
    page.click("dialog .primary")
    wait_until(lambda: handle.id not in page.driver.current_url, "the new execution is opened")
    page.see("#facts", f"resumed from {handle.id}")
    page.see("#status", "waiting for an answer")
    new_id = page.driver.current_url.rsplit("/", 1)[1]
    answer_question(new_id, confirmed=False)
    page.see("#status", "failed")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth") is True


def test_a_thousand_actions(worker, page, address):
    """They are there within seconds, can be filtered, and show edges for the one that has the focus."""
    levels = [[f"n{level}_{number}" for number in range(50)] for level in range(20)]
    actions = [
        action(name, [levels[level - 1][number]] if level else [], actionDefinitionId="text", inputs={"name": "x"})
        for level, names in enumerate(levels)
        for number, name in enumerate(names)
    ]
    actions[0]["userConfirmation"] = {"required": True, "title": "Go?", "message": "All wait for this one."}
    handle = execute_plan.delay(plan(*actions, name="A thousand"))
    wait_for_question(handle.id, "n0_0")
    begun_s = time.monotonic()
    page.open(f"{address}/executions/{handle.id}")
    wait_until(lambda: len(page.states() or {}) == 1000, "all are drawn")
    page.see("#counts", "1 waiting")
    assert time.monotonic() - begun_s < 5
    page.run("document.querySelector('[data-id=n5_7]').focus()")
    wait_until(lambda: page.run("return document.querySelectorAll('path.edge.lit').length") == 2, "its two edges")
    assert "n5_7" in page.text("#hovered")
    page.driver.find_element("css selector", "#search").send_keys("n19_ pending")
    page.see("#shown", "50 of 1000 actions")
    page.driver.find_element("css selector", "#search").clear()
    page.run("document.getElementById('search').dispatchEvent(new Event('input'))")
    page.click("#counts .waiting")
    page.see("#shown", "1 of 1000 actions")
    page.click("#cancel")
    page.click("dialog .danger")
    page.see("#status", "cancelled")


def test_the_list_is_live_and_leads_to_executions(worker, page, address):
    """A new one comes on top while the page is open; a click opens it."""
    page.open(f"{address}/")
    page.see("h1", "Executions")
    name = f"On top {uuid4().hex}"
    handle = execute_plan.delay(plan(a=[], name=name))
    page.see("#rows tr", name)
    page.see("#rows tr", "completed")
    page.driver.find_element("css selector", "#search").send_keys(name)
    page.see("#shown", "1 of ")
    page.click("#rows a")
    page.see("h1", name)
    assert page.driver.current_url == f"{address}/executions/{handle.id}"
    page.click("nav a")
    page.see("h1", "Executions")


def test_the_connection_breaks_and_comes_back(worker, browser, redis_url):
    """The page says so, and goes on by itself when the server is there again."""
    page = Page(browser)
    handle = execute_plan.delay(plan(asking("ask")))
    wait_for_question(handle.id)
    with served(create_web_app()) as client:
        port = client.base_url.port
        page.open(f"http://127.0.0.1:{port}/executions/{handle.id}")
        page.see("#status", "waiting")
    page.see("#connection", "connection to the server is lost")
    answer_question(handle.id)
    with served(create_web_app(), port=port):
        page.see("#status", "completed")
        assert page.text("#connection") is None
    browser.get_log("browser")  # that nobody answered stands there, as it should


# --- A lost worker, on a Redis of its own, and the command ------------------------------------------------------------


@contextmanager
def web_command(redis_url, *arguments, **variables):
    """Run `workflow-state web`, and yield the address that it prints."""
    process = start_python(
        [*CLI, "web", "--port", "0", *arguments],
        env={**os.environ, "WORKFLOW_STATE_REDIS_URL": redis_url, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://[^\s?]+", line)
        assert found, line
        yield found[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_person_decides_about_a_request_of_unknown_outcome(redis_url, definitions, page, service: Service, tmp_path):
    """What was done is not sent again, and its output is what the person wrote; a wrong one is told."""
    name = uuid4().hex
    pay = action("pay", actionDefinitionId="post", inputs={"name": name, "query.delay_once_ms": 20_000})
    receipt = action("receipt", ["pay"], inputs={"name": "${pay.output.number}"})
    variables = {"WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": "3"}
    with local_redis() as url:
        with forked_worker(url, log_file=tmp_path / "one.log", environment=variables) as lost:
            execution_id = ask_in_another_process(url, SUBMIT, json.dumps(plan(pay, receipt)))
            wait_until(lambda: service.requests_to(f"/echo/{name}"), "it is being sent")
            os.killpg(lost.pid, signal.SIGKILL)
        with (
            forked_worker(url, log_file=tmp_path / "two.log", environment=variables),
            web_command(url) as address,
        ):
            page.open(f"{address}executions/{execution_id}")
            page.see("#status", "failed", timeout_s=40)
            page.see("#notices", "outcome is unknown")
            page.click("#resume")
            page.see("dialog", "nobody knows whether it was done")
            page.click("dialog input[value=done]")
            output = page.driver.find_element("css selector", "dialog textarea")
            output.send_keys("{number: 17")
            page.click("dialog .primary")
            page.see("dialog .problem", "is no JSON")
            output.clear()
            output.send_keys('{"number": "r-17"}')
            page.click("dialog .primary")
            page.see("#facts", "resumed from")
            page.see("#status", "completed")
            page.see('[data-id="pay"]', "assumed done")
            new_id = page.driver.current_url.rsplit("/", 1)[1]
            state = ask_in_another_process(url, STATE, new_id)
    assert state["actionStates"]["receipt"]["result"]["output"]["name"] == "r-17"
    assert len(service.requests_to(f"/echo/{name}")) == 1


def test_signing_in_with_the_token(worker, redis_url, page):
    """Without it a form; with it a page whose scripts and streams are let in too, and no token in the address."""
    token = uuid4().hex
    handle = execute_plan.delay(plan(a=[]))
    with web_command(redis_url, WORKFLOW_STATE_WEB_TOKEN=token) as address:
        page.open(f"{address}executions/{handle.id}")
        page.see("main", "needs the token")
        page.driver.get_log("browser")  # the 401 stands there, as it should
        page.driver.find_element("css selector", "#token").send_keys(token)
        page.click("button")
        page.see("#status", "completed")
        assert token not in page.driver.current_url
        assert page.run("return document.cookie") == ""
