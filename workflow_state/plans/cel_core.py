"""The part of the library for CEL that conditions need: `compile`, `evaluate` and `Context`.

The package `cel` imports a command line of its own, with typer and prompt_toolkit, which takes longer than everything
else that `workflow-state validate` does. Its compiled module needs none of that, so it is loaded by itself.
"""

import importlib
import importlib.util
import sys
from importlib.machinery import PathFinder
from typing import Any, Final

_PACKAGE: Final = "cel"
_CORE: Final = "cel.cel"


def _load() -> Any:
    if _CORE in sys.modules:
        return sys.modules[_CORE]
    package = importlib.util.find_spec(_PACKAGE)
    core = package and PathFinder.find_spec(_CORE, package.submodule_search_locations)
    if core is None or core.loader is None:
        # Another release may put its parts elsewhere.
        return importlib.import_module(_PACKAGE)
    module = importlib.util.module_from_spec(core)
    # A second copy in one process makes the library panic: an application that imports `cel` itself must find this one.
    sys.modules[_CORE] = module
    try:
        core.loader.exec_module(module)
    except BaseException:
        del sys.modules[_CORE]
        raise
    return module


# Here, and not in a function: Python imports a module once, whichever threads ask for it.
core: Final[Any] = _load()
