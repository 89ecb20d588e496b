"""Sending an action's request: one HTTP exchange, with its redirects, and with a token where OAuth 2 wants one.

    result = execute_http_action("users.get", {"userId": 7})
    result.output                                           {"name": "Ada"}

The request is sent once. Whoever calls decides whether it is sent again, which in a worker is the Celery task. The
parts are in the folders below: `http/request` builds the request, `http/exchange` sends it, `http/outcome` says what
the answer means, `network/deadline` ends it on time.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from pydantic import Field, JsonValue

from workflow_state.actions.auth.credentials import Grant, resolve_credentials, resolve_grant
from workflow_state.actions.auth.oauth import drop_token, note_accepted, obtain_token, was_accepted
from workflow_state.actions.definitions.catalog import load_action_definition
from workflow_state.actions.http.exchange import (
    Answer,
    PreparedRequest,
    follow_redirect,
    make_http_request,
    send_prepared,
    trace_exchange,
)
from workflow_state.actions.http.failures import make_detail
from workflow_state.actions.http.outcome import conclude
from workflow_state.actions.http.preview import Preview, show_request
from workflow_state.actions.http.redaction import is_secret_name
from workflow_state.actions.http.redirects import is_redirect
from workflow_state.actions.http.request import build_request, reject_inputs
from workflow_state.actions.http.scrubbing import make_scrubber
from workflow_state.actions.network.deadline import Exchange, begin_exchange, go_on_exchange
from workflow_state.actions.storage.outputs import store_output
from workflow_state.errors import HttpActionError
from workflow_state.json_schema.compiled import compile_schema
from workflow_state.json_schema.inputs import describe_wrong_inputs
from workflow_state.schema import (
    ActionDefinition,
    ContractModel,
    ErrorCategory,
    HttpActionResult,
    HttpTraceEntry,
    StorageLocation,
)

# A request may still be sent for a second after its execution was cancelled. So nobody asks again after a short wait.
_LONG_WAIT_S = 0.2
# Each is searched for in all that is kept of the answer; of each input there may be two.
_MAX_SECRET_INPUTS = 200


class ActionContext(ContractModel):
    """For which execution, action and attempt a request is sent.

    `before_send` is called when the connection stands, right before the first byte of the request can leave. An
    exception of it goes through to the caller, and nothing was sent. Where redirects are followed it is called for each
    request.

    `is_wanted` is asked after a long wait for a token or for the connection. Where it returns False the request is not
    sent, and fails with `user_cancelled`.
    """

    execution_id: str
    action_id: str
    attempt: int = Field(default=1, ge=1)
    before_send: Callable[[], None] | None = Field(default=None, exclude=True)
    is_wanted: Callable[[], bool] | None = Field(default=None, exclude=True)


def execute_http_action(
    action_definition_id: str | ActionDefinition,
    inputs: Mapping[str, JsonValue],
    context: ActionContext | Mapping[str, object] | None = None,
) -> HttpActionResult:
    """Send an action's request once, here and now, and return its output with the trace.

        execute_http_action("users.get", {"userId": 7}).output

    For trying out a definition, and for scripts: no worker and no Redis are needed, and nothing is sent again after a
    failure. `action_definition_id` is the id of a known definition, or a definition. `inputs` are those of a planned
    action, without references. `context` (`executionId`, `actionId`, `attempt`) names what the request is for: it makes
    the Idempotency-Key, and the place of an output that is stored.

    Raises ActionDefinitionError for an unknown id. Raises HttpActionError where the request fails: `detail` says
    whether it may be sent again. `http_trace` holds one entry where the network was tried, and one more for each
    redirect that was followed and for what OAuth 2 needed. Each call sends another request.
    """
    definition = (
        action_definition_id
        if isinstance(action_definition_id, ActionDefinition)
        else load_action_definition(action_definition_id)
    )
    ends_at_s = time.monotonic() + definition.endpoint.timeout / 1000
    checked = None if context is None else ActionContext.model_validate(context)
    prepared = _prepare(definition, inputs, checked)
    if grant := resolve_grant(definition, os.environ):
        return _execute_with_token(prepared, grant, inputs, checked, ends_at_s)
    return conclude(*_send(prepared, checked, ends_at_s))


def preview_http_action(
    definition: ActionDefinition, inputs: Mapping[str, JsonValue], context: ActionContext
) -> Preview:
    """Return what would be sent, whole, with known secrets masked, and a digest that tells it from any other request.

    Credentials are no part of the digest: a rotated token makes no other request. Raises HttpActionError where no
    request can be made of the inputs, and where its headers are too long to be read.
    """
    prepared = _prepare(definition, inputs, context)
    plain = build_request(definition, inputs, idempotency_key=_idempotency_key(context))
    told = json.dumps([plain.method, plain.url, plain.headers]).encode() + (plain.body or b"")
    # Not `scrub_trace`: that masks what the inputs call a token, whatever it is.
    bare = make_http_request(replace(plain, url=str(prepared.request.url)), definition.endpoint.timeout / 1000)
    credentials = prepared.request.headers.keys() - bare.headers.keys()
    request, body = show_request(definition, inputs, prepared.request, credentials, prepared.scrub_output)
    return Preview(request, body, hashlib.sha256(told).hexdigest())


def _execute_with_token(
    unauthorized: PreparedRequest,
    grant: Grant,
    inputs: Mapping[str, JsonValue],
    context: ActionContext | None,
    ends_at_s: float,
) -> HttpActionResult:
    """Send the request with a token; where it is refused, and was not made just now, once more with a new one.

    A 401 says that the request was not processed, so it is sent again whatever its effect is. After a redirect which
    says that the server has acted it is not. A 401 of another origin says nothing about the token, which was not sent
    there.
    """
    definition = unauthorized.definition
    began_at_s = time.monotonic()
    trace: list[HttpTraceEntry] = []
    tokens: list[str] = []
    while True:
        waits_since_s = time.monotonic()
        token = obtain_token(definition, grant, ends_at_s, trace)
        _require_wanted(definition, context, waits_since_s, trace)
        tokens.append(token.value)
        authorized = _prepare(definition, inputs, context, tokens)
        authorized = replace(authorized, trace=tuple(trace), was_accepted=was_accepted(definition, grant))
        prepared, answer, exchange = _send(authorized, context, ends_at_s)
        has_authorization = "authorization" in prepared.request.headers
        if has_authorization and answer.is_success:
            note_accepted(definition, grant)
        if not has_authorization or answer.status != HTTPStatus.UNAUTHORIZED:
            return conclude(prepared, answer, exchange)
        drop_token(grant, token)
        if prepared.may_be_done or len(tokens) > 1 or token.asked_at_s >= began_at_s:
            return conclude(prepared, answer, exchange)
        refused = trace_exchange(prepared, answer, "the token was refused; a new one is asked for")
        trace = [*prepared.trace, refused.model_copy(update={"continued": True})]


def _send(
    prepared: PreparedRequest, context: ActionContext | None, ends_at_s: float
) -> tuple[PreparedRequest, Answer, Exchange]:
    """Send the request, and those that redirects ask for where that is allowed, by `ends_at_s` (monotonic).

    Returns the last request that was sent, and its answer.
    """
    definition = prepared.definition
    before_send = partial(_before_send, prepared, context, time.monotonic()) if context else None
    with begin_exchange(ends_at_s - time.monotonic(), before_send) as exchange:
        answer = send_prepared(prepared, exchange)
        while definition.endpoint.follow_redirects and is_redirect(answer.status, answer.location):
            prepared = follow_redirect(prepared, answer)
            # Asked anew for each request: a worker that was stopped between two of them may have lost its claim.
            go_on_exchange(exchange, before_send)
            answer = send_prepared(prepared, exchange)
    return prepared, answer, exchange


def _before_send(prepared: PreparedRequest, context: ActionContext, since_s: float) -> None:
    """Ask once more whether the request is wanted, where connecting took long; then the caller's own hook."""
    _require_wanted(prepared.definition, context, since_s, prepared.trace)
    if context.before_send:
        context.before_send()


