"""The answers to what the pages ask: the list, an execution's graph, its events, and one action in full."""

import json
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from functools import partial
from typing import Any

from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workflow_state.actions.storage.outputs import read_stored
from workflow_state.client.executions import (
    exists,
    get_execution_state,
    is_cancel_requested,
    list_executions,
    read_plan,
    read_summary,
)
from workflow_state.client.outputs import find_action_state, find_output, text_of
from workflow_state.client.questions import read_request_body
from workflow_state.client.resume import read_undecided
from workflow_state.errors import ExecutionNotFoundError, WorkflowStateError
from workflow_state.schema import ActionExecutionState, ActionSuccess, ExecutionStatus
from workflow_state.web.asked import questions_about
from workflow_state.web.live import LIST_KEY, EventStream, Readings, event, follow, in_thread
from workflow_state.web.overview import Snapshot, graph_of, graph_without_plan, take_snapshot

_LISTED = 50
_MOST_LISTED = 500
# A longer output is shown by its beginning, and can be downloaded.
_MOST_SHOWN = 64 * 1024


async def list_json(request: Request) -> Response:
    """Tell of the newest executions: `?limit=`, `?status=`."""
    limit, status = _list_query(request)
    return JSONResponse(await in_thread(_read_list, limit, status))


async def list_events(request: Request) -> Response:
    """Tell of them each time that the list has changed."""
    limit, status = _list_query(request)
    return EventStream(_follow_list(_readings(request), limit, status))


async def state_json(request: Request) -> Response:
    """Return the execution state as the contract has it."""
    state = await in_thread(get_execution_state, _execution_id(request))
    return JSONResponse(state.to_json_data())


async def graph_json(request: Request) -> Response:
    """Return the plan as a graph, and the role of who looks."""
    graph = await in_thread(_read_graph, _execution_id(request))
    return JSONResponse(graph | {"role": request.app.state.role(request)})


async def plan_json(request: Request) -> Response:
    """Return the plan but for its actions: description, intent, inputs, expected outcome."""
    plan = await in_thread(read_plan, _execution_id(request))
    return JSONResponse({} if plan is None else plan.model_dump(mode="json", exclude={"actions"}))


async def execution_events(request: Request) -> Response:
    """Tell where each action is: all of them at first, then those that have changed, until the execution has ended."""
    execution_id = _execution_id(request)
    # An unknown id is an answer of its own: a stream that fails at once would be asked for again and again.
    if not await in_thread(exists, execution_id):
        raise ExecutionNotFoundError(f"there is no execution {execution_id!r}, or not any more")
    read = partial(_or_trouble, partial(_read_snapshot, execution_id))
    return EventStream(follow(_readings(request), execution_id, read, _tell_execution))


async def action_json(request: Request) -> Response:
    """Return all that is known of one action, or of one element of a list."""
    detail = await in_thread(_read_action, _execution_id(request), request.path_params["action_id"])
    return JSONResponse(detail)


async def output_file(request: Request) -> Response:
    """Return an action's output as a file to keep."""
    action_id = request.path_params["action_id"]
    data, content_type, suffix = await in_thread(_read_output, _execution_id(request), action_id)
    # Others' bytes: never to be shown as a page of ours, whatever they are.
    headers = {"Content-Disposition": f'attachment; filename="{_file_name(action_id)}.{suffix}"'}
    return Response(data, media_type=content_type, headers=headers)


async def body_file(request: Request) -> Response:
    """Return the body that an action asks about as a file to keep: the whole text of a long one."""
    action_id = request.path_params["action_id"]
    data = await in_thread(read_request_body, _execution_id(request), action_id)
    headers = {"Content-Disposition": f'attachment; filename="{_file_name(action_id)}-request.txt"'}
    return Response(data, media_type="text/plain; charset=utf-8", headers=headers)


async def undecided_json(request: Request) -> Response:
    """Return which requests need a decision before the execution can be resumed, and why."""
    return JSONResponse(await in_thread(read_undecided, _execution_id(request)))


routes = [
    Route("/api/executions", list_json),
    Route("/api/executions/events", list_events),
    Route("/api/executions/{execution_id}", state_json),
    Route("/api/executions/{execution_id}/graph", graph_json),
    Route("/api/executions/{execution_id}/plan", plan_json),
    Route("/api/executions/{execution_id}/events", execution_events),
    Route("/api/executions/{execution_id}/undecided", undecided_json),
    Route("/api/executions/{execution_id}/actions/{action_id}", action_json),
    Route("/api/executions/{execution_id}/actions/{action_id}/output", output_file),
    Route("/api/executions/{execution_id}/actions/{action_id}/body", body_file),
]


class Trouble(str):
    """Why nothing could be read just now."""

    __slots__ = ()


def _or_trouble(read: partial[Any]) -> Any:
    try:
        return read()
    except (RedisError, WorkflowStateError) as error:
        return Trouble(f"Redis can't be reached: {error}" if isinstance(error, RedisError) else error)


