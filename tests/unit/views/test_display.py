import io
from datetime import timedelta

import pytest
from helpers.states import NOW, completed, execution, failed, pending, running, skipped, traced, waiting
from rich.cells import cell_len
from rich.console import Console

from workflow_state.cli.screen import exit_code, live_view
from workflow_state.schema import ConfirmationState, ExecutionPlan, ExecutionStatus, ExecutionSummary, ShownRequest
from workflow_state.views.outputs import outputs
from workflow_state.views.progress import find_doing, name_actions
from workflow_state.views.requests import body_text, question
from workflow_state.views.text import (
    action_lines,
    aligned,
    changes,
    executions_table,
    explanation,
    plain,
    progress_lines,
    seconds,
    summary,
)

# What a server or a plan may write: another colour, a cleared line, a line of one's own.
HOSTILE = "no\x1b[2K\r\n  POST https://harmless.example\x9b31m\u202e"
ESCAPED = "no\\x1b[2K\\r\\n  POST https://harmless.example\\x9b31m\\u202e"


def lines_between(before, after, levels=(("a",),)):
    return changes(before, after, levels, NOW)


def planned(*actions, inputs=None):
    document = {"name": "p", "actions": [{"actionDefinitionId": "d", **action} for action in actions]}
    return ExecutionPlan.model_validate(document | ({"inputs": inputs} if inputs else {}))


def drawn(name, state, levels, **options):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(live_view(name, state, levels, NOW, **options))
    return console.export_text()


# --- Plain lines -----------------------------------------------------------------------------------------------------


def test_a_level_is_told_once_when_its_first_action_starts():
    """With all its actions; a level to come is not told yet."""
    levels = [["a", "b"], ["c"]]
    nothing = execution(a=pending(), b=pending(), c=pending())
    begun = execution(a=running(), b=pending(), c=pending())
    more = execution(a=running(), b=running(), c=pending())
    assert changes(None, nothing, levels, NOW) == []
    assert changes(nothing, begun, levels, NOW) == ["level 1 of 2: a, b", "  a: running"]
    assert changes(begun, more, levels, NOW) == ["  b: running"]
    assert changes(more, more, levels, NOW) == []


def test_a_late_reader_is_told_all_that_has_happened():
    """Who starts to follow in the middle has missed nothing."""
    state = execution(a=completed(), b=running())
    assert changes(None, state, [["a"], ["b"]], NOW) == [
        "level 1 of 2: a",
        "  a: completed in 1.23 s",
        "level 2 of 2: b",
        "  b: running",
    ]


def test_a_retry_is_told_with_its_wait_and_why():
    """And once: the wait grows shorter with each look."""
    waits = execution(a=waiting(1, 2.5))
    assert lines_between(execution(a=running()), waits) == [
        "  a: attempt 1 failed, retry in 2.50 s: GET https://a.example/x → 503 after 0.04 s"
    ]
    assert changes(waits, waits, [["a"]], NOW + timedelta(seconds=1)) == []
    assert lines_between(waits, execution(a=running(2))) == ["  a: running, attempt 2"]


def test_a_retry_that_is_due_waits_for_no_negative_time():
    """A worker may be busy when the wait is over."""
    [line] = lines_between(execution(a=running()), execution(a=waiting(1, -3)))
    assert "retry in 0.00 s" in line


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (completed(), "  a: completed in 1.23 s"),
        (completed(attempts=3), "  a: completed in 1.23 s (3 attempts)"),
        (completed(assumed=True), "  a: assumed done, by decision"),
        (completed(usedFallback=True), "  a: completed by its fallback value in 1.23 s"),
        (completed(alternativeActionId="b"), "  a: completed by its alternative b in 1.23 s"),
        (
            {**completed(3, usedFallback=True), "httpTrace": [traced(503), traced(500)]},
            "  a: completed by its fallback value in 1.23 s (3 attempts): GET https://a.example/x → 500 after 0.04 s",
        ),
        (
            {**completed(), "elements": [{"index": 0, "status": "completed", "usedFallback": True}] * 2},
            "  a: completed in 1.23 s, 2 of 2 elements by the fallback value",
        ),
        (failed(), "  a: failed in 12.3 s: the server answered 500"),
        (skipped(), "  a: skipped: a failed"),
    ],
    ids=[
        "completed",
        "after retries",
        "assumed",
        "fallback",
        "alternative",
        "fallback after attempts",
        "elements",
        "failed",
        "skipped",
    ],
)
def test_an_end_is_told_with_what_it_took(after, line):
    """One line for each end."""
    assert lines_between(execution(a=running()), execution(a=after)) == [line]


