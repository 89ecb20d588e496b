"""The run page over real HTTP, with a real worker: what it answers, what it refuses, and what a person does with it."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from helpers.http_service import Service
from helpers.plans import action, asking, plan
from helpers.waiting import wait_for_question, wait_until
from helpers.web_server import events, served, stream
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from workflow_state import SettingsError, cancel_execution, execute_plan, get_execution_state, list_executions
from workflow_state.web import create_web_app

TIMEOUT_S = 30
NO_BODY: dict[str, str] = {}


@pytest.fixture(scope="module")
def application(redis_url):
    return create_web_app()


@pytest.fixture(scope="module")
def page(application):
    """Serve the page without a token, as it is mounted behind a team's own authentication."""
    with served(application) as client:
        yield client


def end_of(execution_id):
    return wait_until(
        lambda: (state := get_execution_state(execution_id)).completed_at and state, "the execution ends", TIMEOUT_S
    )


def test_pages_are_the_same_for_everybody_and_carry_no_data(worker, page):
    """HTML without a word of the plan, a strict policy, relative addresses; 404 for an unknown execution."""
    name = f"<img src=x onerror=alert(1)> {uuid4().hex}"
    handle = execute_plan.delay(plan(a=[], name=name))
    end_of(handle.id)
    for path in ("/", f"/executions/{handle.id}"):
        answer = page.get(path)
        assert answer.status_code == 200
        assert name not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        addresses = re.findall(r'(?:href|src)="([^"]*)"', answer.text)
        assert addresses
        assert [address for address in addresses if address.startswith(("/", "http"))] == []
    assert page.get("/executions/no-such-id").status_code == 404


