"""Rate limits and pauses, shared by two real workers and by every plan: what the server's journal says.

On a busy machine requests come late. None may come too soon all the same; and how late they may come is told by as many
requests without a limit, which the same workers send in the same test.
"""

import json
import signal
import time
from datetime import datetime
from uuid import uuid4

import pytest
from helpers.http_service import http_service
from helpers.other_process import STATE, SUBMIT, ask_in_another_process
from helpers.plans import action, plan
from helpers.waiting import wait_until
from helpers.workers import forked_worker

from workflow_state.engine.local import local_redis

DEFINITIONS = """
- id: even
  endpoint: {{url: "{url}/echo/{{name}}", method: POST}}
  rateLimit: {{requestsPerSecond: 20}}
- id: slow
  endpoint: {{url: "{url}/echo/{{name}}", method: GET}}
  rateLimit: {{requestsPerSecond: 0.5}}
- id: few
  endpoint: {{url: "{url}/echo/{{name}}?delay_ms=200", method: GET}}
  rateLimit: {{concurrent: 3}}
- id: free
  endpoint: {{url: "{url}/echo/{{name}}", method: POST}}
- id: one
  endpoint: {{url: "{url}/echo/{{name}}", method: GET}}
  rateLimit: {{concurrent: 1}}
- id: asks_for_a_pause
  endpoint: {{url: "{url}/pause/1.5/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 2, initialDelayMs: 0, maxDelayMs: 0, backoffMultiplier: 1}}
"""
VISIBILITY_S = 3
DELETE_MESSAGES = "print(client.delete('workflow_state', 'workflow_state:unacked', 'workflow_state:unacked_index'))"
CANCEL = "print(json.dumps(cancel_execution(sys.argv[1]) is None))"
LEFT_WITHOUT_END = (
    "print(json.dumps([repr(key) for key in client.scan_iter('workflow_state:*') if client.ttl(key) == -1]))"
)


class Stage:
    """A Redis, an HTTP service, and as many workers as a test starts."""

    def __init__(self, url, service, environment):
        self.url, self.service, self.environment = url, service, environment

    def submit(self, document):
        """Submit a plan, and return its id."""
        return ask_in_another_process(self.url, SUBMIT, json.dumps(document), **self.environment)

    def state(self, execution_id):
        """Return the state now."""
        return ask_in_another_process(self.url, STATE, execution_id, **self.environment)

    def end_of(self, execution_id, timeout_s=30):
        """Return the final state."""

        def ended():
            state = self.state(execution_id)
            return state if state["status"] in {"completed", "failed", "cancelled"} else None

        return wait_until(ended, "the execution ends", timeout_s)

    def free_span_s(self, count):
        """Return how long as many actions without a limit take, from the beginning of their execution."""
        state = self.end_of(self.submit(many(count, "free")))
        return max(entry["at"] for entry in self.service.journal) - begin_of(state)

    def keys_without_end(self):
        """Return our keys that have no TTL."""
        return ask_in_another_process(self.url, LEFT_WITHOUT_END, **self.environment)


@pytest.fixture
def stage(redis_url, tmp_path):
    with local_redis() as url, http_service() as service:
        (tmp_path / "limits.yaml").write_text(DEFINITIONS.format(url=service.url))
        environment = {
            "WORKFLOW_STATE_ACTIONS": str(tmp_path / "limits.yaml"),
            "WORKFLOW_STATE_VISIBILITY_TIMEOUT_S": str(VISIBILITY_S),
        }
        yield Stage(url, service, environment)


@pytest.fixture
def two_workers(stage, tmp_path):
    with (
        forked_worker(stage.url, log_file=tmp_path / "one.log", environment=stage.environment) as one,
        forked_worker(stage.url, log_file=tmp_path / "two.log", environment=stage.environment) as two,
    ):
        yield one, two


