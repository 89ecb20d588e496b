"""What a person can do on the page: answer a question, cancel an execution, resume one."""

from typing import Any

from pydantic import Field, JsonValue, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workflow_state.actions.http.response import MalformedResponseError, parse_json
from workflow_state.client.executions import cancel_execution, confirm_action
from workflow_state.client.resume import resume_execution
from workflow_state.rules.states import ENDED
from workflow_state.schema import ContractModel
from workflow_state.web.live import in_thread

_MOST_BYTES = 4 * 2**20


class Answer(ContractModel):
    """The answer to a question; `digest` is that of the request which the person saw."""

    action_id: str
    confirmed: bool
    digest: str


class Decisions(ContractModel):
    """What to do about requests of unknown outcome (see resume_execution)."""

    assume_done: dict[str, JsonValue] = Field(default_factory=dict)
    send_again: list[str] = Field(default_factory=list)


async def confirm(request: Request) -> Response:
    """Answer a question, for the request that was shown and no other."""
    answer = Answer.model_validate(await _read_json(request))
    execution_id = request.path_params["execution_id"]
    user_id = request.app.state.user(request)
    given = await in_thread(
        confirm_action, execution_id, answer.action_id, answer.confirmed, user_id, digest=answer.digest
    )
    request.app.state.readings.hurry(execution_id)
    return JSONResponse(given.to_json_data())


async def cancel(request: Request) -> Response:
    """Ask the execution to end."""
    execution_id = request.path_params["execution_id"]
    state = await in_thread(cancel_execution, execution_id, request.app.state.user(request))
    request.app.state.readings.hurry(execution_id)
    return JSONResponse({"status": state.status, "hadEnded": state.status in ENDED})


async def resume(request: Request) -> Response:
    """Run the execution again with what it has done; return the new one's id."""
    decisions = Decisions.model_validate(await _read_json(request))
    execution_id = request.path_params["execution_id"]
    try:
        handle = await in_thread(
            resume_execution,
            execution_id,
            assume_done=decisions.assume_done,
            send_again=decisions.send_again,
            user_id=request.app.state.user(request),
        )
    except ValueError as error:  # an output that is no JSON, such as 1e999
        raise HTTPException(400, str(error)) from error
    return JSONResponse({"id": handle.id}, status_code=201)


routes = [
    Route("/api/executions/{execution_id}/confirmations", confirm, methods=["POST"]),
    Route("/api/executions/{execution_id}/cancel", cancel, methods=["POST"]),
    Route("/api/executions/{execution_id}/resume", resume, methods=["POST"]),
]


async def _read_json(request: Request) -> Any:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BYTES:
            raise HTTPException(413, f"at most {_MOST_BYTES} bytes are read")
    try:
        # What an answer may hold, a person's decision may: it becomes the output of an action.
        return parse_json(bytes(data) or b"{}")
    except MalformedResponseError as error:
        raise HTTPException(400, str(error)) from error


def describe(error: ValidationError) -> str:
    """Return in one line what is wrong with a body."""
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors())