def test_static_files_are_asked_about_anew_and_sent_once(page):
    """A new version is seen at once, and the same one costs a round trip."""
    first = page.get("/static/execution.js")
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"].startswith("text/javascript")
    again = page.get("/static/execution.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert page.get("/static/../app.py").status_code == 404
    assert page.get("/static/%2e%2e/app.py").status_code == 404


def test_the_list_names_the_newest_first_and_what_waits(worker, page):
    """With the status, and whether somebody is asked."""
    handle = execute_plan.delay(plan(asking("ask"), name="the one that asks"))
    wait_for_question(handle.id)
    first = page.get("/api/executions", params={"limit": 1}).json()
    assert [(item["id"], item["name"], item["status"]) for item in first] == [
        (handle.id, "the one that asks", "paused_for_confirmation")
    ]
    cancel_execution(handle.id)
    end_of(handle.id)
    found = page.get("/api/executions", params={"status": "cancelled"}).json()
    assert found[0]["id"] == handle.id
    assert found[0]["status"] == "cancelled"
    assert page.get("/api/executions", params={"limit": "many"}).status_code == 400
    assert page.get("/api/executions", params={"status": "odd"}).status_code == 400


def test_the_list_tells_of_a_new_execution(worker, page):
    """The stream begins with the list, and sends it again when it has changed."""
    for number, (name, listed) in enumerate(stream(page, "/api/executions/events?limit=5", until="never")):
        assert name == "list"
        if number == 0:
            handle = execute_plan.delay(plan(a=[]))
        elif listed[0]["id"] == handle.id:
            break


def test_the_graph_has_levels_edges_and_alternatives(worker, page):
    """Each alternative beside its primary; no inputs in it."""
    document = plan(
        action("one", errorHandling={"alternativeActionId": "other"}),
        action("other", inputs={"name": "kept-out-of-the-graph"}),
        two=["one"],
    )
    handle = execute_plan.delay(document)
    answer = page.get(f"/api/executions/{handle.id}/graph")
    graph = answer.json()
    assert graph["levels"] == [["one", "other"], ["two"]]
    assert graph["actions"]["two"]["dependencies"] == ["one"]
    assert graph["actions"]["one"]["alternative"] == "other"
    assert graph["actions"]["other"]["standby"] is True
    assert "kept-out" not in answer.text
    assert page.get("/api/executions/no-such-id/graph").status_code == 404


def test_a_stream_tells_every_change_and_ends_with_the_execution(worker, page):
    """All actions first, then those that changed; neither outputs nor traces; what is added up is the final state."""
    secret = f"in-the-output-{uuid4().hex}"
    slow = {"query.delay_ms": 400}
    document = plan(
        action("first", inputs={"name": secret, **slow}),
        action("second", ["first"], inputs={"name": "second", **slow}),
        action("flaky", actionDefinitionId="flaky", inputs={"failures": 1, "name": uuid4().hex}),
        beside=[],
    )
    handle = execute_plan.delay(document)
    told = events(page, f"/api/executions/{handle.id}/events")
    assert (told[0][0], told[-1][0]) == ("snapshot", "end")
    names = [name for name, _ in told]
    assert names.count("snapshot") == 1
    assert names.count("change") >= 2
    assert set(told[0][1]["actions"]) == {"first", "second", "flaky", "beside"}
    changes = [data for name, data in told if name in ("snapshot", "change")]
    versions = [data["version"] for data in changes]
    assert versions == sorted(versions)
    assert all(len(data["actions"]) < 4 for data in changes[2:])
    seen = {}
    for data in changes:
        seen |= data["actions"]
    final = get_execution_state(handle.id)
    assert changes[-1]["status"] == final.status == "completed"
    assert {name: brief["status"] for name, brief in seen.items()} == {
        name: state.status for name, state in final.action_states.items()
    }
    assert seen["flaky"]["attempts"] == 2
    assert secret not in str(told)
    # Whoever comes later, or again, gets the whole once more.
    assert [name for name, _ in events(page, f"/api/executions/{handle.id}/events")] == ["snapshot", "end"]


def test_a_stream_of_an_unknown_execution_is_an_answer_and_no_stream(page):
    """A browser would ask for a stream that fails again and again."""
    answer = page.get("/api/executions/no-such-id/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ExecutionNotFoundError")


def test_many_who_look_share_one_reading_which_ends_with_them(worker, page, application, monkeypatch):
    """Ten streams cost one reading each time, and none when nobody looks any more."""
    readings = application.state.readings
    counted = []
    real = get_execution_state

    def counting(execution_id):
        counted.append(execution_id)
        return real(execution_id)

    monkeypatch.setattr("workflow_state.web.looking.get_execution_state", counting)
    handle = execute_plan.delay(plan(asking("ask")))
    wait_for_question(handle.id)
    ready = threading.Barrier(11)
    leave = threading.Event()

    def look():
        for _ in stream(page, f"/api/executions/{handle.id}/events", until="never"):
            ready.wait(10)
            leave.wait(10)
            return

    lookers = [threading.Thread(target=look) for _ in range(10)]
    for looker in lookers:
        looker.start()
    ready.wait(10)
    assert readings._by_key[handle.id].lookers == 10  # noqa: SLF001 - what is counted is nobody else's to see
    counted.clear()
    time.sleep(1.5)  # what is measured is how much happens in a time
    assert 1 <= len(counted) <= 7
    leave.set()
    for looker in lookers:
        looker.join(10)
    wait_until(lambda: handle.id not in readings._by_key, "nobody looks any more")  # noqa: SLF001
    counted.clear()
    time.sleep(0.6)
    assert counted == []
    cancel_execution(handle.id)
    end_of(handle.id)


FIRST = """
import anyio, os, time
from workflow_state import list_executions
from workflow_state.web.live import in_thread
def sockets():
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket") for link in links if os.path.exists(link))
found = []
async def look():
    found.append(len(await in_thread(list_executions)))
async def main():
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(look)
anyio.run(main)
deadline_s = time.monotonic() + 10
while sockets() and time.monotonic() < deadline_s:
    time.sleep(0.02)
print(len(found), sockets())
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_the_first_can_ask_at_the_same_moment_and_leave_nothing_open(redis_url):
    """Where nothing has used the Celery application yet; a thread that ends closes its connection."""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == "8 0\n", done.stderr


def test_one_action_in_full(worker, page):
    """Its plan, output, attempts and trace; a failed one has its error."""
    document = plan(
        action("flaky", actionDefinitionId="flaky", inputs={"failures": 1, "name": uuid4().hex}),
        action("bad", actionDefinitionId="status", inputs={"code": 404, "name": "bad"}),
    )
    handle = execute_plan.delay(document)
    end_of(handle.id)
    flaky = page.get(f"/api/executions/{handle.id}/actions/flaky").json()
    assert flaky["action"]["inputs"]["failures"] == 1
    assert flaky["output"]["value"]["method"] == "GET"
    assert [entry["response"]["status"] for entry in flaky["state"]["httpTrace"]] == [503, 200]
    assert "output" not in flaky["state"]["result"]
    bad = page.get(f"/api/executions/{handle.id}/actions/bad").json()
    assert bad["state"]["result"]["error"]["statusCode"] == 404
    missing = page.get(f"/api/executions/{handle.id}/actions/nothing")
    assert missing.status_code == 404
    assert "flaky" in missing.json()["error"]["message"]


def test_one_element_of_a_list(worker, page):
    """The list has its elements without their traces; each has its own page."""
    document = {
        **plan(action("each", forEach="${inputs.names}", inputs={"name": "${item}"})),
        "inputs": {"names": ["x", "y"]},
    }
    handle = execute_plan.delay(document)
    end_of(handle.id)
    whole = page.get(f"/api/executions/{handle.id}/actions/each").json()
    assert [element["status"] for element in whole["state"]["elements"]] == ["completed", "completed"]
    assert all("httpTrace" not in element for element in whole["state"]["elements"])
    one = page.get(f"/api/executions/{handle.id}/actions/each[1]").json()
    assert (one["output"]["value"]["name"], len(one["state"]["httpTrace"])) == ("y", 1)
    assert page.get(f"/api/executions/{handle.id}/plan").json()["inputs"] == {"names": ["x", "y"]}


def test_outputs_are_files_to_keep_and_never_pages(worker, page):
    """Inline ones as JSON, stored ones as the bytes that they were; long ones are shown by their beginning."""
    document = plan(
        action("small"),
        action("long", actionDefinitionId="items", inputs={"count": 800, "name": "x"}),
        action("binary", actionDefinitionId="bytes", inputs={"size": 100_000, "name": "x"}),
    )
    handle = execute_plan.delay(document)
    end_of(handle.id)
    base = f"/api/executions/{handle.id}/actions"
    small = page.get(f"{base}/small/output")
    assert small.json()["name"] == "small"
    assert small.headers["content-disposition"] == 'attachment; filename="small.json"'
    long = page.get(f"{base}/long").json()["output"]
    assert long["beginning"].startswith("{") or long["value"]
    binary = page.get(f"{base}/binary/output")
    assert binary.content == (bytes(range(256)) * 400)[:100_000]
    assert binary.headers["content-type"] == "application/octet-stream"
    assert binary.headers["content-disposition"].startswith("attachment")


def test_confirming_sends_what_was_shown(worker, page, service: Service):
    """The question has the request and its digest; another digest sends nothing; who answered is in the state."""
    name = uuid4().hex
    handle = execute_plan.delay(plan(asking("ask", actionDefinitionId="secret", inputs={"name": name, "body.n": 1})))
    wait_for_question(handle.id)
    base = f"/api/executions/{handle.id}"
    _, snapshot = events(page, f"{base}/events", until="snapshot")[0]
    assert snapshot["status"] == "paused_for_confirmation"
    (question,) = page.get(f"{base}/actions/ask").json()["confirmations"]
    assert snapshot["actions"]["ask"]["asks"] == {"ask": question["digest"]}
    assert (question["request"]["method"], question["request"]["body"]) == ("POST", {"n": 1})
    assert "s3cr3t" not in str(question)

    body = {"actionId": "ask", "confirmed": True, "digest": "0" * 64}
    stale = page.post(f"{base}/confirmations", json=body)
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "ConfirmationError")
    assert "changed" in stale.json()["error"]["message"]
    assert page.post(f"{base}/confirmations", json={"actionId": "ask", "confirmed": True}).status_code == 400
    for confirmed in (True, False):
        unbound = page.post(f"{base}/confirmations", json={"actionId": "ask", "confirmed": confirmed, "digest": ""})
        assert (unbound.status_code, "needs the digest" in unbound.json()["error"]["message"]) == (409, True)
    assert service.requests_to(f"/echo/{name}") == []

    given = page.post(f"{base}/confirmations", json=body | {"digest": question["digest"]})
    assert (given.status_code, given.json()["userId"]) == (200, "web")
    assert end_of(handle.id).status == "completed"
    assert len(service.requests_to(f"/echo/{name}")) == 1
    again = page.post(f"{base}/confirmations", json=body | {"digest": question["digest"]})
    assert again.status_code == 409
    assert "already" in again.json()["error"]["message"]


def test_a_list_tells_of_its_elements_questions_in_short(worker, page):
    """Whether they wait; an element has the whole question, in the plan's own words."""
    each = asking("each", forEach="${inputs.names}", inputs={"name": "${item}"})
    handle = execute_plan.delay({**plan(each), "inputs": {"names": ["a", "b"]}})
    base = f"/api/executions/{handle.id}/actions"
    for number in range(2):
        wait_for_question(handle.id, f"each[{number}]")
    in_short = page.get(f"{base}/each").json()["confirmations"]
    assert [{*item} for item in in_short] == [{"actionId", "requestedAt"}] * 2
    (whole,) = page.get(f"{base}/each[1]").json()["confirmations"]
    assert (whole["title"], whole["message"]) == ("Send each?", "It can't be taken back.")
    assert whole["request"]["url"].endswith("/echo/b")
    assert page.get(f"{base}/each[1]/body").status_code == 409
    page.post(f"/api/executions/{handle.id}/cancel", json=NO_BODY)
    end_of(handle.id)


def test_rejecting_and_resuming(worker, page):
    """A rejection fails the action; resuming keeps what was done and asks again, in a new execution."""
    handle = execute_plan.delay(plan(asking("ask", ["before"]), before=[]))
    digest = wait_for_question(handle.id).digest
    base = f"/api/executions/{handle.id}"
    early = page.post(f"{base}/resume", json=NO_BODY)
    assert (early.status_code, early.json()["error"]["code"]) == (409, "ExecutionConflictError")
    page.post(f"{base}/confirmations", json={"actionId": "ask", "confirmed": False, "digest": digest})
    assert end_of(handle.id).status == "failed"
    assert page.get(f"{base}/undecided").json() == {}
    resumed = page.post(f"{base}/resume", json=NO_BODY)
    assert resumed.status_code == 201
    new_id = resumed.json()["id"]
    wait_for_question(new_id)
    _, snapshot = events(page, f"/api/executions/{new_id}/events", until="snapshot")[0]
    assert snapshot["resumedFrom"] == handle.id
    assert page.get(f"/api/executions/{new_id}/actions/before").json()["resumed"]["kept"] is True
    page.post(f"/api/executions/{new_id}/cancel", json=NO_BODY)
    cancel_execution(new_id, "somebody later")
    ended = end_of(new_id)
    # Who decided, resumed and cancelled is in the states; without a name of their own it is the page's.
    assert get_execution_state(handle.id).confirmations[0].user_id == "web"
    assert (ended.resumed.user_id, ended.cancelled_by) == ("web", "web")
    assert ended.error.message == "the execution was cancelled by web"
    _, snapshot = events(page, f"/api/executions/{new_id}/events", until="snapshot")[0]
    assert (snapshot["resumedBy"], snapshot["cancelledBy"]) == ("web", "web")


def test_cancelling_is_seen_by_everybody(worker, page, service: Service):
    """The stream says so while a request is still under way, and then how it ended."""
    name = uuid4().hex
    handle = execute_plan.delay(plan(action("slow", inputs={"name": name, "query.delay_ms": 1500}), after=["slow"]))
    wait_until(lambda: service.requests_to(f"/echo/{name}"), "the request is under way")
    base = f"/api/executions/{handle.id}"
    assert page.post(f"{base}/cancel", json=NO_BODY).json() == {"status": "running", "hadEnded": False}
    told = [data for kind, data in events(page, f"{base}/events") if kind != "end"]
    assert (told[0]["status"], told[0]["cancelling"]) == ("running", True)
    assert told[-1]["status"] == "cancelled"
    assert page.post(f"{base}/cancel", json=NO_BODY).json()["hadEnded"] is True
    assert page.post("/api/executions/no-such-id/cancel", json=NO_BODY).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json; charset=utf-8", "Sec-Fetch-Site": "same-origin"}, 404),
    ],
)
def test_what_another_site_could_send_is_refused(page, headers, status):
    """Forms and scripts of other pages, old browsers and new; 404 is what the page itself would be told."""
    answer = page.post(
        "/api/executions/no-such-id/cancel", content=b"{}", headers={"Content-Type": "application/json", **headers}
    )
    assert answer.status_code == status, answer.text


