"""What does not fit the inputSchema is not sent, and what does not fit the outputSchema is no output."""

from pathlib import Path

import pytest
from helpers.http_calls import call, failure
from helpers.raw_http_server import Server

ORDER = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def test_inputs_that_do_not_fit_their_schema_are_not_sent(server: Server) -> None:
    schema = {"type": "object", "properties": {"body.count": {"type": "integer"}}, "required": ["body.count"]}
    detail = failure(server, {"body.count": "five"}, method="POST", inputSchema=schema).detail
    assert (detail.category, detail.code, detail.retryable) == ("validation_failed", "bad_input", False)
    assert "the input 'body.count' must be an integer, not text; nothing was sent" in detail.message
    assert "'body.count' is missing" in failure(server, {}, method="POST", inputSchema=schema).detail.message
    assert server.connections == 0


@pytest.mark.parametrize(
    ("effect", "retryable", "context"),
    [("unsafe", False, {"outcome": "unknown"}), ("keyed", True, {}), ("idempotent", True, {})],
)
def test_an_output_that_does_not_fit_its_schema_is_malformed(
    server: Server,
    effect: str,
    retryable: bool,  # noqa: FBT001 - parametrized
    context: dict[str, str],
) -> None:
    """An unsafe request has had its effect: it is not sent again, and a person decides."""
    server.respond_json({"id": "seventeen"}, status="201 Created")
    detail = failure(server, {"body.a": 1}, method="POST", effect=effect, outputSchema=ORDER).detail
    assert (detail.category, detail.code, detail.retryable) == ("api_response_malformed", "output_mismatch", retryable)
    assert detail.message == "the answer does not fit the outputSchema: output.id must be an integer, not text"
    assert detail.status_code == 201
    assert detail.context.items() >= context.items()
    assert ("outcome" in detail.context) == bool(context)


def test_a_large_output_is_checked_before_it_is_stored(server: Server, tmp_path: Path) -> None:
    server.respond_json({"id": 1, "text": "x" * 2_000})
    assert call(server, outputSchema=ORDER).output["stored"] is True
    server.respond_json({"id": "1", "text": "x" * 2_000})
    stored = len([path for path in tmp_path.rglob("*") if path.is_file()])
    assert failure(server, outputSchema=ORDER).detail.code == "output_mismatch"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == stored


def test_text_and_nothing_have_schemas_too(server: Server) -> None:
    server.respond(body=b"hello", content_type="text/plain")
    text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    assert call(server, outputSchema=text).output == {"text": "hello"}
    server.respond("204 No Content")
    assert call(server, outputSchema={"type": ["object", "null"]}).output is None
    assert failure(server, outputSchema=text).detail.message.endswith("output must be an object, not null")