def _require_wanted(
    definition: ActionDefinition, context: ActionContext | None, since_s: float, trace: Sequence[HttpTraceEntry]
) -> None:
    """Raise HttpActionError where the execution was cancelled during a long wait; `since_s` is when it began."""
    is_late = time.monotonic() - since_s > _LONG_WAIT_S
    if not is_late or context is None or context.is_wanted is None or context.is_wanted():
        return
    message = "the execution was cancelled before the request could be sent"
    told = {"actionDefinitionId": definition.id}
    detail = make_detail(ErrorCategory.USER_CANCELLED, "cancelled", message, context=told)
    raise HttpActionError(detail, [entry.to_json_data() for entry in trace])


def _prepare(
    definition: ActionDefinition,
    inputs: Mapping[str, JsonValue],
    context: ActionContext | None,
    tokens: Sequence[str] = (),
) -> PreparedRequest:
    """Return the request with the last of the tokens; none of them is to be in what is kept."""
    secret_inputs = _find_secret_inputs(inputs)
    if len(secret_inputs) > _MAX_SECRET_INPUTS:
        raise reject_inputs(definition, f"more than {_MAX_SECRET_INPUTS // 2} inputs have names of secrets")
    if wrong := describe_wrong_inputs(definition, inputs):
        raise reject_inputs(definition, wrong, "the action's inputs must fit the inputSchema of its definition")
    # A schema that can't be used must be known before the request has its effect.
    output_schema = None if definition.output_schema is None else compile_schema(definition.output_schema)
    credentials = resolve_credentials(definition, os.environ, tokens[-1] if tokens else None)
    secrets = [*credentials.secrets, *tokens]
    key = _idempotency_key(context) if context else None
    built = build_request(
        definition, inputs, own_url=credentials.url, own_headers=credentials.headers, idempotency_key=key
    )
    return PreparedRequest(
        definition=definition,
        request=make_http_request(built, definition.endpoint.timeout / 1000),
        started_at=datetime.now(UTC),
        scrub_output=make_scrubber(secrets),
        scrub_trace=make_scrubber([*secrets, *secret_inputs]),
        store=partial(_store, definition, context),
        output_schema=output_schema,
    )


def _idempotency_key(context: ActionContext) -> str:
    return f"{context.execution_id}.{context.action_id}"


def _store(
    definition: ActionDefinition, context: ActionContext | None, data: bytes, content_type: str
) -> StorageLocation:
    if context is None:
        return store_output(data, content_type, "no-execution", definition.id, 1)
    return store_output(data, content_type, context.execution_id, context.action_id, context.attempt)


def _find_secret_inputs(inputs: Mapping[str, JsonValue]) -> list[str]:
    """Return the values of inputs with secret names: a token from a login action, say. `Bearer X` gives X too."""
    values = [value for name, value in inputs.items() if is_secret_name(name) and isinstance(value, str)]
    return [*values, *(value.rpartition(" ")[2] for value in values)]