def test_another_site_can_link_to_a_page_but_not_read_or_frame_it(page):
    """A link is a navigation of the whole window."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert page.get("/", headers=link).status_code == 200
    assert page.get("/", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
    script = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}
    assert page.get("/api/executions", headers=script).status_code == 403
    assert "access-control-allow-origin" not in page.get("/api/executions").headers


def test_a_strange_host_is_refused(redis_url):
    """A name of somebody else's that leads to loopback makes no page of ours theirs."""
    with served(create_web_app(allowed_hosts=["127.0.0.1", "localhost", "::1"])) as client:
        for host in ("127.0.0.1:99", "localhost", "[::1]:8765", "LOCALHOST:1"):
            assert client.get("/", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8765", "", "[::1"):
            answer = client.get("/static/style.css", headers={"Host": host})
            assert answer.status_code in (400, 421), host


def test_nothing_is_told_without_the_token(worker, redis_url):
    """401 for every page and call; the token as a header, or once in the address for a cookie that is not the token."""
    token = uuid4().hex
    with served(create_web_app(token=token)) as client:
        browser = {"Accept": "text/html"}
        for path in ("/", "/executions/x", "/api/executions", "/api/executions/x/events"):
            assert client.get(path).status_code == 401, path
        assert client.post("/api/executions/x/cancel", json={}).status_code == 401
        asked = client.get("/executions/x", headers=browser)
        assert (asked.status_code, "../static/style.css" in asked.text) == (401, True)
        assert client.get("/static/style.css").status_code == 200
        for wrong in ("", "x", token[:-1], token + "x"):
            assert client.get("/", params={"token": wrong}).status_code == 401
            refused = client.get("/", headers={"Authorization": f"Bearer {wrong}".strip()})
            assert (refused.status_code, "missing or wrong" in refused.json()["error"]["message"]) == (401, True)
            assert client.get("/", headers={"Cookie": f"workflow_state_web={wrong}"}).status_code == 401
        assert client.get("/", headers={"Cookie": f"workflow_state_web={token}"}).status_code == 401
        assert client.get("/api/executions", headers={"Authorization": f"Bearer {token}"}).status_code == 200

        signed_in = client.get("/", params={"token": token, "other": "1"}, headers=browser)
        assert signed_in.status_code == 200
        assert 'content="0; url=?other=1"' in signed_in.text
        cookie = signed_in.headers["set-cookie"]
        assert token not in cookie + signed_in.text
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert client.get("/api/executions").status_code == 200


def test_a_viewer_looks_and_does_nothing(worker, redis_url):
    """Whatever the way in: by a token of its own, or by what a team's application says."""
    token, viewer_token = uuid4().hex, uuid4().hex
    handle = execute_plan.delay(plan(asking("ask")))
    digest = wait_for_question(handle.id).digest
    base = f"/api/executions/{handle.id}"
    answer = {"actionId": "ask", "confirmed": True, "digest": digest}
    things_to_do = {"confirmations": answer, "cancel": NO_BODY, "resume": NO_BODY}
    pages = {
        "token": create_web_app(token=token, viewer_token=viewer_token),
        "role": create_web_app(role=lambda request: "viewer" if "x-viewer" in request.headers else "operator"),
    }
    for kind, application in pages.items():
        with served(application) as client:
            if kind == "token":
                assert client.get("/", params={"token": viewer_token}).status_code == 200
                headers = {}
            else:
                headers = {"X-Viewer": "1"}
            assert client.get(f"{base}/graph", headers=headers).json()["role"] == "viewer"
            assert client.get(f"{base}/actions/ask", headers=headers).json()["confirmations"][0]["digest"] == digest
            for what, body in things_to_do.items():
                refused = client.post(f"{base}/{what}", json=body, headers=headers)
                assert (refused.status_code, refused.json()["error"]["code"]) == (403, "viewer")
            operator = {"Authorization": f"Bearer {token}"}
            assert client.get(f"{base}/graph", headers=operator).json()["role"] == "operator"
    (still_open,) = get_execution_state(handle.id).confirmations
    assert still_open.confirmed is None
    with served(pages["token"]) as client:
        given = client.post(f"{base}/confirmations", json=answer, headers={"Authorization": f"Bearer {token}"})
        assert given.status_code == 200
    assert end_of(handle.id).status == "completed"


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ({"token": "x" * 15}, "15 characters, and needs 16"),
        ({"token": "x" * 16, "viewer_token": "y"}, "token for viewers has 1 characters"),
        ({"token": "x" * 16, "viewer_token": "x" * 16}, "they must differ"),
        ({"viewer_token": "x" * 16}, "needs one for operators"),
    ],
)
def test_tokens_that_protect_nothing_are_refused(tokens, told):
    """Each is an error when the page is made, not when somebody has found out."""
    with pytest.raises(SettingsError, match=told):
        create_web_app(**tokens)


