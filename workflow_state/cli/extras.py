"""What the command says where it needs a package that an extra brings, and that is not installed."""

import importlib.util

from workflow_state.errors import SettingsError
from workflow_state.installation import install_command


def require_extra(extra: str, what: str, *modules: str) -> None:
    """Raise SettingsError, with the line that installs the extra, where one of its modules is missing.

    require_extra("web", "the run page", "starlette", "uvicorn")
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(f"{what} needs {' and '.join(missing)}: {install_command(extra)}")