async def _follow_list(readings: Readings, limit: int, status: ExecutionStatus | None) -> AsyncGenerator[str]:
    """Yield the list each time that it has changed.

    All lists are one reading, whatever their limits and states are: what is read does not grow with the parameters
    that somebody thinks of, only with the seven states that somebody looks for.
    """
    with readings.wanting(status) as wanted:
        read = partial(_or_trouble, partial(_read_lists, wanted))
        async with aclosing(follow(readings, LIST_KEY, read, partial(_tell_list, limit, status))) as events:
            async for text in events:
                yield text


def _read_lists(wanted: Collection[ExecutionStatus | None]) -> dict[ExecutionStatus | None, list[dict[str, Any]]]:
    return {status: _read_list(_MOST_LISTED, status) for status in list(wanted)}


def _tell_list(limit: int, status: ExecutionStatus | None, before: Any, now: Any) -> tuple[str, bool]:
    if isinstance(now, Trouble):
        return event("trouble", {"message": now}), False
    found = now.get(status)
    earlier = before.get(status) if isinstance(before, dict) else None
    # One that was read before somebody looked for this state has none of it.
    is_new = found is not None and (earlier is None or earlier[:limit] != found[:limit])
    return event("list", found[:limit]) if is_new else "", False


def _tell_execution(before: Snapshot | Trouble | None, now: Snapshot | Trouble) -> tuple[str, bool]:
    if isinstance(now, Trouble):
        return (event("trouble", {"message": now}) if now != before else ""), False
    if not isinstance(before, Snapshot):
        text = event("snapshot", _at_this_time(now.everything()))
    else:
        text = event("change", _at_this_time(now.since(before))) if now != before else ""
    return (text + event("end", {}) if now.ended else text), now.ended


def _at_this_time(data: dict[str, Any]) -> dict[str, Any]:
    """Add the server's time: a browser's clock may be wrong."""
    return data | {"now": round(time.time() * 1000)}


def _read_snapshot(execution_id: str) -> Snapshot:
    state = get_execution_state(execution_id)
    return take_snapshot(state, cancelling=is_cancel_requested(execution_id))


def _read_list(limit: int, status: ExecutionStatus | None) -> list[dict[str, Any]]:
    return [item.to_json_data() for item in list_executions(limit, status)]


def _read_graph(execution_id: str) -> dict[str, Any]:
    plan, summary = read_plan(execution_id), read_summary(execution_id)
    if plan is None or summary is None:
        return graph_without_plan(get_execution_state(execution_id))
    return graph_of(plan, summary)


def _read_action(execution_id: str, action_id: str) -> dict[str, Any]:
    whole = get_execution_state(execution_id)
    state = find_action_state(whole, action_id)
    base = action_id.partition("[")[0]
    detail: dict[str, Any] = {"id": action_id, "state": _slim(state)}
    detail["confirmations"] = questions_about(action_id, whole.confirmations)
    if whole.resumed and base in whole.resumed.actions:
        detail["resumed"] = whole.resumed.actions[base].to_json_data()
    if plan := read_plan(execution_id):
        detail["action"] = next((item.to_json_data() for item in plan.actions if item.id == base), None)
    if isinstance(state.result, ActionSuccess):
        detail["output"] = _shown(state.result.output)
    elif state.result and state.result.partial_output is not None:
        detail["partialOutput"] = _shown(state.result.partial_output)
    return detail


def _slim(state: ActionExecutionState) -> dict[str, Any]:
    """Return the state without its output, which is beside it, and without the traces of its elements."""
    data = state.to_json_data()
    for name in ("output", "partialOutput"):
        data.get("result", {}).pop(name, None)
    for element in data.get("elements", []):
        element.pop("httpTrace", None)
    return data


def _shown(value: Any) -> dict[str, Any]:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) <= _MOST_SHOWN:
        return {"value": value}
    return {"beginning": text[:_MOST_SHOWN], "size": len(text.encode())}


def _read_output(execution_id: str, action_id: str) -> tuple[bytes, str, str]:
    value, location = find_output(execution_id, action_id)
    if location is None:
        return json.dumps(value, indent=2, ensure_ascii=False).encode(), "application/json", "json"
    data = read_stored(location)
    if text_of(data, location.content_type) is None:
        return data, "application/octet-stream", "bin"
    return data, "text/plain; charset=utf-8", "txt"


def _file_name(action_id: str) -> str:
    return action_id.replace("[", "-").replace("]", "")


def _execution_id(request: Request) -> str:
    text: str = request.path_params["execution_id"]
    return text


def _list_query(request: Request) -> tuple[int, ExecutionStatus | None]:
    limit = request.query_params.get("limit", str(_LISTED))
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_LISTED:
        raise HTTPException(400, f"limit is a number from 1 to {_MOST_LISTED}, not {limit!r}")
    status = request.query_params.get("status")
    if status and status not in list(ExecutionStatus):
        raise HTTPException(400, f"status is one of {', '.join(ExecutionStatus)}, not {status!r}")
    return int(limit), ExecutionStatus(status) if status else None


def _readings(request: Request) -> Readings:
    readings: Readings = request.app.state.readings
    return readings