def test_tokens_can_not_be_tried_out(redis_url):
    """After ten wrong ones none is looked at for a minute, the right one neither; who is signed in stays so."""
    token = uuid4().hex
    with served(create_web_app(token=token)) as client:
        assert client.get("/", params={"token": token}).status_code == 200
        wrong = [client.get("/", headers={"Authorization": f"Bearer {number}"}).status_code for number in range(5)]
        wrong += [client.get("/", params={"token": str(number)}).status_code for number in range(6)]
        assert wrong == [401] * 10 + [429]
        late = client.get("/", params={"token": token})
        assert (late.status_code, late.json()["error"]["code"]) == (429, "wrong_tokens")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert client.get("/api/executions").status_code == 200


def test_lists_share_one_reading_whatever_their_parameters_are(worker, page, application, monkeypatch):
    """Each stream gets its own part of it."""
    listed = []
    real = list_executions

    def counting(limit, status):
        listed.append(status)
        return real(limit, status)

    monkeypatch.setattr("workflow_state.web.looking.list_executions", counting)
    for handle in [execute_plan.delay(plan(a=[])) for _ in range(3)]:
        handle.get(timeout=TIMEOUT_S)
    queries = ["limit=1", "limit=2", "limit=500", "limit=3&status=completed", "limit=1&status=completed&x=1"]
    ready, leave, found = threading.Barrier(len(queries) + 1), threading.Event(), {}

    def look(query):
        for _, data in stream(page, f"/api/executions/events?{query}", until="never"):
            found[query] = data
            ready.wait(10)
            leave.wait(10)
            return

    lookers = [threading.Thread(target=look, args=(query,)) for query in queries]
    for looker in lookers:
        looker.start()
    ready.wait(10)
    readings = application.state.readings
    assert [*readings._by_key] == ["the list"]  # noqa: SLF001 - what is counted is nobody else's to see
    listed.clear()
    time.sleep(1.2)  # what is measured is how much happens in a time
    assert {*listed} == {None, "completed"}
    assert len(listed) <= 2 * 6
    leave.set()
    for looker in lookers:
        looker.join(10)
    assert [len(found[query]) for query in queries[:2]] == [1, 2]
    assert found["limit=500"][:2] == found["limit=2"]
    assert {item["status"] for item in found[queries[3]]} == {"completed"}
    assert found[queries[4]] == found[queries[3]][:1]
    wait_until(lambda: not readings._by_key, "nobody looks any more")  # noqa: SLF001


