"""The run page as an ASGI application: its routes, who may use them, and how it answers an error."""

from collections.abc import Callable, Collection
from pathlib import Path

from kombu.exceptions import OperationalError
from pydantic import ValidationError
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from workflow_state.client.executions import exists
from workflow_state.errors import (
    BrokerUnavailableError,
    ConfirmationError,
    DecryptionError,
    ExecutionConflictError,
    ExecutionNotFoundError,
    OutcomeUnknownError,
    PlanValidationError,
    SettingsError,
    StorageError,
    WorkflowStateError,
)
from workflow_state.web import looking, steering
from workflow_state.web.guard import LEAST_TOKEN_CHARACTERS, ROLE, Guard, Role, RoleGate, TokenGate
from workflow_state.web.live import Readings, in_thread
from workflow_state.web.pages import read_page

NOBODY_KNOWN = "web"
"""Who answers, cancels and resumes where nothing says who is there."""

_STATUS_OF = {
    ExecutionNotFoundError: 404,
    StorageError: 404,
    ConfirmationError: 409,
    ExecutionConflictError: 409,
    OutcomeUnknownError: 409,
    PlanValidationError: 422,
    SettingsError: 500,
    DecryptionError: 500,
}


def create_web_app(
    *,
    user: Callable[[Request], str | None] | None = None,
    token: str | None = None,
    viewer_token: str | None = None,
    role: Callable[[Request], Role] | None = None,
    allowed_hosts: Collection[str] | None = None,
) -> Starlette:
    """Return the run page as an ASGI application, to be served alone or mounted in another.

    `user` says who answers, cancels and resumes, for the states; by default that is `request.user`, as Starlette's
    AuthenticationMiddleware sets it, or "web". `role` says of a request whether it is an `operator`'s or a `viewer`'s,
    who may look and do nothing. With `token` nobody gets in without it, or without `viewer_token`, which makes a
    viewer; leave them out behind your own authentication. `allowed_hosts` are the host names that a request may have,
    without ports; None allows every name.

    Whoever can open the page can read what plans got as answers. An operator can steer every execution.

    Raises SettingsError for a token of less than 16 characters, for two that are the same, and for a `viewer_token`
    alone.
    """
    tokens = _roles_of(token, viewer_token)
    find_role = role or _role_by_token
    pages = [
        Route("/", _list_page),
        Route("/executions/{execution_id}", _execution_page),
        *looking.routes,
        *steering.routes,
    ]
    gate = [Middleware(TokenGate, tokens=tokens)] if tokens else []
    gate.append(Middleware(RoleGate, role=find_role))
    application = Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            Mount("", routes=pages, middleware=gate),
        ],
        middleware=[Middleware(Guard, hosts=allowed_hosts), Middleware(GZipMiddleware)],
        exception_handlers={
            WorkflowStateError: _tell,
            RedisError: _tell,
            OperationalError: _tell,
            ValidationError: _tell,
            HTTPException: _tell,
        },
    )
    application.state.readings = Readings()
    application.state.role = find_role
    application.state.user = lambda request: (user or _user_of)(request) or NOBODY_KNOWN
    return application


def _roles_of(token: str | None, viewer_token: str | None) -> dict[str, Role]:
    if viewer_token and not token:
        raise SettingsError("a token for viewers needs one for operators beside it: without, everybody is an operator")
    if token and token == viewer_token:
        raise SettingsError("the token for viewers is that for operators; they must differ")
    tokens: dict[str, Role] = {given: "operator" for given in [token] if given}
    tokens |= {given: "viewer" for given in [viewer_token] if given}
    for given, its_role in tokens.items():
        if len(given) < LEAST_TOKEN_CHARACTERS:
            raise SettingsError(
                f"the token for {its_role}s has {len(given)} characters, and needs {LEAST_TOKEN_CHARACTERS}: make one "
                "with openssl rand -hex 16"
            )
    return tokens


def _role_by_token(request: Request) -> Role:
    role: Role = request.scope.get(ROLE, "operator")
    return role


async def _list_page(request: Request) -> Response:
    return HTMLResponse(read_page("list.html", request))


async def _execution_page(request: Request) -> Response:
    known = await in_thread(exists, request.path_params["execution_id"])
    return HTMLResponse(read_page("execution.html", request), status_code=200 if known else 404)


def _user_of(request: Request) -> str | None:
    who = request.scope.get("user")
    if who is None or getattr(who, "is_authenticated", True) is False:
        return None
    try:
        return str(who.identity)
    except (AttributeError, NotImplementedError):
        return getattr(who, "display_name", None) or str(who)


async def _tell(_: Request, error: Exception) -> Response:
    """Return an error as JSON that says what is wrong."""
    if isinstance(error, HTTPException):
        detail = {"code": "http", "message": error.detail}
        return JSONResponse({"error": detail}, status_code=error.status_code, headers=error.headers)
    if isinstance(error, BrokerUnavailableError):
        return JSONResponse({"error": {"code": "redis", "message": str(error)}}, 503)
    if isinstance(error, RedisError | OperationalError):
        return JSONResponse({"error": {"code": "redis", "message": f"Redis can't be reached: {error}"}}, 503)
    if isinstance(error, ValidationError):
        return JSONResponse({"error": {"code": "body", "message": steering.describe(error)}}, 400)
    body = {"code": type(error).__name__, "message": str(error)}
    if isinstance(error, OutcomeUnknownError):
        return JSONResponse({"error": body | {"undecided": error.undecided}}, 409)
    status = next((_STATUS_OF[kind] for kind in type(error).__mro__ if kind in _STATUS_OF), 400)
    return JSONResponse({"error": body}, status)