def test_the_summary_counts_how_the_actions_ended():
    """With the duration, where there is one."""
    counts = {"completedActions": 3, "failedActions": 1, "skippedActions": 2}
    assert summary(execution(metrics=counts)) == "running: 3 completed, 1 failed, 2 skipped"
    ended = execution("failed", metrics={**counts, "totalDuration": 61_000})
    assert summary(ended) == "failed in 61.0 s: 3 completed, 1 failed, 2 skipped"


def test_the_summary_tells_who_completed_by_a_fallback():
    """One line says it for all actions: who reads only the end learns that a server failed."""
    counts = {"completedActions": 3, "totalDuration": 310}
    element = {"index": 0, "status": "completed", "usedFallback": True}
    states = {"a": completed(usedFallback=True), "b": completed(), "c": completed()}
    told = "completed in 0.31 s: 3 completed (1 by its fallback), 0 failed, 0 skipped"
    assert summary(execution("completed", metrics=counts, **states)) == told
    states["c"] = {**completed(), "elements": [element]}
    assert "3 completed (2 by their fallbacks)" in summary(execution("completed", metrics=counts, **states))


def test_the_explanation_shows_the_attempts_of_what_failed():
    """What was sent, what came back, and what to do."""
    state = execution(
        "failed",
        error={
            "category": "network_timeout",
            "message": "a took too long",
            "context": {"actionId": "a"},
            "suggestion": "try later",
        },
        a=failed(httpTrace=[traced(503), traced(error="timed out"), traced()]),
    )
    assert explanation(state) == [
        "error: a took too long [network_timeout]",
        "  attempt 1: GET https://a.example/x → 503 after 0.04 s",
        "  attempt 2: GET https://a.example/x → timed out",
        "  attempt 3: GET https://a.example/x → no answer",
        "  try later",
    ]


def test_the_explanation_tells_a_redirect_from_another_attempt():
    """An attempt has an entry for each redirect that was followed; one that was not is its end."""
    refused = {**traced(302), "error": "not followed"}
    entries = [traced(302), traced(503), traced(302), traced(307), refused]
    # As the engine writes it: what ends an attempt has an error.
    entries[1]["error"] = "the server answered 503"
    problem = {"category": "api_unexpected_status", "message": "m", "context": {"actionId": "a"}}
    told = explanation(execution("failed", error=problem, a=failed(httpTrace=entries)))
    assert [line.split(":")[0].strip() for line in told[1:]] == [
        "attempt 1",
        "redirected",
        "attempt 2",
        "redirected",
        "redirected",
    ]


def test_the_explanation_tells_the_requests_for_a_token_from_attempts():
    """What goes on in the same attempt is no attempt of its own."""
    entries = [{**traced(401), "continued": True}, {**traced(200), "continued": True}, traced(500), traced(500)]
    problem = {"category": "api_unexpected_status", "message": "m", "context": {"actionId": "a"}}
    told = explanation(execution("failed", error=problem, a=failed(httpTrace=entries)))
    assert [line.split(":")[0].strip() for line in told[1:]] == ["attempt 1", "then", "then", "attempt 2"]


