"""What an answer means for the action: its output, or the error that it fails with."""

import json
from datetime import UTC, datetime

from workflow_state.actions.http.exchange import (
    MAX_EXCERPT_CHARACTERS,
    OUTPUT_MISMATCH,
    Answer,
    PreparedRequest,
    fail,
    trace_exchange,
)
from workflow_state.actions.http.failures import (
    describe_status,
    describe_transport_error,
    make_detail,
    parse_retry_after,
)
from workflow_state.actions.http.output import make_output
from workflow_state.actions.http.request import IDEMPOTENCY_KEY
from workflow_state.actions.http.response import MalformedResponseError
from workflow_state.actions.http.trace import cut, trace_body
from workflow_state.actions.network.deadline import Exchange
from workflow_state.actions.network.library import httpx
from workflow_state.errors import SettingsError, StorageError
from workflow_state.schema import MAY_BE_DONE, Effect, ErrorCategory, ErrorDetail, HttpActionResult


def conclude(prepared: PreparedRequest, answer: Answer, exchange: Exchange) -> HttpActionResult:
    """Return the result of a complete and usable success. Raises HttpActionError for everything else."""
    if not answer.is_success:
        raise fail(prepared, _describe_answer(prepared, answer), answer)
    try:
        if answer.problem:
            raise answer.problem
        output, location = make_output(
            answer.body,
            answer.read_as(prepared.definition),
            prepared.scrub_output,
            prepared.store,
            prepared.check_output,
        )
    except httpx.TransportError as error:
        detail = describe_transport_error(prepared.definition, error, exchange, prepared.redact(error))
    except MalformedResponseError as error:
        # A server that is about to catch up may answer in full the next time.
        again = error.code == OUTPUT_MISMATCH and prepared.definition.effective_effect is not Effect.UNSAFE
        detail = make_detail(ErrorCategory.API_RESPONSE_MALFORMED, error.code, prepared.redact(error), retryable=again)
    except (OSError, SettingsError, StorageError) as error:
        detail = make_detail(
            ErrorCategory.STATE_INCONSISTENT,
            "output_not_stored",
            f"the request succeeded, but its output is lost: {prepared.redact(error)}",
            retryable=prepared.definition.effective_effect is not Effect.UNSAFE,
        )
    else:
        result = HttpActionResult(output=output, http_trace=[*prepared.trace, trace_exchange(prepared, answer)])
        if location:
            result.output_location = location
        return result
    # The server says that it was done; only what it did is not known.
    unread = dict(MAY_BE_DONE) if prepared.definition.effective_effect is Effect.UNSAFE else {}
    update = {"status_code": answer.status, "context": {**detail.context, **unread}}
    raise fail(prepared, detail.model_copy(update=update), answer)


def _describe_answer(prepared: PreparedRequest, answer: Answer) -> ErrorDetail:
    headers = answer.headers
    retry_after_ms = parse_retry_after(headers.get_list("retry-after"), headers.get("date"), datetime.now(UTC))
    detail = describe_status(
        prepared.definition,
        answer.status,
        retry_after_ms=retry_after_ms,
        location=None if answer.location is None else prepared.redact_location(answer.location),
        has_key=IDEMPOTENCY_KEY in prepared.request.headers,
        was_accepted=prepared.was_accepted,
    )
    if answer.body:
        excerpt = trace_body(answer.body, answer.content_type, prepared.scrub_trace)
        text = excerpt if isinstance(excerpt, str) else json.dumps(excerpt, ensure_ascii=False)
        detail.context["response"] = cut(text, MAX_EXCERPT_CHARACTERS)
    return detail