def many(count, definition_id):
    return plan(
        *(
            action(f"a{number}", actionDefinitionId=definition_id, inputs={"name": uuid4().hex})
            for number in range(count)
        )
    )


def begin_of(state):
    """Return when the execution began."""
    return datetime.fromisoformat(state["startedAt"]).timestamp()


def are_on_time(times_s, begun_s, every_s):
    """Return whether no request came before its slot, the first of which was there when the execution began."""
    return all(at_s >= begun_s + number * every_s - 0.01 for number, at_s in enumerate(sorted(times_s)))


def most_within(times_s, window_s):
    """Return the largest number of times that lie within any window of that length."""
    return max(sum(start <= at < start + window_s for at in times_s) for start in times_s)


def most_at_once(entries):
    """Return how many requests overlapped at most."""
    edges = sorted([(entry["at"], 1) for entry in entries] + [(entry["endedAt"], -1) for entry in entries])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


def attempts(state):
    return {item["attempts"] for item in state["actionStates"].values()}


def test_sixty_actions_of_two_plans_keep_to_twenty_a_second(stage, two_workers):
    """They take three seconds, evenly, on two workers together; waiting is no attempt."""
    ids = [stage.submit(many(30, "even")) for _ in range(2)]
    states = [stage.end_of(execution_id) for execution_id in ids]
    assert [(state["status"], attempts(state)) for state in states] == [("completed", {1})] * 2
    times_s = [entry["at"] for entry in stage.service.journal]
    assert len(times_s) == 60
    begun_s = min(map(begin_of, states))
    span_s, free_span_s = max(times_s) - begun_s, stage.free_span_s(60)
    print(f"60 at 20/s: {span_s:.2f} s, {most_within(times_s, 1)} at most in a second, free {free_span_s:.2f} s")  # noqa: T201 - the figures
    # They leave evenly. On a busy machine those that a worker holds until their slots, for half a second at most, may
    # come together. Two workers with a limit each would send forty in a second, and all of them in half the time.
    assert most_within(times_s, 1) <= 20 + 10 + 5
    assert are_on_time(times_s, begun_s, 1 / 20)
    assert span_s < 59 / 20 + 1.5 + free_span_s
    assert stage.keys_without_end() == []


def test_what_waits_for_its_slot_reads_as_running_with_the_time(stage, two_workers):
    """Its version only grows, and a cancelled execution sends nothing more."""
    execution_id = stage.submit(many(3, "slow"))
    versions = []

    def waiting():
        state = stage.state(execution_id)
        versions.append(state["version"])
        return [item for item in state["actionStates"].values() if item.get("nextAttemptAt")]

    found = wait_until(lambda: len(waiting()) == 2 and waiting(), "two wait")
    assert {(item["status"], item["attempts"]) for item in found} == {("running", 1)}
    state = stage.end_of(execution_id)
    versions.append(state["version"])
    assert versions == sorted(versions)
    times_s = sorted(entry["at"] for entry in stage.service.journal)
    assert len(times_s) == 3
    assert are_on_time(times_s, begin_of(state), 2)
    # Nor did one miss a slot.
    assert all(at_s - times_s[0] < 2 * number + 2 for number, at_s in enumerate(times_s))


def test_what_waits_is_not_lost_with_its_messages(stage, tmp_path):
    """Killed while some wait, and every message deleted: the sweep takes them up when they are due, once each."""
    with forked_worker(stage.url, log_file=tmp_path / "one.log", environment=stage.environment) as worker:
        execution_id = stage.submit(many(3, "slow"))
        wait_until(
            lambda: sum("nextAttemptAt" in item for item in stage.state(execution_id)["actionStates"].values()) == 2,
            "two wait",
        )
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    ask_in_another_process(stage.url, DELETE_MESSAGES)
    statuses = [item["status"] for item in stage.state(execution_id)["actionStates"].values()]
    # What was sent, and had not ended when the worker was killed, is sent again.
    expected = len(stage.service.journal) + 3 - statuses.count("completed")
    with forked_worker(stage.url, log_file=tmp_path / "two.log", environment=stage.environment):
        state = stage.end_of(execution_id, timeout_s=40)
    assert (state["status"], attempts(state), len(stage.service.journal)) == ("completed", {1}, expected)


