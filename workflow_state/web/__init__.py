"""The run page: executions in a browser, live, and steered from there. An ASGI application of its own.

Needs `pip install 'workflow-state[web]'`; nothing else in the package imports it.
"""

try:
    from workflow_state.web.app import create_web_app
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in ("starlette", "anyio"):
        raise ImportError("the run page needs more: pip install 'workflow-state[web]'") from error
    raise

__all__ = ["create_web_app"]
