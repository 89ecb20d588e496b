"""An API in front of workflow_state: submit a plan, look at it, follow it, answer it, end it.

Everything of workflow_state that is called here talks to Redis, and blocks while it does: it runs in a thread, by
`run_in_threadpool`, so that the event loop goes on with other requests. See README.md beside this file.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from following import follow
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.requests import ClientDisconnect

from workflow_state import (
    BrokerUnavailableError,
    ConfirmationError,
    ExecutionConflictError,
    ExecutionNotFoundError,
    ExecutionState,
    PlanValidationError,
    WorkflowStateError,
    cancel_execution,
    confirm_action,
    execute_plan,
    get_execution_state,
)

# More than a plan may have: what is longer is read no further, and refused as too large.
MAX_READ_BYTES = 5 * 2**20

STATUS_CODES: dict[type[Exception], int] = {
    ExecutionNotFoundError: 404,
    ConfirmationError: 409,
    ExecutionConflictError: 409,
    # An Idempotency-Key that can't be an execution's id, for example.
    WorkflowStateError: 400,
    # Redis is away. Nothing was done that must not be done again: send the same request later.
    BrokerUnavailableError: 503,
}

app = FastAPI(title="Plans of HTTP actions")


class Answer(BaseModel):
    """A person's answer to a question; `digest` is that of the question which the person saw."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    confirmed: bool
    digest: str
    user_id: str | None = None


@app.exception_handler(PlanValidationError)
async def refuse_plan(_: Request, error: PlanValidationError) -> JSONResponse:
    """Answer with every problem of the plan, as the model that wrote it needs them to write a better one."""
    return JSONResponse({"error": "the plan can't be run", "problems": error.errors}, 422)


async def refuse(_: Request, error: Exception) -> JSONResponse:
    """Answer with what is wrong, under the status code of its class."""
    code = next(STATUS_CODES[base] for base in type(error).__mro__ if base in STATUS_CODES)
    # What the clients of Redis say has its address.
    message = "not now, try again" if code >= 500 else str(error)  # noqa: PLR2004
    return JSONResponse({"error": message}, code, {"Retry-After": "5"} if code >= 500 else None)  # noqa: PLR2004


for error_class in STATUS_CODES:
    app.exception_handler(error_class)(refuse)


@app.post(
    "/executions",
    status_code=202,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def submit(
    request: Request, response: Response, idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, str]:
    """Put a plan on the queue. The same plan under the same Idempotency-Key again starts nothing new."""
    # As text, not as what FastAPI would make of it: so a repeated key or a comma too many is a problem of the plan too.
    plan = await _read_body(request)
    # The IETF's draft has the key in quotes, and most clients do not.
    key = idempotency_key.strip('"') if idempotency_key is not None else None
    handle = await run_in_threadpool(execute_plan.apply_async, (plan,), task_id=key)
    response.headers["Location"] = f"/executions/{handle.id}"
    return {"id": handle.id}


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_READ_BYTES:
                break
    except ClientDisconnect as error:
        # Nobody reads the answer; an exception would be in the log, as if it were ours.
        raise HTTPException(400, "the client went away") from error
    return bytes(body)


@app.get("/executions/{execution_id}")
async def read_state(execution_id: str) -> Response:
    """Return the whole state, outputs too."""
    return Response(await run_in_threadpool(_state_as_json, execution_id), media_type="application/json")


def _state_as_json(execution_id: str) -> str:
    # In the thread as well: a state can have megabytes.
    return get_execution_state(execution_id).model_dump_json(by_alias=True, exclude_none=True)


async def current_state(execution_id: str) -> ExecutionState:
    """Return the state; an execution that there is not is answered before the stream of its events begins."""
    return await run_in_threadpool(get_execution_state, execution_id)


@app.get("/executions/{execution_id}/events", response_class=EventSourceResponse)
async def events(state: Annotated[ExecutionState, Depends(current_state)]) -> AsyncIterator[ServerSentEvent]:
    """Send what changes, as server-sent events, until the execution has ended; see following.py for what they hold."""
    async for change in follow(state):
        yield ServerSentEvent(event="change", id=str(change["version"]), data=change)
    # A browser's EventSource would come back for more.
    yield ServerSentEvent(event="end", data={})


@app.post("/executions/{execution_id}/actions/{action_id}/confirmation")
async def confirm(execution_id: str, action_id: str, answer: Answer) -> dict[str, Any]:
    """Answer an action that waits for a person."""
    confirmation = await run_in_threadpool(
        confirm_action, execution_id, action_id, answer.confirmed, answer.user_id, digest=answer.digest
    )
    return confirmation.to_json_data()


@app.post("/executions/{execution_id}/cancel", status_code=202)
async def cancel(execution_id: str) -> dict[str, str]:
    """Ask an execution to end; may be called twice, or after the end."""
    state = await run_in_threadpool(cancel_execution, execution_id)
    return {"id": state.id, "status": state.status}
