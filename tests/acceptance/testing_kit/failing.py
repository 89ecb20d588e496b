"""Tests that must fail; test_testing_kit.py runs them in a project of their own."""

GET = {"id": "get", "endpoint": {"url": "https://api.example/"}}
PLAN = {"name": "p", "actions": [{"id": "a", "actionDefinitionId": "get", "errorHandling": {"fallbackValue": 1}}]}


def test_a_fallback_hides_nothing(workflow):
    workflow.definitions(GET)
    workflow.run(PLAN)


def test_answers_that_are_used_up(workflow):
    workflow.definitions(GET)
    workflow.answer("get", status=500, times=1)
    workflow.run(PLAN)


def test_a_function_that_fails(workflow):
    workflow.definitions(GET)
    workflow.answer("get", lambda request: request.json["x"])
    workflow.run(PLAN)


def test_no_definitions(workflow):
    workflow.run(PLAN)


def test_no_oauth(workflow):
    workflow.definitions(GET)
    workflow.answer_token("get", {})