@pytest.mark.parametrize("context", [{"name": "v"}, {"actionId": "gone"}])
def test_the_explanation_shows_the_context_of_what_is_no_actions_failure(context):
    """An action that is not there has no attempts to show."""
    [(name, text)] = context.items()
    state = execution("failed", error={"category": "validation_failed", "message": "no", "context": context})
    assert explanation(state) == ["error: no [validation_failed]", f"  {name}: {text}"]


def test_the_explanation_of_a_success_shows_the_outcomes_that_came_true():
    """Those that did not are the error."""
    outcomes = [{"name": "paid", "passed": True, "message": ""}, {"name": "sent", "passed": False, "message": ""}]
    assert explanation(execution("completed", validations=outcomes)) == ["  expected outcome: paid, it came true"]


def test_a_question_shows_what_will_be_sent():
    """What the plan says as its own words, then the request: its own headers, its body in the language it is in."""
    confirmation = ConfirmationState.model_validate(
        {
            "actionId": "pay",
            "requestedAt": NOW.isoformat(),
            "title": "Pay?",
            "message": "42 €",
            "request": {
                "method": "POST",
                "url": "https://a.example",
                "headers": {"x-token": "5"},
                "transportHeaders": {"host": "a.example", "accept": "*/*"},
                "body": {"sum": "42 €"},
            },
            "expiresAt": NOW.isoformat(),
        }
    )
    *lines, last = question(confirmation, body_text(confirmation.request))
    assert lines == [
        "pay asks, in the plan's own words: Pay?",
        "  42 €",
        "  POST https://a.example",
        "  x-token: 5",
        "  | {",
        '  |   "sum": "42 €"',
        "  | }",
        "  and by the client: host: a.example; accept: */*",
    ]
    assert last.startswith("  to be answered before ")


@pytest.mark.parametrize(
    ("request_fields", "stored", "text"),
    [
        ({}, None, None),
        ({"body": None}, None, "null"),
        ({"body": "text"}, None, '"text"'),
        ({"body": "two\nlines", "bodyIsText": True}, None, "two\nlines"),
        ({"body": 12_345_678_901_234_567_890}, None, "12345678901234567890"),
        ({}, b'{"a":[1]}', '{\n  "a": [\n    1\n  ]\n}'),
        ({"bodyIsText": True}, b'{"a":1}', '{"a":1}'),
    ],
)
def test_a_body_is_shown_as_what_it_is(request_fields, stored, text):
    """A JSON text has quotes, a text has none; no body is not null."""
    request = ShownRequest.model_validate(
        {"method": "POST", "url": "https://a.example", "headers": {}, **request_fields}
    )
    assert body_text(request, stored) == text


def test_a_body_that_is_megabytes_long_is_told_with_its_digest():
    """Its text is saved, not shown."""
    place = {"provider": "file", "path": "/x", "size": 3_000_000, "checksum": "ab" * 32, "contentType": "text/plain"}
    request = {"method": "POST", "url": "https://a.example", "headers": {}, "bodyLocation": place}
    asked = ConfirmationState.model_validate({"actionId": "a", "requestedAt": NOW.isoformat(), "request": request})
    assert question(asked)[-1] == f"  a body of 3,000,000 bytes, SHA-256 {'ab' * 32}: --save-body FILE writes it"


def test_no_line_is_broken_by_the_terminal():
    """What comes after many spaces would begin a line there, and look like one of ours; wide characters count twice."""
    forged = "Pay?" + " " * 200 + "  POST https://harmless.example"
    request = {"method": "POST", "url": "https://a.example/" + "x" * 100, "headers": {"x-a": "送" * 100}}
    asked = ConfirmationState.model_validate(
        {"actionId": "a", "requestedAt": NOW.isoformat(), "title": forged, "message": forged, "request": request}
    )
    lines = question(asked, width=40)
    assert [line for line in lines if line.startswith("  POST")] == ["  POST https://a.example/" + "x" * 15]
    assert max(map(cell_len, lines)) == 40
    whole = "".join(line.removeprefix("  … ") if line.startswith("  … ") else f"\n{line}" for line in lines)
    assert whole.splitlines()[1:] == question(asked)