def test_never_more_than_three_at_once(stage, two_workers):
    states = [stage.end_of(stage.submit(many(30, "few")))]
    assert [(state["status"], attempts(state)) for state in states] == [("completed", {1})]
    entries = [*stage.service.journal]
    span_s = max(entry["endedAt"] for entry in entries) - min(entry["at"] for entry in entries)
    free_span_s = stage.free_span_s(30)
    print(f"30 of 0.2 s, three at once: {span_s:.2f} s, free {free_span_s:.2f} s")  # noqa: T201 - the figures
    assert (len(entries), most_at_once(entries)) == (30, 3)
    assert span_s < 6 + free_span_s
    assert stage.keys_without_end() == []


def test_a_killed_workers_permit_is_free_again(stage, tmp_path):
    """Once its lease has run out another plan's action gets the only permit, and the killed one is sent again."""
    slow = action("a", actionDefinitionId="one", inputs={"name": "slow", "query.delay_once_ms": 30_000})
    with forked_worker(stage.url, log_file=tmp_path / "one.log", environment=stage.environment) as worker:
        first = stage.submit(plan(slow))
        wait_until(lambda: stage.service.journal, "the request has arrived")
        second = stage.submit(many(1, "one"))
        wait_until(lambda: "nextAttemptAt" in stage.state(second)["actionStates"]["a0"], "the other one waits")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        killed_at_s = time.time()
    with forked_worker(stage.url, log_file=tmp_path / "two.log", environment=stage.environment):
        states = [stage.end_of(execution_id, timeout_s=40) for execution_id in (first, second)]
    assert [(state["status"], attempts(state)) for state in states] == [("completed", {1})] * 2
    assert len(stage.service.requests_to("/echo/slow")) == 2
    after_s = [round(entry["at"] - killed_at_s, 1) for entry in stage.service.journal[1:]]
    print(f"sent {after_s} s after the kill")  # noqa: T201 - the figure


def test_what_is_held_back_can_be_cancelled(stage, two_workers):
    """It ends at once, and sends nothing more."""
    execution_id = stage.submit(many(20, "slow"))
    wait_until(lambda: stage.service.journal, "the first request has arrived")
    ask_in_another_process(stage.url, CANCEL, execution_id)
    count = len(stage.service.journal)
    # The last of them would be due after 38 s.
    state = stage.end_of(execution_id, timeout_s=15)
    assert (state["status"], attempts(state) <= {0, 1}) == ("cancelled", True)
    assert len(stage.service.journal) <= count + 1


def test_a_pause_that_the_server_asks_for_holds_for_every_plan(stage, two_workers):
    """One plan's 503 with Retry-After keeps the others from asking at all; it costs them no attempt.

    The server asks for 1.5 s, which is rounded up.
    """
    first = stage.submit(many(1, "asks_for_a_pause"))
    wait_until(lambda: stage.service.journal, "the request has arrived")
    wait_until(
        lambda: any(
            item.get("nextAttemptAt") or item["attempts"] > 1 for item in stage.state(first)["actionStates"].values()
        ),
        "it is paused",
    )
    others = [stage.submit(many(10, "asks_for_a_pause")) for _ in range(3)]
    states = [stage.end_of(execution_id) for execution_id in (first, *others)]
    assert [(state["status"], attempts(state)) for state in states] == [("completed", {2}), *[("completed", {1})] * 3]
    asked, *later = sorted(entry["at"] for entry in stage.service.journal)
    assert len(later) == 31
    assert min(later) - asked >= 2
    assert stage.keys_without_end() == []
