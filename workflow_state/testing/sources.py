"""Where a test's definitions and plans come from: files, folders, models or JSON data."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from workflow_state.actions.definitions.catalog import check_action_definition
from workflow_state.actions.definitions.files import SUFFIXES, read_definition_files
from workflow_state.schema import ActionDefinition, ExecutionPlan

Source = str | Path | ActionDefinition | Mapping[str, Any]
Plan = ExecutionPlan | Mapping[str, Any] | str | Path


def load_definitions(sources: Sequence[Source], root: Path) -> list[ActionDefinition]:
    """Return the definitions of all sources; a path is below `root` unless it is absolute.

    Raises ActionDefinitionError with all that is wrong with them.
    """
    paths = [root / source for source in sources if isinstance(source, str | Path)]
    others = [source for source in sources if not isinstance(source, str | Path)]
    # All files are read together: an id that is in two of them is an error, as in production.
    files = _read_files(tuple(paths), _stamp(paths)) if paths else ()
    return [*files, *map(check_action_definition, others)]


def with_inputs(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan as JSON data, with these inputs over its own."""
    if isinstance(plan, Path):
        plan = plan.read_text(encoding="utf-8")
    if isinstance(plan, str):
        plan = json.loads(plan)
    data: dict[str, Any] = plan.to_json_data() if isinstance(plan, ExecutionPlan) else {**plan}  # type: ignore[dict-item]
    return {**data, "inputs": {**data.get("inputs", {}), **inputs}} if inputs else data


def _stamp(paths: Sequence[Path]) -> tuple[Any, ...]:
    """Return what changes when a file does: definitions are read once for all tests that have the same."""
    files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path]) if file.exists()]
    found = [file.stat() for file in files if file.suffix.lower() in SUFFIXES]
    return tuple(sorted((entry.st_ino, entry.st_mtime_ns, entry.st_size) for entry in found))


@cache
def _read_files(paths: tuple[Path, ...], stamp: tuple[Any, ...]) -> tuple[ActionDefinition, ...]:
    del stamp
    return tuple(read_definition_files(paths).values())