def test_a_body_has_no_line_that_looks_like_one_of_ours():
    """Nor does a header, or a title."""
    forged = "x\n  to be answered before 2030-01-01\n\x1b[2A"
    request = {"method": "POST", "url": "https://a.example", "headers": {"x-a": forged}, "body": forged}
    asked = ConfirmationState.model_validate(
        {"actionId": "a", "requestedAt": NOW.isoformat(), "title": forged, "message": forged, "request": request}
    )
    lines = question(asked, forged)
    assert [line for line in lines if line.lstrip().startswith("to be answered")] == []
    assert [line for line in lines if "\x1b" in line] == []


def test_other_peoples_text_stays_within_its_line():
    """A server's message can't clear the line above it, a plan's question can't show another request."""
    asked = ConfirmationState.model_validate(
        {"actionId": "a", "requestedAt": NOW.isoformat(), "title": HOSTILE, "message": HOSTILE}
    )
    state = execution("failed", error={"category": "validation_failed", "message": HOSTILE}, a=failed(HOSTILE))
    listed = ExecutionSummary(id="e", plan_id="p", name=HOSTILE, status=ExecutionStatus.FAILED, submitted_at=NOW)
    assert question(asked) == [f"a asks, in the plan's own words: {ESCAPED}", f"  {ESCAPED}"]
    assert explanation(state) == [f"error: {ESCAPED} [validation_failed]"]
    assert lines_between(execution(a=running()), state) == [f"  a: failed in 12.3 s: {ESCAPED}"]
    assert action_lines(state.action_states) == [f"  a  failed in 12.3 s: {ESCAPED}"]
    assert executions_table([listed])[1].endswith(ESCAPED)
    picture = drawn(HOSTILE, state, [["a"]])
    assert "\x1b" not in picture
    assert ESCAPED in picture.replace("\n", "")


def test_text_of_any_language_stays_as_it_is():
    """Only what can't be seen is written out."""
    name = "Überweisung 送金 👩 ñ n\u0303 עברית हिन्दी"
    assert aligned([("a", name)]) == [f"a  {name}"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb\u200cc\u200d\u2060\ufeff", r"a\u200bb\u200cc\u200d\u2060\ufeff"),
        ("\u202e\u2066\u061c\u200e", r"\u202e\u2066\u061c\u200e"),
        ("\U000e0041\U000e007f", r"\U000e0041\U000e007f"),
        ("\u115f\u1160\u3164\uffa0\u2800\u17b4", r"\u115f\u1160\u3164\uffa0\u2800\u17b4"),
        ("\ufe0f\ufe00\U000e0100\u180b\u034f", r"\ufe0f\ufe00\U000e0100\u180b\u034f"),
        ("\u00a0\u3000\u2003\u1680", r"\xa0\u3000\u2003\u1680"),
        ("\u00ad\x00\x7f\x85\u2028\ue000\ufdd0", r"\xad\x00\x7f\x85\u2028\ue000\ufdd0"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_can_not_be_seen_is_written_out(text, shown):
    """No width, another direction, tags, fillers, variation selectors, strange spaces, and what means nothing."""
    assert plain(text) == shown


def test_columns_are_as_wide_as_their_widest_cell():
    """Without blanks at the end of a line."""
    assert aligned([("a", "bb", "c"), ("aaa", "b", "")]) == ["a    bb  c", "aaa  b"]


@pytest.mark.parametrize(("milliseconds", "text"), [(0, "0.00 s"), (9_990, "9.99 s"), (10_000, "10.0 s")])
def test_a_long_duration_has_fewer_digits(milliseconds, text):
    """Below ten seconds the hundredths say something."""
    assert seconds(milliseconds) == text


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 3)])
def test_the_exit_code_tells_the_end(status, code):
    """As scripts rely on it."""
    assert exit_code(ExecutionStatus(status)) == code


