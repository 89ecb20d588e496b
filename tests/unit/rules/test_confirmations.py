"""Questions as they are stored, packed against the first of their list, and as a state has them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from workflow_state.rules.confirmations import confirmation_states, parse_asks, tell_each, template_field
from workflow_state.rules.packing import pack, unpack
from workflow_state.schema import PlannedAction

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
ASKING = {"required": True, "title": "Send?", "message": "It can't be taken back."}
ACTIONS = [
    PlannedAction.model_validate({"id": name, "actionDefinitionId": "d", "userConfirmation": ASKING})
    for name in ("each", "pay")
]


@given(TEXT, TEXT)
def test_what_was_packed_comes_back(text, like):
    """Whatever the template is like, and without one."""
    document = json.dumps(text)
    assert unpack(pack(document, like.encode()), like.encode()) == document.encode()
    assert unpack(pack(document, None), None) == document.encode()


def test_what_is_like_its_template_takes_little():
    """Also where the template is longer than zlib can look back."""
    template = json.dumps([{"body": "x" * 100_000, "to": "ada", "url": "https://api.example/pay"}])
    packed = pack(template.replace("ada", "grace"), template.encode())
    assert len(packed) < 200
    assert unpack(packed, template.encode()) == template.replace("ada", "grace").encode()


def ask(minute, **fields):
    """Return a question as it is stored."""
    return {"requestedAt": f"2026-01-31T12:{minute:02}:00+00:00", "digest": "d", **fields}


def test_questions_are_read_with_their_answers():
    """Of an action, and of an element whose list has a template."""
    first, second = json.dumps([ask(1)]), json.dumps([ask(2), ask(3)])
    fields = {
        "pay:asks": first.encode(),
        "each:template": first.encode(),
        "each[1]:asks": pack(second, first.encode()),
        "each[1]:answer:1": b'{"confirmed": true}',
    }
    assert parse_asks(fields, "pay") == [ask(1)]
    assert parse_asks(fields, "each[1]") == [ask(2, confirmed=True), ask(3)]
    assert parse_asks(fields, "each[0]") == []
    assert (template_field("each[12]"), template_field("pay")) == ("each:template", None)


def test_each_question_has_the_plans_words():
    """In the order of asking; a list's may stand at its first one only, from which the others get them again."""
    asks = {"each[1]": [ask(3)], "pay": [ask(2)], "each[0]": [ask(1), ask(4)]}
    states = confirmation_states(asks, ACTIONS)
    assert [state.action_id for state in states] == ["each[0]", "pay", "each[1]", "each[0]"]
    assert {(state.title, state.message) for state in states} == {(ASKING["title"], ASKING["message"])}

    once = confirmation_states(asks, ACTIONS, once_for_lists=True)
    assert [state.title for state in once] == ["Send?", "Send?", None, None]
    assert "title" not in once[2].to_json_data()
    tell_each(once)
    assert once == states