class HeaderAuthentication(AuthenticationBackend):
    """A team's own authentication: who it is stands in a header."""

    async def authenticate(self, conn):
        """Believe it."""
        who = conn.headers.get("x-user")
        return (AuthCredentials(["authenticated"]), SimpleUser(who)) if who else None


def test_it_is_mounted_in_a_teams_own_application(worker, service: Service):
    """Below a prefix, behind their authentication, whose user is who confirms; their own pages stay theirs."""
    theirs = Starlette(
        routes=[Route("/", lambda _: PlainTextResponse("theirs")), Mount("/ops/workflows", create_web_app())],
        middleware=[Middleware(AuthenticationMiddleware, backend=HeaderAuthentication())],
    )
    handle = execute_plan.delay(plan(asking("ask")))
    digest = wait_for_question(handle.id).digest
    with served(theirs) as client:
        assert client.get("/").text == "theirs"
        assert client.get("/ops/workflows", follow_redirects=True).status_code == 200
        document = client.get(f"/ops/workflows/executions/{handle.id}")
        script = re.search(r'script type="module" src="([^"]*)"', document.text)[1]
        assert client.get(document.url.join(script)).status_code == 200
        base = f"/ops/workflows/api/executions/{handle.id}"
        body = {"actionId": "ask", "confirmed": True, "digest": digest}
        given = client.post(f"{base}/confirmations", json=body, headers={"X-User": "ada"})
        assert given.json()["userId"] == "ada"
        assert events(client, f"{base}/events")[-1][0] == "end"
    assert end_of(handle.id).confirmations[0].user_id == "ada"