def test_a_list_tells_how_many_of_its_elements_are_done():
    """Of how many, where the list is known; and a line for each quarter only, where lines are printed."""
    document = planned({"id": "each", "forEach": "${list.output}", "dependencies": ["list"]}, {"id": "list"})
    listed = {"list": {**completed(), "result": {"status": "success", "output": [*range(8)]}}}

    def state_of(done):
        elements = [{"index": index, "status": "completed" if index < done else "running"} for index in range(8)]
        return execution(each=running(elements=elements), **listed)

    told = [changes(state_of(done), state_of(done + 1), [["list"], ["each"]], NOW, plan=document) for done in range(3)]
    assert told == [[], ["  each: running, 2 of 8 done"], []]
    assert "3 of 8 done" in drawn("p", state_of(3), [["list"], ["each"]], plan=document)
    assert "3 done" in drawn("p", state_of(3), [["list"], ["each"]])


def test_the_length_of_a_list_that_is_stored_elsewhere_is_not_told():
    """It is not in the state. A list of the plan's inputs is known."""
    location = {"provider": "file", "path": "p", "size": 9, "checksum": "c", "contentType": "application/json"}
    stored = {"status": "success", "output": None, "outputLocation": location}
    elements = [{"index": 0, "status": "completed"}, {"index": 1, "status": "running"}]
    document = planned({"id": "each", "forEach": "${list.output}", "dependencies": ["list"]}, {"id": "list"})
    state = execution(each=running(elements=elements), list={**completed(), "result": stored})
    assert str(find_doing(state, document)["each"]) == "running, 1 done"
    document = planned({"id": "each", "forEach": "${inputs.people}"}, inputs={"people": [1, 2, 3]})
    assert str(find_doing(execution(each=running(elements=elements)), document)["each"]) == "running, 1 of 3 done"


def test_an_action_that_asks_waits_for_an_answer():
    """It runs no more than it has been answered; elements that ask are counted."""
    asks = [{"actionId": name, "requestedAt": NOW.isoformat()} for name in ("pay", "each[0]", "each[1]")]
    answered = [{**item, "confirmed": True} for item in asks]
    elements = [{"index": index, "status": "running"} for index in range(2)]
    states = {"pay": running(), "each": running(elements=elements)}
    waits = execution(confirmations=asks, **states)
    assert [line.split(maxsplit=1)[1] for line in progress_lines(waits, None)] == [
        "waits for an answer",
        "running, 0 done, 2 wait for an answer",
    ]
    goes_on = execution(confirmations=answered, **states)
    assert lines_between(waits, goes_on, [["pay", "each"]]) == ["  pay: running", "  each: running, 0 done"]


def test_what_is_to_come_of_a_thousand_actions_is_told_by_definition():
    """In the picture of the level that runs, in the lines of `status`, and where a level begins."""
    names = [f"a{number}" for number in range(1000)]
    definition = ["crm.update", "mail.send"]
    document = planned(*({"id": name, "actionDefinitionId": definition[name.endswith("0")]} for name in names))
    state = execution(**{name: running() if name == "a1" else pending() for name in names})
    picture = [line.split() for line in drawn("p", state, [names[:500], names[500:]], plan=document).splitlines()[1:]]
    assert picture == [
        ["level", "1", "▶", "a1", "running"],
        ["·", "499", "to", "come", "449", "crm.update,", "50", "mail.send"],
        ["…", "and", "500", "more"],
    ]
    assert progress_lines(state, document) == ["  a1  running", "  999 to come: 899 crm.update, 100 mail.send"]
    begun = changes(None, state, [names], NOW, plan=document)[0]
    assert begun == "level 1 of 1: 1000 actions: 900 crm.update, 100 mail.send"


