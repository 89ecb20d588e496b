import pytest

from workflow_state.testing.answers import Answer, Answers, ReceivedRequest, answer_by, describe_missing, make_answer

REQUEST = ReceivedRequest("mail.send", "POST", "https://mail.example/messages?a=1&a=2", {}, b'{"to": "ada"}')


def test_answers_for_some_requests_come_first_and_in_their_order():
    answers = Answers()
    answers.add(make_answer("well"), None)
    answers.add(make_answer(status=503), 2)
    answers.add(make_answer(status=429), 1)
    taken = [answers.take() for _ in range(5)]
    assert [answer.status for answer in taken] == [503, 503, 429, 200, 200]


def test_the_answer_for_all_others_can_be_replaced():
    answers = Answers()
    assert answers.take() is None
    answers.add(make_answer("well"), None)
    answers.add(make_answer(status=404), None)
    assert answers.take().status == 404


def test_an_answer_is_for_one_request_at_least():
    with pytest.raises(ValueError, match="times"):
        Answers().add(make_answer(), 0)


@pytest.mark.parametrize(
    ("given", "body", "content_type"),
    [
        ({"json_body": {"id": 1}}, b'{"id": 1}', "application/json"),
        ({"json_body": None}, b"null", "application/json"),
        ({"text": "é"}, "é".encode(), "text/plain; charset=utf-8"),
        ({"content": b"\x00"}, b"\x00", "application/octet-stream"),
        ({"content": b"<a/>", "headers": {"content-type": "text/xml"}}, b"<a/>", None),
        ({"status": 204}, b"", None),
    ],
)
def test_a_body_has_its_content_type(given, body, content_type):
    answer = make_answer(**given)
    assert answer.content == body
    assert answer.headers.get("Content-Type") == content_type


def test_an_answer_has_one_body():
    with pytest.raises(ValueError, match="one body"):
        make_answer({}, text="x")


def test_a_function_answers_with_a_value_or_with_all_of_an_answer():
    by_value = answer_by(lambda request: {"to": request.json["to"]}, status=201)
    assert by_value(REQUEST) == Answer(201, {"Content-Type": "application/json"}, b'{"to": "ada"}')
    assert answer_by(lambda _: make_answer(status=404), status=201)(REQUEST) == Answer(404)


def test_a_request_can_be_read():
    assert REQUEST.path == "/messages"
    assert REQUEST.query == {"a": ["1", "2"]}
    assert ReceivedRequest("token", "POST", "https://x/", {}, b"a=1&b=").form == {"a": ["1"], "b": [""]}


def test_a_request_without_an_answer_says_what_to_add():
    told = describe_missing(REQUEST, had_some=False)
    assert told == (
        "no answer is set for 'mail.send', which sent\n"
        "  POST https://mail.example/messages?a=1&a=2\n"
        '  {"to": "ada"}\n'
        "Add: workflow.answer('mail.send', {…})"
    )
    assert "no answer is left" in describe_missing(REQUEST, had_some=True)
    assert "workflow.answer_token('mail.send'" in describe_missing(REQUEST, had_some=False, is_token=True)
