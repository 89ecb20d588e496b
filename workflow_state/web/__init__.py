"""The run page: it shows executions live in a browser, where a person can confirm, cancel and resume them.

It is an ASGI application and needs `pip install 'workflow-state[web]'`. Nothing else in the package imports it.
"""

try:
    from workflow_state.web.app import create_web_app
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in ("starlette", "anyio"):
        raise ImportError("the run page needs more: pip install 'workflow-state[web]'") from error
    raise

__all__ = ["create_web_app"]