def test_a_team_says_who_answers(worker):
    """By a function of theirs, whatever their framework."""
    handle = execute_plan.delay(plan(asking("ask")))
    digest = wait_for_question(handle.id).digest
    with served(create_web_app(user=lambda request: request.headers["x-forwarded-user"])) as client:
        body = {"actionId": "ask", "confirmed": False, "digest": digest}
        path = f"/api/executions/{handle.id}/confirmations"
        assert client.post(path, json=body, headers={"X-Forwarded-User": "grace"}).json()["userId"] == "grace"
    assert "grace" in end_of(handle.id).action_states["ask"].result.error.message


def test_bodies_that_are_none_are_refused(page):
    """Each with what is wrong."""
    base = "/api/executions/x"
    headers = {"Content-Type": "application/json"}
    deep = 100_000
    for body in (
        b"{",
        b"[" * deep,
        b"[" * deep + b"]" * deep,
        b'{"assumeDone": {"a": ' + b"[" * deep + b"]" * deep + b"}}",
        b'{"assumeDone": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"assumeDone": ' + b'{"a":' * deep + b"1" + b"}" * deep + b"}",
        b'{"assumeDone": {"a": ' + b"9" * 5_000 + b"}}",
        b'{"assumeDone": {"a": 1e999}}',
        b"\xff",
        b'{"assumeDone": NaN}',
        b'{"assumeDone": {"a": NaN}}',
        b"[]",
        b'{"sendAgain": "all"}',
        b'{"odd": 1}',
    ):
        for route in ("resume", "confirmations"):
            answer = page.post(f"{base}/{route}", content=body, headers=headers)
            assert answer.status_code == 400, body[:80]
            assert answer.json()["error"]["message"]
    assert page.post(f"{base}/resume", content=b" " * (5 * 2**20), headers=headers).status_code == 413
    assert page.get("/api/nothing").json()["error"]["message"] == "Not Found"
    assert page.get(f"{base}/cancel").status_code == 405