def test_many_definitions_are_counted_together():
    """The four that most actions are of have their names."""
    names = [f"a{number}" for number in range(50)]
    document = planned(*({"id": name, "actionDefinitionId": f"d{min(int(name[1:]), 9)}"} for name in names))
    assert name_actions(names, document) == "50 actions: 41 d9, 1 d0, 1 d1, 1 d2, 6 others"
    assert name_actions(names, None) == "50 actions"


def test_outputs_are_those_on_which_nothing_depends():
    """As JSON where they are short; secrets by their names, and text from elsewhere, can't do harm."""
    document = planned({"id": "list"}, {"id": "b", "dependencies": ["list"]}, {"id": "c"}, {"id": "d"})
    shown = {"token": "hunter2", "text": "42 €\x9b"}
    states = {"b": completed(output=shown), "c": completed(output="x" * 1000)}
    state = execution("completed", list=completed(), d=skipped(), **states)
    told = outputs(state, document, is_kept=True)
    assert sorted(told) == [
        '  output of b: {"token": "[redacted]", "text": "42 €\\x9b"}',
        "  output of c: 1,002 characters; workflow-state output e c",
    ]
    assert "1,002 characters; `run --json` prints them" in "".join(outputs(state, document, is_kept=False))
    assert outputs(execution("failed", b=completed()), planned({"id": "b"}), is_kept=True) == []
    assert outputs(state, None, is_kept=True) == []


def test_many_outputs_are_counted():
    """Five of them are shown."""
    names = [f"a{number}" for number in range(12)]
    state = execution("completed", **dict.fromkeys(names, completed()))
    told = outputs(state, planned(*({"id": name} for name in names)), is_kept=True)
    assert (told[4:], len(told)) == (["  output of a4: 1", "  … and 7 more outputs"], 6)


# --- The live picture ------------------------------------------------------------------------------------------------


def test_the_picture_has_a_row_for_each_action():
    """The level stands before its first."""
    picture = drawn("my plan", execution(a=completed(), b=running(), c=pending()), [["a", "b"], ["c"]])
    header, *rows = [line.split() for line in picture.splitlines()]
    assert header == ["my", "plan", "running", "1", "of", "3", "actions", "0.00", "s"]
    assert rows == [
        ["level", "1", "✔", "a", "completed", "in", "1.23", "s"],
        ["▶", "b", "running"],
        ["level", "2", "·", "c", "waiting"],
    ]


def test_markup_in_a_text_is_no_markup():
    """An error may quote `[red]`, and a closing tag without its opening one is an error in rich."""
    assert "[/red] [bold]" in drawn("[x]", execution(a=failed("[/red] [bold]")), [["a"]])


def test_a_long_plan_shows_what_is_under_way():
    """With the level before its first shown row, also where the level's first action is hidden."""
    names = [f"a{number}" for number in range(60)]
    states = {name: running() if number in {41, 42} else completed() for number, name in enumerate(names)}
    rows = [line.split() for line in drawn("p", execution(**states), [names[:40], names[40:]]).splitlines()[1:]]
    assert rows == [["level", "2", "▶", "a41", "running"], ["▶", "a42", "running"], ["…", "and", "58", "more"]]


def test_a_very_wide_level_fits_on_a_screen():
    """Forty rows at most, the rest counted."""
    names = [f"a{number}" for number in range(100)]
    lines = drawn("p", execution(**{name: running() for name in names}), [names]).splitlines()
    assert len(lines) == 42
    assert lines[-1].strip() == "… and 60 more"


def test_before_it_runs_the_picture_says_what_it_waits_for():
    """Without a clock: what it would count is not the time that the execution takes."""
    header, *_ = drawn("p", execution("initializing", a=pending()), [["a"]], told="starting a worker").splitlines()
    assert header.split() == ["p", "starting", "a", "worker", "0", "of", "1", "action"]
