"""The run page: it shows executions live in a browser, where a person can confirm, cancel and resume them.

It is an ASGI application and needs the extra `web`. Nothing else in the package imports it.
"""

from workflow_state.installation import install_command

try:
    from workflow_state.web.app import create_web_app
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in ("starlette", "anyio"):
        raise ImportError(f"the run page needs more: {install_command('web')}") from error
    raise

__all__ = ["create_web_app"]
