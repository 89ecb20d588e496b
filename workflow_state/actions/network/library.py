"""The HTTP library that all requests go through: httpx, or httpx2, which comes from it and has the same interface.

Every other module takes `httpx` and `httpcore` from here, so that one setting changes all of them. Which one it is, is
decided once for a process, when this module is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from workflow_state.errors import SettingsError
from workflow_state.installation import install_command
from workflow_state.settings import PREFIX, read_http_library

__all__ = ["httpcore", "httpx"]

if TYPE_CHECKING:
    import httpcore
    import httpx
else:
    try:
        httpcore, httpx = map(
            import_module, ("httpcore2", "httpx2") if read_http_library() == "httpx2" else ("httpcore", "httpx")
        )
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{PREFIX}HTTP_LIBRARY: {error.name} is not installed: {install_command('httpx2')}"
        ) from error
